//! What the store provides to scripts: `redis.call` and its like, the clock, the place of an error.

use std::rc::Rc;
use std::time::Instant;

use mlua::{Function, Lua, MultiValue, Table, Value, Variadic};
use smallvec::SmallVec;

use super::{Session, Shared, cjson, convert, sha1_hex};
use crate::store::command::{Flags, Run, find};
use crate::store::failure::{Fail, OOM};
use crate::store::number::format_double;
use crate::store::resp::ArgList;
use crate::store::server::REDIS_VERSION;

const PRELUDE: &str = include_str!("prelude.lua");

/// Whether the running script has used up its time.
pub fn is_expired(session: &Shared) -> bool {
    session.try_borrow().is_ok_and(|session| {
        session
            .as_ref()
            .is_some_and(|session| Instant::now() >= session.deadline)
    })
}

/// Builds the scripts' environment; returns it and the function that runs a script in it.
pub fn build(lua: &Lua, session: &Shared) -> mlua::Result<(Table, Function)> {
    let shared = Rc::clone(session);
    let raw = lua.create_function(move |lua, args: MultiValue| call(lua, &shared, &args))?;
    let shared = Rc::clone(session);
    let expired = lua.create_function(move |_, ()| Ok(is_expired(&shared)))?;
    let position = lua.create_function(|lua, ()| Ok(position(lua)))?;
    let provided = lua.create_table()?;
    provided.set("redis", redis(lua, session)?)?;
    provided.set("cjson", cjson::library(lua)?)?;
    lua.load(PRELUDE)
        .set_name("=prelude")
        .call((raw, expired, position, provided))
}

fn redis(lua: &Lua, session: &Shared) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    redis.set("REDIS_VERSION", REDIS_VERSION)?;
    redis.set("REDIS_VERSION_NUM", 0x0007_000f)?;
    for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"]
        .iter()
        .enumerate()
    {
        redis.set(*name, level)?;
    }
    for (value, name) in ["REPL_NONE", "REPL_AOF", "REPL_SLAVE", "REPL_ALL"]
        .iter()
        .enumerate()
    {
        redis.set(*name, value)?;
    }
    redis.set(
        "sha1hex",
        lua.create_function(|_, args: Variadic<mlua::LuaString>| {
            Ok(match args.as_slice() {
                [text] => (Some(sha1_hex(&text.as_bytes())), None),
                _ => (None, Some("wrong number of arguments")),
            })
        })?,
    )?;
    redis.set(
        "log",
        lua.create_function(|_, args: Variadic<Value>| Ok((Value::Nil, log(&args))))?,
    )?;
    let shared = Rc::clone(session);
    redis.set(
        "setresp",
        lua.create_function(move |_, args: Variadic<Value>| {
            let version = match args.as_slice() {
                [Value::Integer(version)] => *version as f64,
                [Value::Number(version)] => *version,
                [_] => 0.0,
                _ => return Ok((Value::Nil, Some("redis.setresp() requires one argument."))),
            };
            if version != 2.0 && version != 3.0 {
                return Ok((Value::Nil, Some("RESP version must be 2 or 3.")));
            }
            if let Some(session) = shared.borrow_mut().as_mut() {
                session.out.resp3 = version == 3.0;
            }
            Ok((Value::Nil, None))
        })?,
    )?;
    Ok(redis)
}

fn log(args: &[Value]) -> Option<&'static str> {
    let [level, parts @ ..] = args else {
        return Some("redis.log() requires two arguments or more.");
    };
    if parts.is_empty() {
        return Some("redis.log() requires two arguments or more.");
    }
    let Some(level) = level.as_f64() else {
        return Some("First argument must be a number (log level).");
    };
    if !(0.0..=3.0).contains(&level) {
        return Some("Invalid log level.");
    }
    let parts: Vec<String> = parts
        .iter()
        .filter_map(|part| part.to_string().ok())
        .collect();
    let text = parts.join(" ");
    match level as u8 {
        3 => tracing::warn!(target: "headcount::store::script", "{text}"),
        2 => tracing::info!(target: "headcount::store::script", "{text}"),
        _ => tracing::debug!(target: "headcount::store::script", "{text}"),
    }
    None
}

/// The line of the script that is being run, from the frame that stands nearest.
fn position(lua: &Lua) -> Option<usize> {
    const DEEPEST: usize = 16;
    (1..DEEPEST).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let is_script = frame
                .source()
                .source
                .is_some_and(|source| source == "@user_script");
            is_script.then(|| frame.current_line()).flatten()
        })?
    })
}

/// `redis.call`, which never fails: an error is a table for the prelude to throw.
fn call(lua: &Lua, shared: &Shared, args: &MultiValue) -> mlua::Result<Value> {
    let mut shared = shared.borrow_mut();
    let Some(session) = shared.as_mut() else {
        return convert::error(lua, "ERR no script is running");
    };
    session.out.buf.clear();
    match run(session, args) {
        Ok(()) => {}
        Err(Fail::Error(text)) => return convert::error(lua, &text),
        Err(Fail::Block(block)) if block.null_array => session.out.null_array(),
        Err(Fail::Block(_)) => session.out.null(),
    }
    convert::to_lua(lua, &session.out.buf)
}

fn run(session: &mut Session, args: &MultiValue) -> Result<(), Fail> {
    if args.is_empty() {
        return Err(Fail::new(
            "ERR Please specify at least one argument for this redis lib call",
        ));
    }
    let mut owned: SmallVec<[Argument; 8]> = SmallVec::new();
    for arg in args {
        owned.push(match arg {
            Value::String(text) => Argument::Lua(text.as_bytes()),
            Value::Integer(number) => Argument::Printed(number.to_string()),
            Value::Number(number) => Argument::Printed(format_double(*number)),
            _ => {
                return Err(Fail::new(
                    "ERR Lua redis lib command arguments must be strings or integers",
                ));
            }
        });
    }
    let args: ArgList = owned.iter().map(Argument::bytes).collect();
    let command = find(args[0]).ok_or(Fail::new("ERR Unknown Redis command called from script"))?;
    if !command.takes(args.len()) {
        return Err(Fail::new(
            "ERR Wrong number of args calling Redis command from script",
        ));
    }
    if command.flags.has(Flags::NO_SCRIPT) || matches!(command.run, Run::Server(_)) {
        return Err(Fail::new(
            "ERR This Redis command is not allowed from script",
        ));
    }
    if command.flags.has(Flags::WRITE) {
        if session.read_only {
            return Err(Fail::new(
                "ERR Write commands are not allowed from read-only scripts.",
            ));
        }
        if let Some(problem) = &session.log_problem {
            return Err(Fail::new(format!(
                "MISCONF Errors writing to the AOF file: {problem}"
            )));
        }
    }
    if command.flags.has(Flags::DENY_OOM) && session.out_of_memory {
        return Err(OOM);
    }
    session.data.call(command, &args, &mut session.out)
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
