//! `redis.call`: runs a command for the script.

use std::borrow::Cow;
use std::time::Instant;

use mlua::{Lua, MultiValue, Value};
use smallvec::SmallVec;

use super::convert;
use super::session::{ScriptSession, Shared};
use super::unguarded::{UNGUARDED, unguarded};
use crate::store::access::{Denied, sort_denied};
use crate::store::args::is;
use crate::store::command::{Flags, Spec, find, number};
use crate::store::error::{CommandError, OOM};
use crate::store::number::format_double;
use crate::store::resp::ArgList;

/// Commands that write nothing here but have effects elsewhere.
const SPREADING: [&str; 2] = ["publish", "spublish"];

/// Runs a command for a script. The inner error is the command's, the outer one the engine's.
pub fn call(lua: &Lua, shared: &Shared, args: &MultiValue) -> mlua::Result<Result<Value, String>> {
    if let Some(ended) = shared.why_ended() {
        return Ok(Err(ended.to_owned()));
    }
    let mut session = shared.session.borrow_mut();
    let Some(session) = session.as_mut() else {
        return Ok(Err("ERR no script is running".to_owned()));
    };
    session.out.buf.clear();
    match run(shared, session, args) {
        Ok(()) => {}
        Err(CommandError::Error(text)) => {
            session.data.calls.error(&text);
            return Ok(Err(text.into_owned()));
        }
        Err(CommandError::Block(block)) if block.null_array => session.out.null_array(),
        Err(CommandError::Block(_)) => session.out.null(),
    }
    if session.out.is_too_large() {
        session.out.buf = Vec::new();
        return Ok(Err("ERR the reply is larger than a reply may be".to_owned()));
    }
    let wire = &session.out.buf;
    let value = unguarded(lua, wire.len() < UNGUARDED, || convert::to_lua(lua, wire));
    if session.out.buf.capacity() > KEPT {
        session.out.buf = Vec::new();
    }
    value.map(Ok)
}

/// The error for a command that does not exist.
const UNKNOWN: CommandError = CommandError::Error(Cow::Borrowed("ERR Unknown Redis command called from script"));

/// Reply buffers larger than this are freed.
const KEPT: usize = 64 << 10;

fn run(shared: &Shared, session: &mut ScriptSession, args: &MultiValue) -> Result<(), CommandError> {
    if args.is_empty() {
        return Err(CommandError::new("ERR Please specify at least one argument for this redis lib call"));
    }
    let mut owned: SmallVec<[Argument; 8]> = SmallVec::new();
    for arg in args {
        owned.push(argument(arg)?);
    }
    let args: ArgList = owned.iter().map(Argument::bytes).collect();
    // A script can pass one long string thousands of times, which costs nothing until the string is copied.
    if args.iter().map(|arg| arg.len()).sum::<usize>() > session.permission.longest_command {
        return Err(CommandError::new("ERR the command is longer than a command may be"));
    }
    let command = find(args[0]);
    let spec = command.map(|command| &command.spec).or_else(|| (session.permission.server_spec)(args[0]));
    let spec = spec.ok_or(UNKNOWN)?;
    let number = match command {
        Some(command) => number(command, &args),
        None => (session.permission.server_number)(&args),
    };
    if let Err(problem) = admit(shared, session, spec, number, &args) {
        if let Some(number) = number {
            session.data.calls.of(number).rejected += 1;
        }
        return Err(problem);
    }
    let started = number.is_some_and(|number| session.data.calls.is_timed(number)).then(Instant::now);
    let outcome = match command {
        Some(command) => {
            let db = session.data.keys.selected;
            let outcome = command.call(&mut session.data, &args, &mut session.out);
            session.data.note_scripted(db, &args);
            outcome
        }
        None => {
            let (call, caller) = (session.permission.server_call, session.permission.caller);
            call(&mut session.data, caller, &args, &mut session.out)
        }
    };
    if let Some(number) = number {
        let failed = matches!(outcome, Err(CommandError::Error(_)));
        session.data.calls.ran_in_script(number, started.map(|started| started.elapsed()), failed);
    }
    outcome
}

