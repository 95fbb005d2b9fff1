-- States what one node has on one channel. Stating a number twice changes nothing.
-- ARGV: the node, its number, the end of its lease as last confirmed, "1" if the channel is named
--       exactly, "1" if the node has a share here already, the channel if it is to be in the node's list, then
--       any older ids of the same node, whose shares are taken out in the same step.
-- KEYS: on one server, where it is to be in that list, also the nodes and the node's channels.
-- Returns what `finish` does; or late, if the lease has ended; gone, if the node is dead here; or foreign, if the key is not a count.
local exact = ARGV[4] == '1'
if not enter(KEYS[8], ARGV[6], ARGV[3]) then
  return {'late', '', '0', ''}
end
if gone(ARGV[1]) then
  return {'gone', '', '0', ''}
end
if foreign(exact) and ARGV[5] ~= '1' then
  return {'foreign', '', '0', ''}
end
for i = 7, #ARGV do
  put(ARGV[i], 0)
  bury(ARGV[i])
end
put(ARGV[1], tonumber(ARGV[2]))
return finish(exact, false)
