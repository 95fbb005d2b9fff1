-- The world of a script: what it can see, and what it cannot touch.
-- Receives the functions that the store provides; returns the environment of all scripts and the
-- function that runs one.
local expired, position, thrown, provided = ...

local error, type, tostring, getmetatable, setmetatable, rawset, rawget =
  error, type, tostring, getmetatable, setmetatable, rawset, rawget
local real_pcall, real_xpcall, real_loadstring, setfenv = pcall, xpcall, loadstring, setfenv
local concat, byte = table.concat, string.byte

local TIMEOUT = 'ERR Script killed: it ran longer than it may.'
local protected = setmetatable({}, { __mode = 'k' })

local function refuse()
  error('Attempt to modify a readonly table', 2)
end

-- A view of a table through which nothing can be changed.
local function readonly(inner)
  local view = setmetatable({}, { __index = inner, __newindex = refuse, __metatable = false })
  protected[view] = true
  return view
end

-- What the store's own functions have thrown, as scripts know it: a table with `err`, or a text.
local function plain(problem)
  if type(problem) ~= 'userdata' then
    return problem
  end
  local text, as_table = thrown()
  if text == nil then
    return tostring(problem)
  end
  return as_table and { err = text } or text
end

-- Catching an error must not make a script immortal.
local function passed(ok, ...)
  if ok then
    return ok, ...
  end
  if expired() then
    error({ err = TIMEOUT }, 0)
  end
  local problem = plain((...))
  if type(problem) == 'table' and rawget(problem, 'err') then
    problem = problem.err
  end
  return ok, problem
end

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
redis.set_repl = function() end

local cjson = provided.cjson

local env
local function compile(text, name)
  if type(text) ~= 'string' then
    error('bad argument #1 to \'loadstring\' (string expected)', 3)
  end
  if byte(text) == 27 then
    return nil, 'attempt to load bytecode, which is not allowed'
  end
  local chunk, problem = real_loadstring(text, name)
  if not chunk then
    return nil, problem
  end
  return setfenv(chunk, env)
end

string.dump = nil
getmetatable('').__metatable = false

local visible = {
  assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs, next = next,
  pairs = pairs, rawequal = rawequal, rawget = rawget, select = select,
  setmetatable = setmetatable, tonumber = tonumber, tostring = tostring, type = type,
  unpack = unpack, _VERSION = _VERSION, gcinfo = gcinfo,
  string = readonly(string), table = readonly(table), math = readonly(math),
  redis = readonly(redis), cjson = readonly(cjson),
  rawset = function(target, key, value)
    if protected[target] then
      refuse()
    end
    return rawset(target, key, value)
  end,
  collectgarbage = function(what)
    return what == 'count' and collectgarbage('count') or 0
  end,
  loadstring = compile,
  load = function(pieces, name)
    local text = {}
    for piece in pieces do
      if piece == '' then break end
      text[#text + 1] = piece
    end
    return compile(concat(text), name)
  end,
  pcall = function(...)
    return passed(real_pcall(...))
  end,
  xpcall = function(...)
    return passed(real_xpcall(...))
  end,
}
local resume = coroutine.resume
local coroutines = {}
for name, value in pairs(coroutine) do
  coroutines[name] = value
end
coroutines.resume = function(...)
  return passed(resume(...))
end
visible.coroutine = readonly(coroutines)

setmetatable(visible, {
  __index = function(_, name)
    error('Script attempted to access nonexistent global variable \'' .. tostring(name) .. '\'', 2)
  end,
})
env = readonly(visible)
visible._G = env

local function explain(problem)
  problem = plain(problem)
  if expired() then
    problem = { err = TIMEOUT }
  elseif type(problem) ~= 'table' then
    problem = { err = 'ERR ' .. tostring(problem) }
  end
  problem.line = position()
  return problem
end

local function run(script, keys, argv)
  rawset(visible, 'KEYS', keys)
  rawset(visible, 'ARGV', argv)
  return real_xpcall(script, explain)
end

return env, run
