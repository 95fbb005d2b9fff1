//! Lua bodies by a grammar: every function that a script can reach, with extreme arguments, in loops,
//! in coroutines and under error handlers.

use super::extreme::Source;

/// How deep expressions and blocks are nested.
const DEEPEST: usize = 5;

const FUNCTIONS: &[&str] = &[
    "assert",
    "collectgarbage",
    "error",
    "gcinfo",
    "getmetatable",
    "ipairs",
    "load",
    "loadstring",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
    "bit.arshift",
    "bit.band",
    "bit.bnot",
    "bit.bor",
    "bit.bswap",
    "bit.bxor",
    "bit.lshift",
    "bit.rol",
    "bit.ror",
    "bit.rshift",
    "bit.tobit",
    "bit.tohex",
    "cjson.decode",
    "cjson.decode_invalid_numbers",
    "cjson.decode_max_depth",
    "cjson.encode",
    "cjson.encode_invalid_numbers",
    "cjson.encode_keep_buffer",
    "cjson.encode_max_depth",
    "cjson.encode_number_precision",
    "cjson.encode_sparse_array",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cmsgpack.unpack_limit",
    "cmsgpack.unpack_one",
    "coroutine.create",
    "coroutine.resume",
    "coroutine.running",
    "coroutine.status",
    "coroutine.wrap",
    "coroutine.yield",
    "math.abs",
    "math.acos",
    "math.atan2",
    "math.ceil",
    "math.deg",
    "math.exp",
    "math.floor",
    "math.fmod",
    "math.frexp",
    "math.ldexp",
    "math.log",
    "math.max",
    "math.min",
    "math.modf",
    "math.pow",
    "math.random",
    "math.randomseed",
    "math.sqrt",
    "redis.call",
    "redis.pcall",
    "redis.error_reply",
    "redis.log",
    "redis.setresp",
    "redis.sha1hex",
    "redis.status_reply",
    "redis.set_repl",
    "redis.replicate_commands",
    "redis.breakpoint",
    "redis.debug",
    "string.byte",
    "string.char",
    "string.dump",
    "string.find",
    "string.format",
    "string.gfind",
    "string.gmatch",
    "string.gsub",
    "string.len",
    "string.lower",
    "string.match",
    "string.rep",
    "string.reverse",
    "string.sub",
    "string.upper",
    "struct.pack",
    "struct.size",
    "struct.unpack",
    "table.concat",
    "table.foreach",
    "table.foreachi",
    "table.getn",
    "table.insert",
    "table.maxn",
    "table.remove",
    "table.setn",
    "table.sort",
];

const VALUES: &[&str] = &[
    "nil",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "3.5",
    "255",
    "256",
    "2^31",
    "-2^31",
    "2^31 - 1",
    "2^53",
    "-2^53",
    "2^63",
    "1e300",
    "-1e300",
    "1/0",
    "-1/0",
    "0/0",
    "''",
    "'a'",
    "'abc'",
    "'\\0'",
    "'%'",
    "'['",
    "'%f'",
    "'%b()'",
    "'(.-)%1'",
    "'^(a*)*$'",
    "'.-.-.-b'",
    "'[^%s]-'",
    "'%d %s %q %99.99f'",
    "'%-+ #05.3g'",
    "'>i4<d!8c0s'",
    "'i32!16b'",
    "'c2147483647'",
    "'I99'",
    "'*1'",
    "'set'",
    "'get'",
    "'hset'",
    "'rpush'",
    "'lrange'",
    "'publish'",
    "'zadd'",
    "'eval'",
    "'k'",
    "'-inf'",
    "'inf'",
    "'0x10'",
    "'1e400'",
    "'{\"a\":[1,{\"b\":null}]}'",
    "'[1,2'",
    "'\"\\\\ud83d\"'",
    "'\\147\\1\\2\\3'",
    "'\\222\\255\\255'",
    "'\\221\\255\\255'",
    "'\\219\\255\\255\\255\\255'",
    "'return 1'",
    "'return function() end'",
    "'(((('",
    "'--'",
    "'on'",
    "'k', 0, -1",
    "{}",
    "{1, 2, 3}",
    "{a = 1, [2] = {3}}",
    "{ok = 'x'}",
    "{err = 'x'}",
    "{double = 1.5}",
    "{map = {a = {}}}",
    "{set = {a = true}}",
    "{big_number = '1'}",
    "big",
    "long",
    "selfish",
    "wide",
    "weak",
    "meta",
    "co",
    "f",
    "g",
    "_G",
    "KEYS",
    "string",
    "redis",
    "...",
];

