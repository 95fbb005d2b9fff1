-- States what one node has on one channel. Stating a number twice changes nothing.
-- KEYS: the total, the tally.
-- ARGV: node, its number, the end of its lease as last confirmed, "1" if the channel is named
--       exactly, then any older ids of the same node, whose tallies are taken out in the same step.
-- Returns a word and the total: ok; late, if the lease has ended; foreign, if the key is somebody else's.
local total, tally, node, number, exact = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[4] == '1'
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[3]) then
  return {'late', ''}
end
local exists, tallied = redis.call('EXISTS', total) == 1, redis.call('EXISTS', tally) == 1
if exists and not tallied and not exact then
  return {'foreign', ''}
end

local change = number - (redis.call('HGET', tally, node) or 0)
for i = 5, #ARGV do
  change = change - (redis.call('HGET', tally, ARGV[i]) or 0)
end
-- A total that was lost starts again at what the tallies say.
local base = 0
if tallied and not exists then
  for _, had in ipairs(redis.call('HVALS', tally)) do
    base = base + had
  end
end

-- First what can fail: a key that holds no integer ends the script before the tally is touched.
if change ~= 0 or base ~= 0 or (exact and not exists) then
  redis.call('INCRBY', total, string.format('%.0f', base + change))
end
for i = 5, #ARGV do
  redis.call('HDEL', tally, ARGV[i])
end
if number == 0 then
  redis.call('HDEL', tally, node)
else
  redis.call('HSET', tally, node, ARGV[2])
end

local value = redis.call('GET', total) or '0'
if value == '0' and not exact and redis.call('EXISTS', tally) == 0 then
  redis.call('DEL', total)
end
if change ~= 0 or base ~= 0 then
  redis.call('PUBLISH', total, value)
end
return {'ok', value}
