-- States which visitors a node has on one channel and which it has no more. Stating it twice changes
-- nothing. It stops where it has taken too long; the rest is another batch.
-- ARGV: the node, its number here, the stamp of its last batch that was confirmed under that number (0 if
--       there is none), the stamp of this batch, the end of the lease as last confirmed, "1" if the
--       channel is named exactly, "1" if the node has a share here already, the longest time in ms, "1" if
--       a list of members is kept, the epoch of the one that the node's visitors are on, a secret for a new
--       one, the most members and bytes of news that are published, how many older ids of the node follow, the
--       channel if it is to be in the node's list, these ids, then the visitors, each once, with + or - in
--       front and what the list has of them behind, first those that left.
-- KEYS: on one server, where it is to be in that list, also the nodes and the node's channels.
-- Returns what `finish` does, how many visitors the node has under its number, how many of the changes were
-- made, and the epoch and the secret of the list; or late, if the lease has ended; gone, if the node is dead
-- here; foreign, if the key is not a count; taken, if the number is another node's; lost, if the store has not
-- what the node has stated.
local node, number, from, to = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local exact, listed, first = ARGV[6] == '1', ARGV[9] == '1', 16 + tonumber(ARGV[14])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not enter(KEYS[8], ARGV[15], ARGV[5]) then
  return {'late', '', '0', '', '0', '0', '', ''}
end
if gone(node) then
  return {'gone', '', '0', '', '0', '0', '', ''}
end
if foreign(exact) and ARGV[7] ~= '1' then
  return {'foreign', '', '0', '', '0', '0', '', ''}
end
local function answer(word, count, made)
  local reply = finish(exact, false)
  tell(people, tonumber(ARGV[12]), tonumber(ARGV[13]))
  reply[1], reply[5], reply[6] = word or reply[1], text(count), text(made)
  reply[7], reply[8] = epoch or '', secret or ''
  return reply
end

local mine = {[node] = true}
for i = 16, first - 1 do
  mine[ARGV[i]] = true
  put(ARGV[i], 0)
  bury(ARGV[i])
end
mend()
local refusal, owner = nil, owners[number]
if not owner then
  refusal = from > 0 and 'lost' or nil
elseif not (living[number] and mine[owner.node]) then
  refusal = from > 0 and 'lost' or 'taken'
elseif owner.stamp < from or owner.stamp >= to then
  refusal = 'lost'
elseif listed and from > 0 and (epoch or '') ~= ARGV[10] then
  refusal = 'lost'
end
-- A batch that is carried out late is no reason to give up what was stated after it.
for other, owned in pairs(living) do
  if mine[owned.node] and owned.stamp < to and (other ~= number or refusal == 'lost') then
    sentence(other)
  end
end
if refusal then
  return answer(refusal, 0, 0)
end

-- A hash of this size may still be a list to Redis, in which each visitor is looked for from the beginning: a hundred at a
-- time are enough.
local SMALL = 512
local count, at = owner and owner.count or 0, first
owners[number] = owner or {}
-- In seconds. Where there is no `os`, TIME tells how long a script has taken, but where it stands still meanwhile:
-- there, how many visitors are in a batch must do.
local clock = rawget(_G, 'os') and os.clock or function()
  local passed = redis.call('TIME')
  return passed[1] + passed[2] / 1000000
end
local by = clock() + tonumber(ARGV[8]) / 1000
if owner and string.sub(ARGV[first] or '', 1, 1) == '-' then
  -- Removals go first, and are never refused for want of memory.
  redis.call('HDEL', OWNER, number)
end
while at <= #ARGV do
  local some, sets, gone, came, profiles = {}, {}, {}, {}, {}
  for i = at, math.min(at + 99, #ARGV) do
    some[#some + 1] = string.sub(ARGV[i], 2, 17)
  end
  local had = redis.call('HMGET', PEOPLE, unpack(some))
  for i, visitor in ipairs(some) do
    local numbers = had[i] or ''
    local found = place(numbers, number)
    broken = broken or (had[i] and not sound(numbers))
    if string.sub(ARGV[at + i - 1], 1, 1) == '+' then
      came[#came + 1], profiles[#profiles + 1] = visitor, string.sub(ARGV[at + i - 1], 18)
      if not found then
        sets[#sets + 1], sets[#sets + 2] = visitor, numbers .. number
        count, people = count + 1, people + (had[i] and 0 or 1)
      end
    elseif found then
      numbers, count = string.sub(numbers, 1, found - 1) .. string.sub(numbers, found + 2), count - 1
      if numbers == '' then
        gone[#gone + 1], people = visitor, people - 1
      else
        sets[#sets + 1], sets[#sets + 2] = visitor, numbers
      end
    end
  end
  if #gone > 0 then
    redis.call('HDEL', PEOPLE, unpack(gone))
    delist(gone)
  end
  if #sets > 0 then
    redis.call('HSET', PEOPLE, unpack(sets))
  end
  if listed and not epoch and #came > 0 then
    unlist()
    epoch, turn, mark, secret = draw(node .. ARGV[4]), 0, '0', ARGV[11]
  end
  if epoch and #came > 0 then
    enlist(came, profiles, text(now))
  end
  at = at + #some
  if broken or people <= SMALL or clock() >= by then
    break
  end
end
if broken then
  mend()
  return answer('lost', 0, 0)
end
if count > 0 then
  redis.call('HSET', OWNER, number, text(count) .. ' ' .. ARGV[4] .. ' ' .. node)
elseif owner then
  redis.call('HDEL', OWNER, number)
end
return answer(nil, count, at - first)
