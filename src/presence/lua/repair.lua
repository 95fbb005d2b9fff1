-- Withdraws the shares of dead nodes, and makes a total that is missing or too low their sum.
-- Doing it twice, or from two nodes at once, changes nothing more.
-- ARGV: the node, the share that the store last confirmed to it or "", "1" if the channel is named
--       exactly, then the ids of dead nodes.
-- Returns what `finish` does; or lost, if the store has another share of the node, and then changes
-- nothing; or foreign, if the key is not a count.
if lost(ARGV[1], ARGV[2]) then
  return {'lost', '', '0', ''}
end
local exact = ARGV[3] == '1'
if foreign(exact) then
  return {'foreign', '', '0', ''}
end
for i = 4, #ARGV do
  put(ARGV[i], 0)
end
return finish(exact, true)
