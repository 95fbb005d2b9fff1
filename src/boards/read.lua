-- Reads the top of a sorted set, its size, and the place of single members, all at one moment.
-- KEYS: the sorted set.  ARGV: how many to read, "desc" or "asc", then the members that are followed.
-- Returns a word, the size, the top as member, score, member, score, …, and for each followed member its
-- rank and its score, both '' where it is absent. The words: ok; other, if the key is no sorted set.
local key, top, falling = KEYS[1], tonumber(ARGV[1]), ARGV[2] == 'desc'
local kind = redis.call('TYPE', key).ok
if kind ~= 'zset' and kind ~= 'none' then
  return {'other', 0, {}, {}}
end
local range, rank = 'ZRANGE', 'ZRANK'
if falling then
  range, rank = 'ZREVRANGE', 'ZREVRANK'
end
local places = {}
for i = 3, #ARGV do
  places[#places + 1] = redis.call(rank, key, ARGV[i]) or ''
  places[#places + 1] = redis.call('ZSCORE', key, ARGV[i]) or ''
end
return {'ok', redis.call('ZCARD', key), redis.call(range, key, 0, top - 1, 'WITHSCORES'), places}
