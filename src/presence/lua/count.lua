-- The beginning and the ending of every script that works on a channel's count.
--
-- The total is what others put there, plus what is ours. Ours is the sum of the tally and the number of
-- people, and `own` says how much of it the total holds already, so that only the difference is added,
-- whatever was lost.
-- The keys are read and checked here, before anything is written; what follows cannot fail midway.
-- KEYS: the total, the tally, own, people, owner, members; in a cluster, also the dead as the last one.
local TOTAL, TALLY, OWN, PEOPLE, OWNER, DEAD = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], #KEYS == 7 and KEYS[7]
-- Lua's numbers hold every integer up to 2^53. No node has a billion sockets.
local MOST, MOST_SHARE = 9007199254740992, 1000000000

local function text(number)
  return string.format('%.0f', number)
end

-- The integer that a value is, if Redis would take it for one and it is within these bounds.
local function integer(value, least, most)
  if value == '0' or string.match(value, '^-?[1-9]%d*$') then
    local number = tonumber(value)
    return number >= least and number <= most and number or nil
  end
end

-- The reply, or nil if the key is of another type. Any other error ends the script.
local function read(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if not string.find(reply.err, 'WRONGTYPE', 1, true) then
      redis.call(...)
    end
    return nil
  end
  return reply
end

-- A key's integer, nil if it holds none, whether the key exists, and what it holds instead: another
-- type, an integer that is out of bounds, or a text. An integer is short.
local function number_at(key, least)
  local value = read('GETRANGE', key, 0, 17)
  if not value then
    return nil, true, 'type'
  elseif value == '' and redis.call('EXISTS', key) == 0 then
    return nil, false
  end
  local number = integer(value, least, MOST)
  return number, true, not number and (string.match(value, '^-?%d+$') and 'bounds' or 'text') or nil
end

local total, exists, fault = number_at(TOTAL, -MOST)
local FAULTS = {
  type = 'it is no string', bounds = 'its integer is beyond 2^53', text = 'it holds no integer',
}
local stored, marked = number_at(OWN, 0)
local fields = read('HGETALL', TALLY)
-- How many visitors there are, each once, on however many nodes.
local people = read('HLEN', PEOPLE)

-- What of our own keys was damaged, in words; and the shares.
local damage, bad = {}, {}
local shares, sum, changes = {}, 0, {}
if not fields then
  damage[1] = 'the tally was of another type'
end
for i = 1, #(fields or {}), 2 do
  local share = integer(fields[i + 1], 1, MOST_SHARE)
  if share then
    shares[fields[i]], sum = share, sum + share
  else
    bad[#bad + 1] = fields[i]
  end
end
if #bad > 0 then
  damage[#damage + 1] = #bad .. ' fields of the tally were not shares'
end
if marked and not stored then
  damage[#damage + 1] = 'own was not a number'
end
local no_people = not people
if no_people then
  damage[#damage + 1] = 'the people were of another type'
end
people = people or 0
-- What the total holds of ours. If that was lost, it is what the shares were before this change.
local own = stored or sum + people
-- Whether headcount counts here. Without a tally and without `own`, a key is somebody else's: always
-- if it holds no integer, and under a pattern in any case.
local counted = marked or not fields or #fields > 0 or no_people or people > 0
local function foreign(exact)
  return exists and not counted and not (exact and total)
end

-- Whether the store has another share of this node than it believes; '' believes nothing.
local function lost(node, share)
  return share ~= '' and (shares[node] or 0) ~= tonumber(share)
end

-- In a cluster, the clock of the leases is another server's, so that no script can see whether one has ended.
-- Instead, an id whose share was withdrawn is among the dead for an hour, and nothing is stated under it.
local KEEP = 3600000
local function gone(node)
  return DEAD and read('ZSCORE', DEAD, node) and true or false
end

local function bury(node)
  if not DEAD then
    return
  end
  local now = redis.call('TIME')[1] * 1000
  -- A removal goes first, for a full store.
  if not read('ZREMRANGEBYSCORE', DEAD, '-inf', text(now - KEEP)) then
    redis.call('DEL', DEAD)
  end
  redis.call('ZADD', DEAD, text(now), node)
  redis.call('PEXPIRE', DEAD, KEEP)
end

local function put(node, share)
  changes[node], shares[node] = share, share > 0 and share or nil
end

-- Removals go first: once a script has written, Redis refuses it no more for want of memory. So a
-- store that is full still lets shares be withdrawn.
local function write_tally()
  if not fields then
    redis.call('DEL', TALLY)
  end
  if no_people then
    redis.call('DEL', PEOPLE)
  end
  for _, field in ipairs(bad) do
    redis.call('HDEL', TALLY, field)
  end
  local had = {}
  for i = 1, #(fields or {}), 2 do
    had[fields[i]] = integer(fields[i + 1], 1, MOST_SHARE)
  end
  for node, share in pairs(changes) do
    if had[node] and share < had[node] then
      redis.call('HDEL', TALLY, node)
    end
  end
  for node, share in pairs(changes) do
    if share > 0 and share ~= had[node] then
      redis.call('HSET', TALLY, node, text(share))
    end
  end
end

-- Writes the shares, and brings the total in step with them. `exact`: the channel exists without
-- anybody on it. `lift`: a total below the shares becomes their sum, and so does a text.
-- Returns ok or unusable, the total or why there is none, "1" if it was changed, and the damage.
local function finish(exact, lift)
  local ours = people
  for _, share in pairs(shares) do
    ours = ours + share
  end
  write_tally()
  if ours == 0 and marked then
    redis.call('DEL', OWN)
  elseif ours > 0 and ours ~= stored then
    redis.call('SET', OWN, text(ours))
  end
  damage = table.concat(damage, ', ')
  if lift and fault == 'text' and ours > 0 then
    exists, fault = false, nil
  elseif fault then
    return {'unusable', FAULTS[fault], '0', damage}
  end
  local after = exists and total + (ours - own) or ours
  if lift and after < ours then
    after = ours
  end
  if after > MOST or after < -MOST then
    return {'unusable', FAULTS.bounds, '0', damage}
  end
  if not exists then
    if ours > 0 or exact then
      redis.call('SET', TOTAL, text(after))
    end
  elseif after == 0 and ours == 0 and not exact then
    redis.call('DEL', TOTAL)
  elseif after ~= total then
    redis.call('INCRBY', TOTAL, text(after - total))
  end
  local changed = after ~= (total or 0) or (not exists and own > 0)
  if changed then
    redis.call('PUBLISH', TOTAL, text(after))
  end
  return {'ok', text(after), changed and '1' or '0', damage}
end
