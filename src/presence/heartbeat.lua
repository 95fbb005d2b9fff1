-- Renews a node's lease, or takes a new one, and names the nodes whose lease ended long enough ago.
-- An ended lease is never renewed: so withdrawing a dead node's tallies is final.
-- KEYS: the nodes.  ARGV: node, length of a lease in ms, grace in ms, "1" to take a new lease.
-- Returns a word (ok, gone), the end of the lease in ms of the store's clock, and the dead.
local nodes, node = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[4] ~= '1' then
  local ends = redis.call('ZSCORE', nodes, node)
  if not ends or tonumber(ends) < now then
    return {'gone', '0', {}}
  end
end
local ends = string.format('%.0f', now + ARGV[2])
redis.call('ZADD', nodes, ends, node)
local dead = redis.call('ZRANGEBYSCORE', nodes, '-inf', string.format('(%.0f', now - ARGV[3]), 'LIMIT', 0, 64)
return {'ok', ends, dead}
