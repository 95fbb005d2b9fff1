-- Restates some channels on a board of the most visited, each from its total, which is read here.
-- KEYS: the board.  ARGV: what the keys of totals begin with, a Lua pattern of the channels that may be on
-- it, the least total, the most channels, 'all' to look at every channel that is on it too, then channels.
-- Returns ok; or other, if the key is no sorted set.
local board, prefix, pattern = KEYS[1], ARGV[1], ARGV[2]
local least, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local kind = redis.call('TYPE', board).ok
if kind ~= 'zset' and kind ~= 'none' then
  return 'other'
end
local function restate(name)
  local total = redis.pcall('GET', prefix .. name)
  if type(total) == 'string' and string.match(total, '^%d+$') and tonumber(total) >= least
    and string.match(name, pattern) then
    redis.call('ZADD', board, total, name)
  else
    redis.call('ZREM', board, name)
  end
end
if ARGV[5] == 'all' then
  redis.call('ZREMRANGEBYRANK', board, 0, -(most + 1))
  for _, name in ipairs(redis.call('ZRANGE', board, 0, -1)) do
    restate(name)
  end
end
for at = 6, #ARGV do
  restate(ARGV[at])
end
redis.call('ZREMRANGEBYRANK', board, 0, -(most + 1))
return 'ok'
