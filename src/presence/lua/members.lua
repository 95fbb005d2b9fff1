-- What every script that works on a channel's visitors begins with, between count.lua and people.lua: the
-- list of who is here. Once there is one, whatever changes the people changes it too, in the same step.
--
-- `members` has a field for each visitor: when it came, when its token was made (0 without one), and, with a
-- token, the length of its name, the name and the info. The field without a name says how the list
-- stands: its epoch, which is drawn when a list begins; how many changes it has had; a mark of the last one,
-- so that data that went back in time are noticed; and the secret that handles are made with.
-- What changes is published on a channel of the key's name.
local MEMBERS = KEYS[6]
local head = read('HGET', MEMBERS, '')
local epoch, turn, mark, secret = string.match(head or '', '^(%x+) (%d+) (%x+) (%x+)$')
turn = tonumber(turn)
-- What changed, as it is published; whether a list was given up.
local news, unlisted = {}, false

-- Text that no other moment has.
local function draw(salt)
  local time = redis.call('TIME')
  return string.sub(redis.sha1hex(salt .. ' ' .. time[1] .. ' ' .. time[2]), 1, 16)
end

-- Gives the list up. Whoever has visitors here states them again, and with that begins another.
local function unlist()
  redis.call('UNLINK', MEMBERS)
  unlisted, epoch, news = unlisted or epoch ~= nil, nil, {}
end

-- Takes visitors off the list.
local function delist(gone)
  for i = 1, epoch and #gone or 0, 1000 do
    redis.call('HDEL', MEMBERS, unpack(gone, i, math.min(i + 999, #gone)))
  end
  for i = 1, epoch and #gone or 0 do
    news[#news + 1] = '-' .. gone[i]
  end
end

-- Puts visitors on the list, with what is to be told of each. Of several tabs, the newest token counts.
local function enlist(visitors, profiles, now)
  local sets, had = {}, redis.call('HMGET', MEMBERS, unpack(visitors))
  for i, visitor in ipairs(visitors) do
    local came, made = string.match(had[i] or '', '^(%d+) (%d+)')
    if not made or tonumber(string.match(profiles[i], '^%d+')) > tonumber(made) then
      local entry = (came or now) .. ' ' .. profiles[i]
      sets[#sets + 1], sets[#sets + 2] = visitor, entry
      news[#news + 1] = '+' .. visitor .. #entry .. ':' .. entry
    end
  end
  if #sets > 0 then
    redis.call('HSET', MEMBERS, unpack(sets))
  end
end

-- Publishes what has changed, if the list is short enough to be shown and the news to be sent; else only
-- that it has: whoever shows it reads it then.
local function tell(people, most, bytes)
  local before = mark
  if epoch and #news > 0 then
    turn, mark = turn + 1, draw(mark)
  end
  if people > 0 and epoch and #news > 0 then
    redis.call('HSET', MEMBERS, '', epoch .. ' ' .. text(turn) .. ' ' .. mark .. ' ' .. secret)
  elseif people == 0 and redis.call('EXISTS', MEMBERS) == 1 then
    redis.call('UNLINK', MEMBERS)
  end
  if epoch and #news > 0 then
    local body = table.concat(news)
    local short = #body <= bytes and people <= most
    local line = epoch .. ' ' .. text(turn) .. ' ' .. before .. ' ' .. mark .. ' ' .. secret
    redis.call('PUBLISH', MEMBERS, line .. '\n' .. (short and body or '?'))
  elseif unlisted then
    redis.call('PUBLISH', MEMBERS, '?')
  end
  epoch = people > 0 and epoch or nil
end