/// What bodies begin with: values that are large, that hold themselves, or that run code when looked at.
const PREAMBLE: &str = "\
local f, g = function(...) return ... end, function() error('g') end
local big, long = ('x'):rep(100000), ('ab'):rep(3000)
local selfish, wide, weak = {}, {}, setmetatable({}, {__mode = 'kv'})
selfish[1], selfish.x = selfish, selfish
for i = 1, 300 do wide[i] = i end
local meta = setmetatable({}, {__index = f, __newindex = g, __call = f, __concat = f, __lt = f, __eq = f, \
__tostring = f, __len = f, __add = f, __unm = g, __metatable = false})
local co = coroutine.create(f)
";

/// A body, by the source's choices.
pub fn body(source: &mut impl Source) -> String {
    let mut text = PREAMBLE.to_owned();
    for _ in 0..=source.below(6) {
        statement(source, &mut text, 0);
    }
    if source.below(2) == 0 {
        text.push_str("return ");
        expression(source, &mut text, 0);
    }
    text
}

fn block(source: &mut impl Source, text: &mut String, depth: usize) {
    for _ in 0..=source.below(3) {
        statement(source, text, depth + 1);
    }
}

fn statement(source: &mut impl Source, text: &mut String, depth: usize) {
    if depth >= DEEPEST {
        return call(source, text, depth);
    }
    let (head, tail) = match source.below(11) {
        0 => ("for i = 1, 50 do ", " end\n"),
        1 => ("for k, v in pairs(wide) do ", " end\n"),
        2 => ("for w in string.gmatch(long, 'a(b?)') do ", " break end\n"),
        3 => ("pcall(function(...) ", " end, 1, 2)\n"),
        4 => ("xpcall(function() ", " end, function(...) g() end)\n"),
        5 => ("co = coroutine.wrap(function(...) ", " coroutine.yield(...) end) pcall(co, 1)\n"),
        6 => ("if wide[1] then ", " end\n"),
        7 => ("local t = {} while #t < 100 do t[#t + 1] = 1 ", " end\n"),
        8 => ("do local x = ", "\n end\n"),
        9 => ("f = function(...) ", " end pcall(f, ...)\n"),
        _ => ("pcall(", ")\n"),
    };
    text.push_str(head);
    match head {
        "do local x = " => expression(source, text, depth + 1),
        "pcall(" => {
            text.push_str(FUNCTIONS[source.below(FUNCTIONS.len())]);
            for _ in 0..source.below(4) {
                text.push_str(", ");
                expression(source, text, depth + 1);
            }
        }
        _ => block(source, text, depth),
    }
    text.push_str(tail);
}

fn call(source: &mut impl Source, text: &mut String, depth: usize) {
    text.push_str("pcall(");
    text.push_str(FUNCTIONS[source.below(FUNCTIONS.len())]);
    for _ in 0..source.below(4) {
        text.push_str(", ");
        expression(source, text, depth + 1);
    }
    text.push_str(")\n");
}

fn expression(source: &mut impl Source, text: &mut String, depth: usize) {
    if depth >= DEEPEST {
        return text.push_str(VALUES[source.below(VALUES.len())]);
    }
    match source.below(8) {
        0 => {
            text.push_str(FUNCTIONS[source.below(FUNCTIONS.len())]);
            text.push('(');
            for at in 0..source.below(4) {
                text.push_str(if at > 0 { ", " } else { "" });
                expression(source, text, depth + 1);
            }
            text.push(')');
        }
        1 => {
            const OPERATORS: &[&str] = &[" .. ", " + ", " < ", " == ", " and ", " or ", " % ", " ^ "];
            text.push('(');
            expression(source, text, depth + 1);
            text.push_str(OPERATORS[source.below(OPERATORS.len())]);
            expression(source, text, depth + 1);
            text.push(')');
        }
        2 => {
            text.push_str("(function(...) return ");
            expression(source, text, depth + 1);
            text.push_str(" end)");
        }
        3 => {
            text.push('{');
            expression(source, text, depth + 1);
            text.push('}');
        }
        4 => text.push_str(FUNCTIONS[source.below(FUNCTIONS.len())]),
        _ => text.push_str(VALUES[source.below(VALUES.len())]),
    }
}
