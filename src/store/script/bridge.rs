//! What the store provides to scripts: `redis.call` and its like, the clock, the place of an error.

use std::rc::Rc;
use std::time::Instant;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value, Variadic};
use smallvec::SmallVec;

use super::{Session, Shared, cjson, convert, sha1_hex};
use crate::store::command::{Flags, find};
use crate::store::error::{CommandError, OOM};
use crate::store::number::format_double;
use crate::store::resp::ArgList;
use crate::store::settings::REDIS_VERSION;

const PRELUDE: &str = include_str!("prelude.lua");

/// Whether the running script has used up its time.
pub fn is_expired(session: &Shared) -> bool {
    session.try_borrow().is_ok_and(|session| session.as_ref().is_some_and(|session| Instant::now() >= session.deadline))
}

/// Makes a function of the store throw `text` into the script that has called it.
pub fn throw(session: &Shared, text: String, as_table: bool) -> mlua::Error {
    if let Ok(mut session) = session.try_borrow_mut()
        && let Some(session) = session.as_mut()
    {
        session.thrown = Some((text, as_table));
    }
    mlua::Error::RuntimeError(String::new())
}

/// Builds the scripts' environment; returns it and the function that runs a script in it.
pub fn build(lua: &Lua, session: &Shared) -> mlua::Result<(Table, Function)> {
    let shared = Rc::clone(session);
    let expired = lua.create_function(move |_, ()| Ok(is_expired(&shared)))?;
    let position = lua.create_function(|lua, ()| Ok(position(lua)))?;
    let shared = Rc::clone(session);
    let thrown = lua.create_function(move |_, ()| {
        let thrown = shared.borrow_mut().as_mut().and_then(|session| session.thrown.take());
        Ok(thrown.map_or((None, false), |(text, as_table)| (Some(text), as_table)))
    })?;
    let provided = lua.create_table()?;
    provided.set("redis", redis(lua, session)?)?;
    provided.set("cjson", cjson::library(lua, session)?)?;
    lua.load(PRELUDE).set_name("=prelude").call((expired, position, thrown, provided))
}

fn redis(lua: &Lua, session: &Shared) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    redis.set("REDIS_VERSION", REDIS_VERSION)?;
    redis.set("REDIS_VERSION_NUM", 0x0007_000f)?;
    for (level, name) in LOG_LEVELS.iter().enumerate() {
        redis.set(*name, level)?;
    }
    for (value, name) in ["REPL_NONE", "REPL_AOF", "REPL_SLAVE", "REPL_ALL"].iter().enumerate() {
        redis.set(*name, value)?;
    }
    let shared = Rc::clone(session);
    let call = move |lua: &Lua, args: MultiValue| match call(lua, &shared, &args)? {
        Ok(value) => Ok(value),
        Err(text) => Err(throw(&shared, text, true)),
    };
    redis.set("call", lua.create_function(call)?)?;
    let shared = Rc::clone(session);
    let pcall = move |lua: &Lua, args: MultiValue| match self::call(lua, &shared, &args)? {
        Ok(value) => Ok(value),
        Err(text) => convert::error(lua, &text),
    };
    redis.set("pcall", lua.create_function(pcall)?)?;
    let shared = Rc::clone(session);
    let sha1hex = move |_: &Lua, args: Variadic<LuaString>| match args.as_slice() {
        [text] => Ok(sha1_hex(&text.as_bytes())),
        _ => Err(throw(&shared, "ERR wrong number of arguments".to_owned(), true)),
    };
    redis.set("sha1hex", lua.create_function(sha1hex)?)?;
    let shared = Rc::clone(session);
    let log = move |_: &Lua, args: Variadic<Value>| match log(&args) {
        None => Ok(()),
        Some(problem) => Err(throw(&shared, format!("ERR {problem}"), true)),
    };
    redis.set("log", lua.create_function(log)?)?;
    let shared = Rc::clone(session);
    let setresp = move |_: &Lua, args: Variadic<Value>| match set_protocol(&shared, &args) {
        None => Ok(()),
        Some(problem) => Err(throw(&shared, format!("ERR {problem}"), true)),
    };
    redis.set("setresp", lua.create_function(setresp)?)?;
    Ok(redis)
}

const LOG_LEVELS: [&str; 4] = ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"];

/// A Lua number, however the engine holds it.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

