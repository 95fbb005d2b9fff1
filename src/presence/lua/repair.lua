-- Withdraws the shares of dead nodes, and makes a total that is missing or too low their sum. Numbers of
-- dead nodes are dying from then on; see sweep.lua. Doing it twice, or from two nodes at once, changes
-- nothing more.
-- ARGV: the node, the share that the store last confirmed to it or "", "1" if the channel is named
--       exactly, the number and the stamp of its visitors, the epoch of the list that they are on, the most
--       members and bytes of news that are published, "1" if others are looked for that are no nodes, the end of
--       the lease as last confirmed if the channel is to be in the node's list, the channel, then the ids of
--       dead nodes.
-- KEYS: on one server, where anything is looked for or listed, also the nodes and the node's channels.
-- Returns what `finish` does, how many numbers are dying, and the epoch, the turn and the mark of the list; or
-- lost, if the store has another share of the node; foreign, if the key is not a count; strangers, if somebody
-- is no node, and nothing is done yet; late, if the lease has ended.
if ARGV[10] ~= '' and not enter(KEYS[8], ARGV[11], ARGV[10]) then
  return {'late', '', '0', '', '0', ''}
end
-- Where the node itself is missing among the nodes, these were lost, and nobody can tell who is dead.
if ARGV[9] == '1' and read('ZSCORE', KEYS[7], ARGV[1]) then
  local sharers = {}
  for i = 1, #(fields or {}), 2 do
    sharers[fields[i]] = true
  end
  for _, owner in pairs(living) do
    sharers[owner.node] = true
  end
  sharers[ARGV[1]] = nil
  for node in pairs(sharers) do
    if not read('ZSCORE', KEYS[7], node) then
      return {'strangers', '', '0', '', '0', ''}
    end
  end
end
local exact, mended, most, bytes = ARGV[3] == '1', broken, tonumber(ARGV[7]), tonumber(ARGV[8])
mend()
if epoch and redis.call('HLEN', MEMBERS) - 1 > people then
  -- Somebody is on it who is not here.
  damage[#damage + 1], mended = 'the members were not the people', true
  unlist()
end
if lost(ARGV[1], ARGV[2]) or misplaced(ARGV[1], ARGV[2], ARGV[4], ARGV[5], ARGV[6]) then
  if mended then
    finish(exact, true)
    tell(people, most, bytes)
  end
  return {'lost', '', '0', '', '0', ''}
end
if foreign(exact) then
  return {'foreign', '', '0', '', '0', ''}
end
local dead = {}
for i = 12, #ARGV do
  dead[ARGV[i]] = true
  put(ARGV[i], 0)
  bury(ARGV[i])
end
for number, owner in pairs(living) do
  if dead[owner.node] then
    sentence(number)
  end
end
local dying = 0
for number in pairs(owners) do
  dying = dying + (living[number] and 0 or 1)
end
local reply = finish(exact, true)
tell(people, most, bytes)
reply[5], reply[6] = text(dying), epoch and epoch .. ' ' .. text(turn) .. ' ' .. mark or ''
return reply
