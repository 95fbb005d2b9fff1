//! Lua scripts: running, loading and forgetting them.

use std::time::Duration;

use scoped_tls_hkt::scoped_thread_local;

use crate::store::args::is;
use crate::store::command::{Spec, other_subcommand};
use crate::store::data::Data;
use crate::store::error::{CommandError, NOSCRIPT, NOT_AN_INTEGER, Outcome, SYNTAX};
use crate::store::number::parse_int;
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::script::{Header, Permission, Progress, ScriptVerdict, Vm, sha1_hex};
use crate::store::server::{Busy, Row, StoreServer, watches};
use crate::store::settings::Options;
use crate::store::small_bytes::SmallBytes;

/// How far scripts that declare `allow-oom` may exceed the memory limit, in bytes. There is a bound because anyone
/// who may run a script may declare this.
const BEYOND: usize = 64 << 20;

pub fn eval(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    eval_source(server, slot, args, out, false)
}

pub fn eval_ro(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    eval_source(server, slot, args, out, true)
}

pub fn evalsha(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    eval_name(server, slot, args, out, false)
}

pub fn evalsha_ro(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    eval_name(server, slot, args, out, true)
}

fn eval_source(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply, read_only: bool) -> Outcome {
    let split = split(args)?;
    let (name, header) = load(server, args[1], false)?;
    run(server, slot, (&name, header), split, out, read_only)
}

fn eval_name(server: &mut StoreServer, slot: ClientSlot, args: &Args, out: &mut Reply, read_only: bool) -> Outcome {
    let name = name(args[1]).ok_or(NOSCRIPT)?;
    let split = split(args)?;
    server.scripts.note_run(&name);
    let script = server.scripts.get(&name).ok_or(NOSCRIPT)?;
    let header = script.header;
    // A script that outlived the engine it was loaded into is compiled again.
    engine(&mut server.vm, &server.settings)?.compile(&name, &script.source)?;
    run(server, slot, (&name, header), split, out, read_only)
}

/// Returns a given script name in the form under which scripts are kept.
fn name(given: &[u8]) -> Option<[u8; 40]> {
    let mut name: [u8; 40] = given.try_into().ok()?;
    name.make_ascii_lowercase();
    Some(name)
}

/// Returns the header of the script that a command would run, if it has one.
pub fn header(server: &StoreServer, spec: &Spec, args: &Args) -> Option<Header> {
    match (spec.name, *args.get(1)?) {
        ("eval" | "eval_ro", source) => Header::parse(source).ok()?,
        ("evalsha" | "evalsha_ro", given) => server.scripts.get(&name(given)?)?.header,
        _ => None,
    }
}

/// Splits the arguments of a call into keys and other arguments.
fn split<'a, 'b>(args: &'b Args<'a>) -> Result<(&'b Args<'a>, &'b Args<'a>), CommandError> {
    let number = parse_int(args[2]).ok_or(NOT_AN_INTEGER)?;
    if number < 0 {
        return Err(CommandError::new("ERR Number of keys can't be negative"));
    }
    if number as usize > args.len() - 3 {
        return Err(CommandError::new("ERR Number of keys can't be greater than number of args"));
    }
    Ok(args[3..].split_at(number as usize))
}

fn engine<'a>(vm: &'a mut Option<Vm>, settings: &Options) -> Result<&'a mut Vm, CommandError> {
    if vm.is_none() {
        let new = Vm::new(settings).map_err(|error| CommandError::new(format!("ERR no script engine: {error}")))?;
        *vm = Some(new);
    }
    vm.as_mut().ok_or(NOSCRIPT)
}

/// Compiles a script and keeps it. If `stays` is set, it is not forgotten when others are run.
fn load(server: &mut StoreServer, source: &[u8], stays: bool) -> Result<(SmallBytes, Option<Header>), CommandError> {
    let header = Header::parse(source)?;
    if stays && server.scripts.is_full(source.len()) {
        server.scripts.clear();
        server.vm = None;
    }
    let name = SmallBytes::new(sha1_hex(source).as_bytes());
    if server.scripts.get(&name).is_none() && server.vm.as_ref().is_some_and(Vm::is_crowded) {
        // The other scripts are compiled again when they are called.
        server.vm = None;
    }
    engine(&mut server.vm, &server.settings)?.compile(&name, source)?;
    server.scripts.insert(&name, source, header, stays);
    server.scripts.note_run(&name);
    while let Some(forgotten) = server.scripts.forget_one() {
        server.stats.forgotten_scripts += 1;
        if let Some(vm) = server.vm.as_mut().filter(|_| forgotten != name) {
            vm.forget(&forgotten);
        }
    }
    Ok((name, header))
}

/// Refuses a script whose header asks for something that is not possible now.
fn admit(header: Header, log_problem: Option<&str>, out_of_memory: bool, read_only: bool) -> Outcome {
    if !header.no_writes {
        if let Some(problem) = log_problem {
            return Err(CommandError::new(format!(
                "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk. \
                 Writable scripts are blocked. Use 'no-writes' flag for read only scripts. AOF error: {problem}"
            )));
        }
        if read_only {
            return Err(CommandError::new("ERR Can not execute a script with write flag using *_ro command."));
        }
    }
    if out_of_memory && header.takes_memory() {
        return Err(CommandError::new(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
        ));
    }
    Ok(())
}

scoped_thread_local!(
    /// The store that the running script belongs to, for as long as it runs.
    static mut HOST: for<'a> &'a mut StoreServer
);

