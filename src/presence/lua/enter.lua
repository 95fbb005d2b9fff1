-- Whether a lease holds, by its end as last confirmed. If it does, puts `channel`, unless that is '', into the list of
-- those in which a node may have a share: before it states one, and not after its lease has ended, as whoever
-- withdraws its shares has then read the list. A list of another type was damaged.
local function enter(list, channel, lease)
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(lease) then
    return false
  end
  if channel ~= '' then
    local kind = redis.call('TYPE', list).ok
    if kind ~= 'set' and kind ~= 'none' then
      redis.call('DEL', list)
    end
    redis.call('SADD', list, channel)
  end
  return true
end

