-- Takes back the 0 of a channel that was named exactly and is so no more: under a pattern, a total
-- without a tally would be taken for somebody else's. Doing it twice changes nothing more.
if total == 0 and not counted then
  redis.call('DEL', TOTAL)
end
return {'ok', '0', '0', ''}
