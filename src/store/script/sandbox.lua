-- What scripts see, and why that is safe.
--
-- Receives the functions that the store provides; returns the function that runs a script.
-- All scripts share one global table. Nothing in it can be changed: every table that two scripts can
-- reach is read-only, the metatable of all strings included, so no script leaves anything behind for
-- the next. What stands in it is one of three things:
--
--   of ours     pcall, xpcall, collectgarbage, redis, cjson, cmsgpack, struct, bit,
--               math.random, math.randomseed: here or in Rust.
--   harmless    takes time and memory in proportion to what it is given, trusts no number, runs nothing:
--               assert, error, getmetatable, ipairs, next, pairs, rawequal, rawget, select, tonumber,
--               tostring, type, gcinfo, _VERSION; setmetatable and rawset, which respect read-only
--               tables; coroutine, whose nesting the interpreter bounds; math; string.byte, char, len,
--               lower, upper, reverse, sub, and format, whose widths have two digits at most.
--   changed     in vendor/lua-src, so that its loops look at the clock, its recursion has a bound, and
--               its arithmetic does not overflow: load, loadstring, unpack, string.rep, find, match, gmatch, gsub, and
--               all of table.
--
-- What is not here: dofile, loadfile, print, getfenv, setfenv, newproxy, module, require, io, os,
-- debug and package are not even compiled in, and no function reads or writes bytecode.
local position, thrown, provided = ...

local error, type, tostring, getmetatable, setmetatable, rawget, rawset =
  error, type, tostring, getmetatable, setmetatable, rawget, rawset
local real_pcall, real_xpcall = pcall, xpcall
local real_resume, readonly, count, byte = coroutine.resume, readonly, collectgarbage, string.byte
local G = _G

-- What the store's own functions have thrown, as scripts know it: a table with `err`, or a text.
local function plain(problem)
  if type(problem) ~= 'userdata' then
    return problem
  end
  local text, as_table, counted = thrown()
  if text == nil then
    return tostring(problem)
  end
  return as_table and { err = text, ignore_error_stats_update = counted or nil } or text
end

local function passed(ok, ...)
  if ok then
    return ok, ...
  end
  local problem = plain((...))
  if type(problem) == 'table' and rawget(problem, 'err') then
    problem = rawget(problem, 'err')
  end
  return ok, problem
end

local function resumed(ok, ...)
  if ok then
    return ok, ...
  end
  return ok, plain((...))
end

G.pcall = function(...)
  return passed(real_pcall(...))
end
G.xpcall = function(...)
  local body, handler = ...
  if select('#', ...) < 2 then
    return real_xpcall(...)
  end
  return real_xpcall(body, function(problem)
    return handler(plain(problem))
  end)
end
coroutine.resume = function(...)
  return resumed(real_resume(...))
end
G.collectgarbage = function(what)
  return what == 'count' and count('count') or 0
end
G.readonly = nil
string.dump = function()
  error('unable to dump given function', 2)
end
math.random, math.randomseed = provided.random, provided.randomseed

local redis = provided.redis
redis.status_reply = function(...)
  local text = ...
  if select('#', ...) ~= 1 or type(text) ~= 'string' then
    return { err = 'ERR wrong number or type of arguments' }
  end
  return { ok = text }
end
redis.error_reply = function(...)
  local text = ...
  if select('#', ...) ~= 1 or type(text) ~= 'string' then
    return { err = 'ERR wrong number or type of arguments' }
  end
  if byte(text) == 45 then
    text = text:sub(2)
  end
  if not text:find(' ', 1, true) then
    text = 'ERR ' .. text
  end
  return { err = text }
end
redis.replicate_commands = function() return true end
redis.breakpoint = function() return false end
redis.debug = function() end

for _, name in ipairs({ 'redis', 'cjson', 'cmsgpack', 'struct', 'bit' }) do
  G[name] = provided[name]
  readonly(provided[name], true)
end
KEYS, ARGV = {}, {}

setmetatable(G, {
  __index = function(_, name)
    error('Script attempted to access nonexistent global variable \'' .. tostring(name) .. '\'', 2)
  end,
})
for _, shared in ipairs({ string, table, math, coroutine, getmetatable(''), getmetatable(G), G }) do
  readonly(shared, true)
end

local function explain(problem)
  problem = plain(problem)
  if type(problem) ~= 'table' then
    problem = { err = 'ERR ' .. tostring(problem) }
  end
  if not rawget(problem, 'line') then
    rawset(problem, 'line', position())
  end
  return problem
end

return function(script, keys, argv)
  readonly(G, false)
  G.KEYS, G.ARGV = keys, argv
  readonly(G, true)
  return real_xpcall(script, explain)
end
