-- Reads the total. A pattern may match a key that is no count, and what that holds is told to nobody.
-- ARGV: the node, the share that the store last confirmed to it or "", "1" if the channel is named exactly,
--       the number and the stamp of its visitors, and the epoch of the list that they are on.
-- Returns ok and the total; unusable and why; lost, if the store has another share of the node or the
-- total is missing; foreign, if the key is not a count.
local astray = misplaced(ARGV[1], ARGV[2], ARGV[4], ARGV[5], ARGV[6])
if astray or lost(ARGV[1], ARGV[2]) or (not exists and sum + people > 0) then
  return {'lost', '', '0', ''}
end
if foreign(ARGV[3] == '1') then
  return {'foreign', '', '0', ''}
end
if fault then
  return {'unusable', FAULTS[fault], '0', ''}
end
return {'ok', text(total or 0), '0', ''}
