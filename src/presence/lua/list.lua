-- Notes that a node may have a share on a channel, before it states one. Not after its lease has
-- ended: whoever withdraws its shares has then read the list.
-- KEYS: the node's channels.  ARGV: the channel, the end of the lease as last confirmed.
local list = KEYS[1]
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[2]) then
  return {'late', '', '0', ''}
end
local kind = redis.call('TYPE', list).ok
if kind ~= 'set' and kind ~= 'none' then
  redis.call('DEL', list)
end
redis.call('SADD', list, ARGV[1])
return {'ok', '0', '0', ''}
