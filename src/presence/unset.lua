-- Takes back the 0 of a channel that was named exactly and is so no more: under a pattern, a key without
-- a tally would be taken for somebody else's. Doing it twice changes nothing more.
-- KEYS: the total, the tally.
local total, tally = KEYS[1], KEYS[2]
if redis.call('GET', total) == '0' and redis.call('EXISTS', tally) == 0 then
  redis.call('DEL', total)
end
return 0
