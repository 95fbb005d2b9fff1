//! What the store provides to scripts: `redis.call` and similar functions, the libraries, the position of an
//! error.

use std::rc::Rc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value, Variadic};

use super::call::{call, may_run};
use super::library::{number, position, throw};
use super::session::{Shared, Thrown};
use super::{bit, cjson, cmsgpack, convert, random, sha1_hex, structs};
use crate::store::settings::REDIS_VERSION;

const SANDBOX: &str = include_str!("sandbox.lua");

/// Builds the environment of scripts; returns the function that runs a script.
pub fn build(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let position = lua.create_function(|lua, ()| Ok(position(lua)))?;
    let shared = Rc::clone(state);
    let thrown = lua.create_function(move |_, ()| {
        let thrown = shared.session.borrow_mut().as_mut().and_then(|session| session.thrown.take());
        Ok(thrown.map_or((None, false, false), |(text, thrown)| {
            (Some(text), thrown != Thrown::Text, thrown == Thrown::Command)
        }))
    })?;
    let provided = lua.create_table()?;
    provided.set("redis", redis(lua, state)?)?;
    provided.set("cjson", cjson::library(lua, state)?)?;
    provided.set("cmsgpack", cmsgpack::library(lua, state)?)?;
    provided.set("struct", structs::library(lua, state)?)?;
    provided.set("bit", bit::library(lua, state)?)?;
    random::provide(lua, state, &provided)?;
    lua.load(SANDBOX).set_name("=sandbox").call((position, thrown, provided))
}

fn redis(lua: &Lua, state: &Shared) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    redis.set("REDIS_VERSION", REDIS_VERSION)?;
    redis.set("REDIS_VERSION_NUM", 0x0007_000f)?;
    for (level, name) in LOG_LEVELS.iter().enumerate() {
        redis.set(*name, level)?;
    }
    for (value, name) in ["REPL_NONE", "REPL_AOF", "REPL_SLAVE", "REPL_ALL"].iter().enumerate() {
        redis.set(*name, value)?;
    }
    redis.set("REPL_REPLICA", 2)?;
    let shared = Rc::clone(state);
    let throwing = move |lua: &Lua, args: MultiValue| match call(lua, &shared, &args)? {
        Ok(value) => Ok(value),
        Err(text) => Err(throw(&shared, text, Thrown::Command)),
    };
    redis.set("call", lua.create_function(throwing)?)?;
    let shared = Rc::clone(state);
    let returning = move |lua: &Lua, args: MultiValue| match call(lua, &shared, &args)? {
        Ok(value) => Ok(value),
        Err(text) => convert::command_error(lua, &text),
    };
    redis.set("pcall", lua.create_function(returning)?)?;
    let shared = Rc::clone(state);
    let sha1hex = move |_: &Lua, args: Variadic<LuaString>| match args.as_slice() {
        [text] => Ok(sha1_hex(&text.as_bytes())),
        _ => Err(throw(&shared, "ERR wrong number of arguments".to_owned(), Thrown::Table)),
    };
    redis.set("sha1hex", lua.create_function(sha1hex)?)?;
    let shared = Rc::clone(state);
    let log = move |_: &Lua, args: Variadic<Value>| match log(&args) {
        None => Ok(()),
        Some(problem) => Err(throw(&shared, format!("ERR {problem}"), Thrown::Table)),
    };
    redis.set("log", lua.create_function(log)?)?;
    let shared = Rc::clone(state);
    let setresp = move |_: &Lua, args: Variadic<Value>| match set_protocol(&shared, &args) {
        None => Ok(()),
        Some(problem) => Err(throw(&shared, format!("ERR {problem}"), Thrown::Table)),
    };
    redis.set("setresp", lua.create_function(setresp)?)?;
    let shared = Rc::clone(state);
    let set_repl = move |_: &Lua, args: Variadic<Value>| match &args[..] {
        // Every target is accepted, but changes go to the log in any case.
        [flags] if matches!(number(flags), Some(0.0 | 1.0 | 2.0 | 3.0)) => Ok(()),
        [_] => {
            let problem = "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
            Err(throw(&shared, problem.to_owned(), Thrown::Table))
        }
        _ => Err(throw(&shared, "ERR redis.set_repl() requires two arguments.".to_owned(), Thrown::Table)),
    };
    redis.set("set_repl", lua.create_function(set_repl)?)?;
    let shared = Rc::clone(state);
    let acl_check = move |_: &Lua, args: Variadic<Value>| {
        may_run(&shared, &args).map_err(|problem| throw(&shared, problem, Thrown::Table))
    };
    redis.set("acl_check_cmd", lua.create_function(acl_check)?)?;
    Ok(redis)
}

const LOG_LEVELS: [&str; 4] = ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"];

fn set_protocol(shared: &Shared, args: &[Value]) -> Option<&'static str> {
    let [version] = args else {
        return Some("redis.setresp() requires one argument.");
    };
    let resp3 = match number(version) {
        Some(2.0) => false,
        Some(3.0) => true,
        _ => return Some("RESP version must be 2 or 3."),
    };
    if let Some(session) = shared.session.borrow_mut().as_mut() {
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