fn run(
    server: &mut StoreServer,
    slot: ClientSlot,
    (name, header): (&[u8], Option<Header>),
    (keys, argv): (&Args, &Args),
    out: &mut Reply,
    read_only: bool,
) -> Outcome {
    let mark = out.buf.len();
    let (mut out_of_memory, log_problem) = (server.is_out_of_memory(slot, keys), server.log_problem());
    if let Some(header) = header {
        admit(header, log_problem.as_deref(), out_of_memory, read_only)?;
        let most = server.settings.max_memory.saturating_add(BEYOND);
        out_of_memory &= !header.allow_oom || server.memory() > most;
    }
    let read_only = read_only || header.is_some_and(|header| header.no_writes);
    server.data.seen = (server.monitors > 0).then(Vec::new);
    let permission = Permission {
        access: server.clients.get(slot).and_then(|client| client.access.clone()),
        read_only,
        out_of_memory,
        log_problem,
        server_spec: server.directory.server_spec,
        server_number,
        server_call,
        longest_command: server.settings.max_query_buffer,
        caller: slot,
        meanwhile,
        busy_after: Duration::from_millis(server.settings.busy_after),
        time: Duration::from_millis(server.settings.script_time),
    };
    let mut vm = server.vm.take().ok_or(NOSCRIPT)?;
    let db = server.data.keys.selected;
    let stand_in = server.stand_in.take().unwrap_or_default();
    let mut data = std::mem::replace(&mut server.data, stand_in);
    data.keys.tracking.begin_script(keys);
    server.data.keys.set_time(data.keys.time());
    if !read_only {
        data.begin_script();
    }
    let mut place = Some(data);
    let outcome = HOST.set(server, || vm.run(name, &mut place, permission, keys, argv, out));
    let mut data = place.unwrap_or_default();
    let undone = vm.was_ended() && vm.has_written();
    if undone {
        tracing::warn!("a script was ended before its end; what it had written was undone");
        data.undo_changes();
    } else if !read_only {
        data.keep_changes();
    }
    let mut stand_in = std::mem::replace(&mut server.data, data);
    server.data.keys.selected = db;
    server.data.keys.tracking.end_script();
    if server.busy.take().is_some() {
        watches::catch_up(server, vm.has_written() && !undone);
        server.data.calls.add(std::mem::take(&mut stand_in.calls));
        server.schedule(slot);
        tracing::info!("the script that kept the store busy has finished");
    }
    server.stand_in = Some(stand_in);
    let counted = vm.is_counted();
    if !vm.exhausted {
        // Otherwise the next script starts with a new engine.
        server.vm = Some(vm);
    }
    if let Err(CommandError::Error(text)) = outcome {
        out.buf.truncate(mark);
        out.error(&text);
    }
    if !counted && let Some(text) = error_from(&out.buf[mark..]) {
        server.data.calls.error(&text);
    }
    Ok(())
}

/// The text of a reply that is an error.
fn error_from(reply: &[u8]) -> Option<String> {
    let line = reply.strip_prefix(b"-")?.split(|byte| *byte == b'\r').next()?;
    Some(String::from_utf8_lossy(line).into_owned())
}

/// The number under which one of the server's own commands is counted.
fn server_number(args: &Args) -> Option<usize> {
    HOST.with(|server| (server.directory.find)(args[0]).and_then(|row| (server.directory.number)(row, args)))
}

/// Runs one of the server's own commands for a script.
fn server_call(data: &mut Box<Data>, caller: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    HOST.with(|server| {
        let Some(Row::Server(command)) = (server.directory.find)(args[0]) else {
            return Err(CommandError::new("ERR Unknown Redis command called from script"));
        };
        std::mem::swap(&mut server.data, data);
        let outcome = (command.run)(server, caller, args, out);
        std::mem::swap(&mut server.data, data);
        outcome
    })
}

/// Serves other clients while a script takes long, and returns whether the script may go on.
fn meanwhile(progress: Progress) -> ScriptVerdict {
    HOST.with(|server| {
        if server.busy.is_none() {
            let after = server.settings.busy_after;
            tracing::warn!(
                after,
                "a script keeps the store busy; other clients get BUSY until it ends or SCRIPT KILL stops it"
            );
        }
        let ending = server.busy.is_some_and(|busy| busy.ending);
        server.busy = Some(Busy { caller: progress.caller, has_written: progress.has_written, ending });
        if let Some(serve) = server.serve_meanwhile.clone() {
            serve(server);
        }
        if server.busy.is_some_and(|busy| busy.ending) { ScriptVerdict::End } else { ScriptVerdict::GoOn }
    })
}

/// Ends the running script. Only a client that is served while it runs can ask for this.
fn kill(server: &mut StoreServer) -> Outcome {
    match &mut server.busy {
        None => Err(CommandError::new("NOTBUSY No scripts in execution right now.")),
        Some(busy) if busy.has_written => Err(CommandError::new(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either \
             wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        )),
        Some(busy) => {
            busy.ending = true;
            Ok(())
        }
    }
}

pub fn script(server: &mut StoreServer, _: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_, what, source] if is(what, "LOAD") => out.bulk(&load(server, source, true)?.0),
        [_, what, names @ ..] if is(what, "EXISTS") && !names.is_empty() => {
            out.array(names.len());
            for name in names {
                out.flag(server.scripts.get(&name.to_ascii_lowercase()).is_some());
            }
        }
        [_, what, how @ ..] if is(what, "FLUSH") && how.len() < 2 => {
            if how.first().is_some_and(|how| !is(how, "SYNC") && !is(how, "ASYNC")) {
                return Err(CommandError::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
            }
            server.scripts.clear();
            server.vm = None;
            out.ok();
        }
        [_, what] if is(what, "KILL") => {
            kill(server)?;
            out.ok();
        }
        [_, what, mode] if is(what, "DEBUG") => {
            if !is(mode, "NO") {
                return Err(SYNTAX);
            }
            out.ok();
        }
        _ => return other_subcommand("SCRIPT", args, out),
    }
    Ok(())
}
