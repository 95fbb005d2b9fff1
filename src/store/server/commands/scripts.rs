//! Lua scripts: running, loading, forgetting.

use crate::store::args::is;
use crate::store::command::unknown_subcommand;
use crate::store::error::{CommandError, NOSCRIPT, NOT_AN_INTEGER, Outcome, SYNTAX};
use crate::store::number::parse_int;
use crate::store::pubsub::Slot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::script::{Permission, Vm};
use crate::store::server::Server;

/// More scripts than this are forgotten together, so that a client which sends a new one each time
/// does not fill the memory.
const KEPT_SCRIPTS: usize = 10_000;

pub fn eval(server: &mut Server, _: Slot, args: &Args, out: &mut Reply) -> Outcome {
    eval_source(server, args, out, false)
}

pub fn eval_ro(server: &mut Server, _: Slot, args: &Args, out: &mut Reply) -> Outcome {
    eval_source(server, args, out, true)
}

pub fn evalsha(server: &mut Server, _: Slot, args: &Args, out: &mut Reply) -> Outcome {
    eval_name(server, args, out, false)
}

pub fn evalsha_ro(server: &mut Server, _: Slot, args: &Args, out: &mut Reply) -> Outcome {
    eval_name(server, args, out, true)
}

fn eval_source(server: &mut Server, args: &Args, out: &mut Reply, read_only: bool) -> Outcome {
    let split = split(args)?;
    let name = load(server, args[1])?;
    run(server, &name, split, out, read_only)
}

fn eval_name(server: &mut Server, args: &Args, out: &mut Reply, read_only: bool) -> Outcome {
    let split = split(args)?;
    let mut name = [0; 40];
    if args[1].len() != name.len() {
        return Err(NOSCRIPT);
    }
    name.copy_from_slice(args[1]);
    name.make_ascii_lowercase();
    let source = server.scripts.get(&name).ok_or(NOSCRIPT)?;
    // A script that outlived the engine it was loaded into is compiled again.
    engine(&mut server.vm, &server.settings)?.compile(&name, source)?;
    run(server, &name, split, out, read_only)
}

/// The keys and the other arguments of a call.
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

fn engine<'a>(vm: &'a mut Option<Vm>, settings: &crate::store::settings::Options) -> Result<&'a mut Vm, CommandError> {
    if vm.is_none() {
        let new = Vm::new(settings).map_err(|error| CommandError::new(format!("ERR no script engine: {error}")))?;
        *vm = Some(new);
    }
    vm.as_mut().ok_or(NOSCRIPT)
}

fn load(server: &mut Server, source: &[u8]) -> Result<crate::store::small_bytes::SmallBytes, CommandError> {
    if server.scripts.len() >= KEPT_SCRIPTS {
        server.scripts.clear();
        server.vm = None;
    }
    let name = crate::store::small_bytes::SmallBytes::new(crate::store::script::sha1_hex(source).as_bytes());
    engine(&mut server.vm, &server.settings)?.compile(&name, source)?;
    Ok(server.scripts.load(source))
}

fn run(server: &mut Server, name: &[u8], (keys, argv): (&Args, &Args), out: &mut Reply, read_only: bool) -> Outcome {
    let permission = Permission {
        read_only,
        out_of_memory: server.is_out_of_memory(),
        log_problem: server.log_problem(),
        server_spec: server.directory.server_spec,
    };
    let db = server.data.keys.selected;
    let vm = server.vm.as_mut().ok_or(NOSCRIPT)?;
    let outcome = vm.run(name, &mut server.data, permission, keys, argv, out);
    server.data.keys.selected = db;
    if vm.exhausted {
        // A new engine starts with empty hands.
        server.vm = None;
    }
    outcome
}

pub fn script(server: &mut Server, _: Slot, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_, what, source] if is(what, "LOAD") => out.bulk(&load(server, source)?),
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
        // A script runs alone and ends by itself, so by the time this is read none is running.
        [_, what] if is(what, "KILL") => {
            return Err(CommandError::new("NOTBUSY No scripts in execution right now."));
        }
        [_, what, mode] if is(what, "DEBUG") => {
            if !is(mode, "NO") {
                return Err(SYNTAX);
            }
            out.ok();
        }
        _ => return Err(unknown_subcommand("SCRIPT", args)),
    }
    Ok(())
}