fn set_protocol(session: &Shared, args: &[Value]) -> Option<&'static str> {
    let [version] = args else {
        return Some("redis.setresp() requires one argument.");
    };
    let resp3 = match number(version) {
        Some(2.0) => false,
        Some(3.0) => true,
        _ => return Some("RESP version must be 2 or 3."),
    };
    if let Some(session) = session.borrow_mut().as_mut() {
        session.out.resp3 = resp3;
    }
    None
}

fn log(args: &[Value]) -> Option<&'static str> {
    let [level, parts @ ..] = args else {
        return Some("redis.log() requires two arguments or more.");
    };
    if parts.is_empty() {
        return Some("redis.log() requires two arguments or more.");
    }
    let Some(level) = number(level) else {
        return Some("First argument must be a number (log level).");
    };
    if !(0.0..=3.0).contains(&level) {
        return Some("Invalid debug level.");
    }
    let parts: Vec<String> = parts.iter().filter_map(|part| part.to_string().ok()).collect();
    let text = parts.join(" ");
    match level as u8 {
        3 => tracing::warn!(target: "headcount::store::script", "{text}"),
        2 => tracing::info!(target: "headcount::store::script", "{text}"),
        _ => tracing::debug!(target: "headcount::store::script", "{text}"),
    }
    None
}

/// The line of the script that is being run, from the frame that stands nearest.
pub fn position(lua: &Lua) -> Option<usize> {
    const DEEPEST: usize = 16;
    (1..DEEPEST).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let is_script = frame.source().source.is_some_and(|source| source == "@user_script");
            is_script.then(|| frame.current_line()).flatten()
        })?
    })
}

/// Runs a command for a script; the inner error is Redis's, the outer one the engine's.
fn call(lua: &Lua, shared: &Shared, args: &MultiValue) -> mlua::Result<Result<Value, String>> {
    let mut shared = shared.borrow_mut();
    let Some(session) = shared.as_mut() else {
        return Ok(Err("ERR no script is running".to_owned()));
    };
    session.out.buf.clear();
    match run(session, args) {
        Ok(()) => {}
        Err(CommandError::Error(text)) => return Ok(Err(text.into_owned())),
        Err(CommandError::Block(block)) if block.null_array => session.out.null_array(),
        Err(CommandError::Block(_)) => session.out.null(),
    }
    let wire = &session.out.buf;
    super::unguarded(lua, wire.len() < super::UNGUARDED, || convert::to_lua(lua, wire)).map(Ok)
}

fn run(session: &mut Session, args: &MultiValue) -> Result<(), CommandError> {
    if args.is_empty() {
        return Err(CommandError::new("ERR Please specify at least one argument for this redis lib call"));
    }
    let mut owned: SmallVec<[Argument; 8]> = SmallVec::new();
    for arg in args {
        owned.push(match arg {
            Value::String(text) => Argument::Lua(text.as_bytes()),
            Value::Integer(number) => Argument::Printed(number.to_string()),
            Value::Number(number) => Argument::Printed(format_double(*number)),
            _ => {
                return Err(CommandError::new("ERR Lua redis lib command arguments must be strings or integers"));
            }
        });
    }
    let args: ArgList = owned.iter().map(Argument::bytes).collect();
    let command = find(args[0]);
    let spec = command.map(|command| &command.spec).or_else(|| (session.server_spec)(args[0]));
    let spec = spec.ok_or(CommandError::new("ERR Unknown Redis command called from script"))?;
    if !spec.takes(args.len()) {
        return Err(CommandError::new("ERR Wrong number of args calling Redis command from script"));
    }
    let Some(command) = command.filter(|_| !spec.flags.has(Flags::NO_SCRIPT)) else {
        return Err(CommandError::new("ERR This Redis command is not allowed from script"));
    };
    if spec.flags.has(Flags::WRITE) {
        if session.read_only {
            return Err(CommandError::new("ERR Write commands are not allowed from read-only scripts."));
        }
        if let Some(problem) = &session.log_problem {
            return Err(CommandError::new(format!("MISCONF Errors writing to the AOF file: {problem}")));
        }
    }
    if spec.flags.has(Flags::DENY_OOM) && session.out_of_memory {
        return Err(OOM);
    }
    if spec.flags.has(Flags::WRITE) {
        // As in Redis: a script that has written is not stopped halfway for want of memory.
        session.out_of_memory = false;
    }
    command.call(&mut session.data, &args, &mut session.out)
}

enum Argument {
    Lua(mlua::BorrowedBytes),
    Printed(String),
}

impl Argument {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Lua(bytes) => bytes,
            Self::Printed(text) => text.as_bytes(),
        }
    }
}
