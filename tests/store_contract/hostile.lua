-- unpack, CVE-2025-46817
return {unpack({1,2,3}, -2, 2147483647)}
----
return {unpack({1,2,3}, 0, 2147483647)}
----
return {unpack({1,2,3}, -2147483648, 2147483647)}
----
return {unpack({1,2,3}, 2147483647, 2147483647)}
----
return #{unpack({}, 1, 7000)}
----
return {unpack({}, 1, 1e8)}
----
-- the metatables of basic types, CVE-2025-46818
getmetatable('').__index = function() return 'stolen' end
----
getmetatable('').__index.upper = function() return 'stolen' end
----
setmetatable(getmetatable(''), {})
----
rawset(getmetatable(''), '__add', function() return 'stolen' end)
----
rawset(_G, 'redis', nil)
----
setmetatable(_G, {})
----
rawset(getmetatable(_G), '__index', function() return 1 end)
----
redis.call = nil
----
table.insert(math, 1)
----
-- long brackets, CVE-2025-46819
return loadstring('return [' .. ('='):rep(1000000) .. '[')
----
-- the name of a chunk that is collected, CVE-2025-49844
for i = 1, 200 do
  loadstring('x = ' .. ('{'):rep(20) .. ('}'):rep(20), ('@n' .. i):rep(50))
  load(function() return nil end, ('@m' .. i):rep(50))
