-- Reads the list of who is here, unless it is longer than what can be shown.
-- KEYS: the members.  ARGV: how many can be shown.
-- Returns none; or long, and how many there are; or all, and the hash, field by field.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' then
  return {'none'}
end
local count = redis.call('HLEN', KEYS[1]) - 1
if count > tonumber(ARGV[1]) then
  return {'long', string.format('%.0f', count)}
end
return {'all', redis.call('HGETALL', KEYS[1])}
