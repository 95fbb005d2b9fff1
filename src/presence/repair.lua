-- Withdraws the tallies of dead nodes, and makes a total that is missing or too low what the
-- tallies say. Doing it twice, or from two nodes at once, changes nothing more.
-- KEYS: the total, the tally.  ARGV: "1" if the channel is named exactly, then the dead nodes' ids.
-- Returns a word, the total, and how many were withdrawn: ok; changed; foreign, if the key holds
-- something that is no integer and that nothing tells us to replace.
local total, tally, exact = KEYS[1], KEYS[2], ARGV[1] == '1'
local withdrawn = 0
for i = 2, #ARGV do
  withdrawn = withdrawn + (redis.call('HGET', tally, ARGV[i]) or 0)
  redis.call('HDEL', tally, ARGV[i])
end
local sum, empty = 0, true
for _, had in ipairs(redis.call('HVALS', tally)) do
  sum, empty = sum + had, false
end

local found = redis.pcall('GET', total)
if type(found) == 'table' or (found and empty and withdrawn == 0 and not exact) then
  return {'foreign', '', withdrawn}
end
local number = found and string.match(found, '^-?%d+$') and tonumber(found)
local value
if number then
  value = math.max(number - withdrawn, sum)
elseif not found and (exact or sum > 0) then
  value = sum
elseif found and (sum > 0 or withdrawn > 0) then
  value = sum
elseif found then
  return {'foreign', '', withdrawn}
else
  return {'ok', '0', withdrawn}
end

local text = string.format('%.0f', value)
if text ~= found then
  redis.call('SET', total, text)
end
if value == 0 and empty and not exact then
  -- A key without a tally that was never ours stays; one of ours goes with its last tally.
  if withdrawn > 0 then
    redis.call('DEL', total)
  end
end
if text ~= (found or '0') then
  redis.call('PUBLISH', total, text)
  return {'changed', text, withdrawn}
end
return {'ok', text, withdrawn}