end
return 'fine'
----
-- parameters and varargs, CVE-2014-5461
local names = {}
for i = 1, 190 do names[i] = 'a' .. i end
local f = loadstring('return function(' .. table.concat(names, ',') .. ', ...) local x = {...} return #x end')()
local function deep(n) if n == 0 then return f(unpack({}, 1, 240)) end return deep(n - 1), 1 end
return deep(100)
----
-- bytecode, CVE-2015-4335
return loadstring('\27Lua\81\0\1\4\4\4\8\0')
----
local pieces = {'\27Lua', '\81\0\1'}
return load(function() return table.remove(pieces, 1) end)
----
return string.dump(function() end)
----
-- the collector and finalizers, CVE-2024-46981
return tostring(newproxy)
----
setmetatable({}, {__gc = function() error('x') end}) collectgarbage() collectgarbage('step', 1e9) return collectgarbage('setpause', -1)
----
-- errors that are no errors, CVE-2022-24735 and -24736
return redis.error_reply(('x'):rep(100000))
----
error({err = setmetatable({}, {__tostring = function() error('x') end})})
----
error(setmetatable({}, {__index = function() while true do end end}))
----
error(nil)
----
return {err = ''}
----
return {err = {}}
----
-- loops that catch what ends them
while true do pcall(function() while true do end end) end
----
xpcall(error, function() while true do end end)
----
xpcall(function() while true do end end, function() while true do end end)
----
local function f() xpcall(f, f) end f()
----
local function f() pcall(f) f() end f()
----
while true do coroutine.resume(coroutine.create(function() while true do end end)) end
----
while true do pcall(string.rep, 'x', 1e9) end
----
repeat until false
----
while true do loadstring('while true do end')() end
----
while true do local ok = pcall(redis.call, 'nosuch') end
----
-- loops of the libraries
table.insert({}, 2^31, 1)
----
table.insert({}, -2^31, 1)
----
table.insert({}, -1e8, 1)
----
table.remove(setmetatable({}, {__len = function() return 1e9 end}), 1)
----
return table.concat({}, ',', -2^31, 2^31 - 1)
----
return table.concat({}, ',', 2^31 - 1, 2^31)
----
local t = {} for i = 1, 1e6 do t[i] = '' end while true do table.concat(t) end
----
return (''):rep(2^31 - 1)
----
return ('x'):rep(-5) .. ('x'):rep(1e300) .. ('x'):rep(-1e300)
----
return ('a'):rep(3000):find('.-.-.-.-b')
----
return ('a'):rep(1e6):find(('a?'):rep(1000) .. ('a'):rep(1000))
----
return ('a'):rep(1e5):find(('a-'):rep(900) .. 'b')
----
return ('x'):rep(3e6):find('[' .. ('y'):rep(3e6) .. ']-z')
----
return ('a'):rep(1e7):find(('a'):rep(5e6) .. 'b', 1, true)
----
return ('('):rep(1e6):find('%b()')
----
return ('a'):rep(1e5):gsub('.-b', '')
----
return #('a'):rep(1e5):gsub('', ('b'):rep(1e5))
----
for _ in ('a'):rep(1e6):gmatch('.-b') do end
----
return ('a'):find(('('):rep(1000))
----
return ('a'):rep(40):find(('(a)'):rep(40))
----
return ('a'):find('%')
----
return ('a'):find('[')
----
return ('a'):find('[%')
----
return ('a'):find('%f')
----
return ('a'):find('%9')
----
return ('a'):gsub('(a)', '%2')
----
return ('a'):gsub('a', '%')
----
-- long patterns and deep nesting
return ('a'):rep(1e6):find(('a*'):rep(1e6))
----
return ('a'):rep(1e6):match(('a-'):rep(3e5) .. 'b')
----
return ('a'):rep(1e6):gsub(('a?'):rep(3e5), '')
----
return loadstring('return ' .. ('('):rep(1e5) .. '1' .. (')'):rep(1e5))
----
return loadstring('return ' .. ('{'):rep(1e6))
----
return loadstring(('do '):rep(1e5))
----
return loadstring(('function f() '):rep(1e5))
----
return loadstring('return ' .. ('-'):rep(1e6) .. '1')
----
return loadstring('return ' .. ('not '):rep(1e6) .. '1')
----
return loadstring('return ' .. ('a..'):rep(1e5) .. 'a')
----
return loadstring('local ' .. ('a,'):rep(1e5) .. 'a')
----
return loadstring(('a,'):rep(1e5) .. 'a = 1')
----
return loadstring('while true do ' .. ('if a then break end '):rep(2e5) .. 'end')
----
return load(function() return '--' end)
----
return load(function() return ' ' end)
----
return load(function() return 'x' end)
----
return load(load)
----
local function f() return load(f) end return f()
----
local function f(n) local c = coroutine.wrap(f) return c(n) end return f(1)
----
local c c = coroutine.wrap(function() return c() end) return c()
----
local c = coroutine.create(function() coroutine.yield(unpack({}, 1, 7000)) end)
return #{coroutine.resume(c)}
----
return coroutine.wrap(function(...) return select('#', ...) end)(unpack({}, 1, 7900))
----
coroutine.yield(1)
----
return coroutine.running()
----
local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x
----
local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x
----
local t = setmetatable({}, {__call = function(t) return t() end}) return t()
----
local t = setmetatable({}, {__tostring = function(t) return tostring(t) end}) return tostring(t)
----
local t = setmetatable({}, {__lt = function(a, b) return a < b end}) return t < t
----
local function f() return f() end return f()
----
local function f() return 1 + f() end return f()
----
-- sorting
table.sort({3, 1, 2}, function() return true end)
----
local t = {} for i = 1, 1e5 do t[i] = i % 7 end table.sort(t, function(a, b) return true end)
----
local t = {} for i = 1, 1e5 do t[i] = 0 end table.sort(t, function(a, b) t[b] = nil return a < 1 end)
----
local a, t = ('a'):rep(1e6), {} for i = 1, 1e6 do t[i] = (i % 2 == 0) and a .. 'x' or a .. 'y' end table.sort(t)
----
local x, y = ('a'):rep(1e7) .. 'x', ('a'):rep(1e7) .. 'y' while true do local _ = x < y end
----
local x = ('a'):rep(1e7) while true do local _ = x .. 'y' end
----
local x = ('1'):rep(1e6) while true do local _ = x + 1 end
----
local t = {} for i = 1, 5e5 do t['k' .. i] = i end for i = 1, 5e5 do t['k' .. i] = nil end while true do next(t) end
----
-- formats
return string.format('%99.99f', -1e308)
----
return string.format('%100d', 1)
----
return string.format('%.100f', 1)
----
return string.format('%-+ #0-+ #099d', 1)
----
return string.format('%s', ('x'):rep(1e6))
----
return string.format('%.99s', ('x'):rep(1e6))
----
return string.format('%q', ('\0\r\n"'):rep(1e5))
----
return string.format(('%s'):rep(300), unpack({}, 1, 250))
----
return string.format('%')
----
return string.format('%d', 0/0) .. string.format('%c', -1) .. string.format('%x', 2^63) .. string.format('%i', -1e300)
----
return string.byte(('x'):rep(1e6), 1, -1)
----
return {string.byte('x', -2^31, 2^31)}
----
return string.char(256)
----
return string.char(-1)
----
return ('x'):sub(-2^31, 2^31) .. ('x'):sub(2^53, -2^53)
----
return select(-2^31, 1)
----
return select(2^31, 1)
----
return tonumber(('z'):rep(1e6), 36)
----
return tonumber('1', 2^31)
----
return math.random(2^53, -2^53)
----
return math.ldexp(1, 2^31) + math.fmod(1, 0) + math.huge
----
error('x', 2^31)
----
error('x', -2^31)
----
-- memory
local t = {} for i = 1, 1e9 do t[i] = i end
----
local s = 'x' while true do s = s .. s end
----
local t = {} for i = 1, 1e9 do t[i] = {} end
----
local t = {} while true do t[#t + 1] = coroutine.create(function() end) end
----
local t = {} while true do t[#t + 1] = function() return t end end
----
while true do pcall(function() local s = 'x' while true do s = s .. s end end) end
----
-- replies
local t = {} t[1] = t return t
----
local t = {} for i = 1, 100 do t[i] = t end return t
----
local t = {} t.map = t return t
----
local t = {} t.set = {[t] = true} return t
----
local t = {} for i = 1, 100 do t = {map = {a = t, b = t, c = t}} end return t
----
local s, t = ('x'):rep(1e7), {} for i = 1, 1000 do t[i] = s end return t
----
local t = {} for i = 1, 1e6 do t[i] = {} end local u = {} for i = 1, 1e4 do u[i] = t end return u
----
return setmetatable({}, {__index = function() while true do end end})
----
return {double = 0/0}
----
return {big_number = '1\r\n+x'}
----
return {ok = 'a\r\n+b'}
----
return 0/0
----
return 1e300
----
return {verbatim_string = {format = '', string = ''}}
----
-- commands
return redis.call(unpack({}, 1, 7000))
----
local a = {} for i = 1, 7000 do a[i] = ('x'):rep(1000) end return redis.call('rpush', 'l', unpack(a))
----
local s, a = ('x'):rep(1e7), {} for i = 1, 7000 do a[i] = s end return redis.call('rpush', 'l', unpack(a))
----
redis.call('set', 'big', ('x'):rep(1e7)) local t = {} while true do t[#t + 1] = redis.call('get', 'big') end
----
while true do redis.call('ping') end
----
while true do redis.pcall('eval', 'return 1', '0') end
----
return redis.call('setrange', 'k', 2^53, 'x')
----
return redis.call({})
----
return redis.call('get', setmetatable({}, {__tostring = function() return 'x' end}))
----
return redis.call('config', 'set', 'maxmemory', '1')
----
return redis.log(0/0, 'x')
----
return redis.setresp(3.5)
----
return redis.sha1hex(('x'):rep(1e7))
----
-- cjson, CVE-2022-24834
local t = {} t[1] = t return cjson.encode(t)
----
local t = {} for i = 1, 100 do t[i] = t end return cjson.encode(t)
----
local s, t = ('\1'):rep(5e6), {} for i = 1, 1000 do t[i] = s end return cjson.encode(t)
----
return cjson.decode(('['):rep(1e6))
----
return cjson.decode(('{"a":'):rep(1e6))
----
local t = {} for i = 1, 1e6 do t[i] = i end while true do cjson.encode(t) end
----
return cjson.decode('[' .. ('1,'):rep(3e6) .. '1]')[1]
----
return cjson.encode({[2^31] = 1})
----
return cjson.encode({[2^53] = 1, [1] = 2})
----
return cjson.encode({[-1] = 1, [0] = 1, [0.5] = 1, [1/0] = 1})
----
return cjson.decode('"\\ud800"')
----
return cjson.decode('1e999999999')
----
return cjson.encode(setmetatable({}, {__index = function() while true do end end}))
----
while true do cjson.decode(cjson.encode({1, {2, {3}}})) end
