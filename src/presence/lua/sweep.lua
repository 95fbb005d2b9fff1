-- Takes a dying number out of some of the people, and frees it after the last of them. Whoever sweeps
-- from beginning to end meets every visitor that had the number, because nobody gets it any more.
-- ARGV: the number, its entry among the owners as it was when this sweep began, where to go on, how many
--       visitors to look at, "1" if the channel is named exactly, the most members and bytes of news that
--       are published, "1" if everybody who had the number is stated under another or has gone.
-- Returns what `finish` does, where to go on ("0": nothing is left), and how many visitors had it.
local number, exact = ARGV[1], ARGV[5] == '1'
local cursor, found = '0', 0
-- Whoever stated visitors under a number that is dying may be just stating them under another (seconds).
local PATIENCE = 5
local since = tonumber(string.match(ARGV[2], ' (%d+)$') or '')
local settled = ARGV[8] == '1' or not since or math.abs(redis.call('TIME')[1] - since) > PATIENCE
mend()
-- If it was freed meanwhile it may be another node's.
if settled and owners[number] and owners[number].raw == ARGV[2] and not living[number] then
  local page = redis.call('HSCAN', PEOPLE, ARGV[3], 'COUNT', ARGV[4])
  cursor = page[1]
  local sets, gone = {}, {}
  for i = 1, #page[2], 2 do
    local numbers = page[2][i + 1]
    local at = place(numbers, number)
    broken = broken or not sound(numbers)
    if at then
      found = found + 1
      numbers = string.sub(numbers, 1, at - 1) .. string.sub(numbers, at + 2)
      if numbers == '' then
        gone[#gone + 1] = page[2][i]
      else
        sets[#sets + 1], sets[#sets + 2] = page[2][i], numbers
      end
    end
  end
  people = people - #gone
  delist(gone)
  if cursor == '0' then
    redis.call('HDEL', OWNER, number)
  end
  -- A page of a small hash is all of it, however small a page was asked for.
  for i = 1, #gone, 1000 do
    redis.call('HDEL', PEOPLE, unpack(gone, i, math.min(i + 999, #gone)))
  end
  for i = 1, #sets, 1000 do
    redis.call('HSET', PEOPLE, unpack(sets, i, math.min(i + 999, #sets)))
  end
end
mend()
local reply = finish(exact, false)
tell(people, tonumber(ARGV[6]), tonumber(ARGV[7]))
reply[5], reply[6] = cursor, text(found)
return reply
