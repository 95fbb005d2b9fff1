-- Withdraws the shares of dead nodes, and makes a total that is missing or too low their sum. Numbers of
-- dead nodes are dying from then on; see sweep.lua. Doing it twice, or from two nodes at once, changes
-- nothing more.
-- ARGV: the node, the share that the store last confirmed to it or "", "1" if the channel is named
--       exactly, the number and the stamp of its visitors, then the ids of dead nodes.
-- Returns what `finish` does, and how many numbers are dying; or lost, if the store has another share of
-- the node; or foreign, if the key is not a count.
local exact, mended = ARGV[3] == '1', broken
mend()
if lost(ARGV[1], ARGV[2]) or (ARGV[2] ~= '' and misplaced(ARGV[1], ARGV[4], ARGV[5])) then
  if mended then
    finish(exact, true)
  end
  return {'lost', '', '0', '', '0'}
end
if foreign(exact) then
  return {'foreign', '', '0', '', '0'}
end
local dead = {}
for i = 6, #ARGV do
  dead[ARGV[i]] = true
  put(ARGV[i], 0)
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
reply[5] = text(dying)
return reply
