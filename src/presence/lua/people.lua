-- What every script that works on a channel's visitors begins with, behind count.lua and members.lua.
--
-- `people` has a field for each visitor: the 2-byte numbers of the nodes that have it, one behind the
-- other. `owner` says whose a number is: how many visitors it has, the stamp of the last batch that was
-- stated under it, and the node. A number with a `!` in front is dying, since the time that stands behind the node:
-- it is swept out of the people, and then free again. No two batches of a node have the same stamp, so a batch that is carried out late,
-- and data that went back in time, are both noticed.
local claims = read('HGETALL', OWNER)
local owners, living, most, all, loose = {}, {}, 0, 0, false
for i = 1, #(claims or {}), 2 do
  local dying, count, stamp, node = string.match(claims[i + 1], '^(!?)(%d+) (%d+) (.+)$')
  local owner = {raw = claims[i + 1], count = tonumber(count), stamp = tonumber(stamp), node = node}
  owners[claims[i]] = owner
  if dying == '' then
    living[claims[i]] = owner
    most = math.max(most, owner.count)
  end
  -- An entry that cannot be read is swept like one that is dying.
  loose = loose or not count
  all = all + (owner.count or 0)
end
-- Whether people and owners cannot both be right: one of the two keys was lost, or written by others.
local broken = not claims or no_people or people < most or (people > all and not loose)

-- Whether a visitor's numbers are numbers of nodes.
local function sound(numbers)
  for at = 1, #numbers, 2 do
    if not owners[string.sub(numbers, at, at + 1)] then
      return false
    end
  end
  return numbers ~= ''
end

-- Both keys go, with the list, and whoever has visitors here states them again.
local function mend()
  if broken then
    unlist()
    redis.call('UNLINK', PEOPLE, OWNER)
    damage[#damage + 1] = 'people and owner did not agree'
    people, owners, living, broken, no_people = 0, {}, {}, false, false
  end
end

-- From now on nothing is stated under a number any more. The removal goes first, for a full store.
local function sentence(number)
  local time = redis.call('TIME')
  redis.call('HDEL', OWNER, number)
  redis.call('HSET', OWNER, number, '!' .. living[number].raw .. ' ' .. time[1])
  living[number] = nil
end

-- Where a number stands among those of a visitor.
local function place(numbers, number)
  for at = 1, #numbers, 2 do
    if string.sub(numbers, at, at + 1) == number then
      return at
    end
  end
end

-- Whether the store has other visitors of a node than it believes to have stated: under another number,
-- with another stamp, or on another list. A node without visitors has no number. With neither a share nor a
-- number, the node is certain of nothing.
local function misplaced(node, share, number, stamp, list)
  if share == '' and number == '' then
    return false
  end
  if broken or (list ~= '' and epoch ~= list) then
    return true
  end
  for other, owner in pairs(living) do
    if owner.node == node and (other ~= number or owner.stamp ~= tonumber(stamp)) then
      return true
    end
  end
  return number ~= '' and not (living[number] and living[number].node == node)
end
