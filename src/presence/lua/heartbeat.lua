-- Renews a node's lease, or takes a new one, and names the nodes whose lease ended long enough ago.
-- A lease that has ended is never renewed, so withdrawing a dead node's shares is final.
-- KEYS: the nodes.  ARGV: the node, the length of a lease in ms, the grace in ms, "1" to take a new lease.
-- Returns a word (ok, gone), the end of the lease in ms of the store's clock, the dead, and what the store says to one
-- that would add something, if it refuses that.
local nodes, node, length, grace = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number)
  return string.format('%.0f', number)
end

local kind = redis.call('TYPE', nodes).ok
if kind ~= 'zset' and kind ~= 'none' then
  redis.call('DEL', nodes)
end
if ARGV[4] ~= '1' then
  local ends = redis.call('ZSCORE', nodes, node)
  if not ends or tonumber(ends) < now then
    return {'gone', '0', {}, ''}
  end
end
local ends = text(now + length)
local added = redis.pcall('ZADD', nodes, ends, node)
local refusal = type(added) == 'table' and added.err or ''
if refusal ~= '' then
  -- Once a script has removed something, Redis refuses it no more for want of memory: a full store must
  -- not end the leases of those who have their shares in it.
  redis.call('ZREM', nodes, node)
  redis.call('ZADD', nodes, ends, node)
end
-- No lease ends this late unless the store's clock was set back. Nodes may have leases of their own length.
local latest = now + math.max(2 * length, 60000)
for _, other in ipairs(redis.call('ZRANGEBYSCORE', nodes, '(' .. text(latest), '+inf', 'LIMIT', 0, 64)) do
  redis.call('ZADD', nodes, text(latest), other)
end
local dead = redis.call('ZRANGEBYSCORE', nodes, '-inf', '(' .. text(now - grace), 'LIMIT', 0, 64)
return {'ok', ends, dead, refusal}
