-- Withdraws the shares of dead nodes, and makes a total that is missing or too low their sum. Numbers of
-- dead nodes are dying from then on; see sweep.lua. Doing it twice, or from two nodes at once, changes
-- nothing more.
-- ARGV: the node, the share that the store last confirmed to it or "", "1" if the channel is named
--       exactly, the number and the stamp of its visitors, the epoch of the list that they are on, the most
--       members and bytes of news that are published, then the ids of dead nodes.
-- Returns what `finish` does, how many numbers are dying, and the epoch, the turn and the mark of the list; or
-- lost, if the store has another share of the node; or foreign, if the key is not a count.
local exact, mended, most, bytes = ARGV[3] == '1', broken, tonumber(ARGV[7]), tonumber(ARGV[8])
mend()
if epoch and redis.call('HLEN', MEMBERS) - 1 > people then
  -- Somebody is on it who is not here.
  damage[#damage + 1], mended = 'the members were not the people', true
  unlist()
end
if lost(ARGV[1], ARGV[2]) or (ARGV[2] ~= '' and misplaced(ARGV[1], ARGV[4], ARGV[5], ARGV[6])) then
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
for i = 9, #ARGV do
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