/// Converts an argument to what the command gets.
#[inline]
fn argument(arg: &Value) -> Result<Argument, CommandError> {
    Ok(match arg {
        Value::String(text) => Argument::Lua(text.as_bytes()),
        // In Lua 5.1 every number is a double.
        Value::Integer(number) => Argument::Printed(format_double(*number as f64)),
        Value::Number(number) => Argument::Printed(format_double(*number)),
        _ => return Err(CommandError::new("ERR Lua redis lib command arguments must be strings or integers")),
    })
}

/// Whether the script's user may run a command. The error is the text that Redis returns.
pub fn may_run(shared: &Shared, args: &[Value]) -> Result<bool, String> {
    let text = |error| if let CommandError::Error(text) = error { text.into_owned() } else { String::new() };
    if args.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call".to_owned());
    }
    let owned = args.iter().map(argument).collect::<Result<Vec<_>, _>>().map_err(text)?;
    let args: ArgList = owned.iter().map(Argument::bytes).collect();
    let session = shared.session.borrow();
    let Some(session) = session.as_ref() else { return Err("ERR no script is running".to_owned()) };
    let permission = &session.permission;
    let command = find(args[0]);
    let spec = command.map(|command| &command.spec).or_else(|| (permission.server_spec)(args[0]));
    let spec = spec.ok_or_else(|| "ERR Invalid command passed to redis.acl_check_cmd()".to_owned())?;
    let Some(access) = &permission.access else { return Ok(true) };
    let number = match command {
        Some(command) => number(command, &args),
        None => (permission.server_number)(&args),
    };
    let number = number.ok_or_else(|| "ERR Invalid command passed to redis.acl_check_cmd()".to_owned())?;
    Ok(access.check(spec, Some(number), &args).is_ok())
}

/// Refuses a command that a script may not run, or not now.
fn admit(
    shared: &Shared,
    session: &ScriptSession,
    spec: &Spec,
    number: Option<usize>,
    args: &ArgList,
) -> Result<(), CommandError> {
    if !spec.takes(args.len()) {
        return Err(CommandError::new("ERR Wrong number of args calling Redis command from script"));
    }
    if spec.flags.has(Flags::NO_SCRIPT) {
        return Err(CommandError::new("ERR This Redis command is not allowed from script"));
    }
    if waits_for_stream(spec.name, args) {
        let name = spec.name;
        return Err(CommandError::new(format!("ERR {name} command is not allowed with BLOCK option from scripts")));
    }
    let permission = &session.permission;
    if let Some(access) = &permission.access {
        // To Redis, a subcommand that does not exist is an unknown command.
        let number = number.ok_or(UNKNOWN)?;
        access.check(spec, Some(number), args).map_err(Denied::in_script)?;
        if let Some(problem) = sort_denied(access, spec, args) {
            return Err(problem);
        }
    }
    let writes = spec.flags.has(Flags::WRITE);
    if permission.read_only && (writes || SPREADING.contains(&spec.name)) {
        return Err(CommandError::new("ERR Write commands are not allowed from read-only scripts."));
    }
    if writes {
        if let Some(problem) = &permission.log_problem {
            return Err(CommandError::new(format!("MISCONF Errors writing to the AOF file: {problem}")));
        }
        // Checked only before the first write: if a script were refused halfway, half of its work would remain.
        if spec.flags.has(Flags::DENY_OOM) && permission.out_of_memory && !shared.has_written.get() {
            return Err(OOM);
        }
        shared.has_written.set(true);
    }
    Ok(())
}

/// Whether a command reads streams with the `BLOCK` option.
fn waits_for_stream(name: &str, args: &ArgList) -> bool {
    (name == "xread" || name == "xreadgroup")
        && args.iter().take_while(|arg| !is(arg, "STREAMS")).any(|arg| is(arg, "BLOCK"))
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
