//! `SLOWLOG` and `LATENCY`: what took long.

use crate::store::args::is;
use crate::store::command::other_subcommand;
use crate::store::error::{CommandError, Outcome};
use crate::store::number::parse_int;
use crate::store::pubsub::Slot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::Server;
use crate::store::server::slow::SlowCommand;

/// Commands that `SLOWLOG GET` tells unless it is asked for more.
const FEW: i64 = 10;

pub fn slowlog(server: &mut Server, _: Slot, args: &Args, out: &mut Reply) -> Outcome {
    let commands = &mut server.slow.commands;
    match args {
        [_, what, count @ ..] if is(what, "GET") && count.len() < 2 => {
            let count = count.first().map_or(Some(FEW), |count| parse_int(count)).filter(|count| *count >= -1);
            let error = "ERR count should be greater than or equal to -1";
            let count = count.ok_or_else(|| CommandError::new(error))?;
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(commands.len());
            out.array(count);
            commands.iter().take(count).for_each(|command| tell(command, out));
        }
        [_, what, _, _, ..] if is(what, "GET") => {
            let given = String::from_utf8_lossy(what).into_owned();
            return Err(CommandError::new(format!(
                "ERR unknown subcommand or wrong number of arguments for '{given}'. Try SLOWLOG HELP."
            )));
        }
        [_, what] if is(what, "LEN") => out.len(commands.len()),
        [_, what] if is(what, "RESET") => {
            commands.clear();
            out.ok();
        }
        _ => return other_subcommand("SLOWLOG", args, out),
    }
    Ok(())
}

fn tell(command: &SlowCommand, out: &mut Reply) {
    out.array(6);
    out.int(command.id as i64);
    out.int(command.at as i64);
    out.int(command.micros as i64);
    out.bulks(command.args.iter().map(|arg| &**arg));
    out.bulk(command.peer.as_bytes());
    out.bulk(command.name.as_bytes());
}

pub fn latency(server: &mut Server, _: Slot, args: &Args, out: &mut Reply) -> Outcome {
    let events = &mut server.slow.events;
    match args {
        [_, what] if is(what, "LATEST") => {
            out.array(events.len());
            for (name, event) in events {
                let (at, milliseconds) = event.seconds.back().copied().unwrap_or_default();
                out.array(4);
                out.bulk(name.as_bytes());
                [at, milliseconds, event.longest].into_iter().for_each(|number| out.int(number as i64));
            }
        }
        [_, what, name] if is(what, "HISTORY") => {
            let event = events.iter().find(|(known, _)| known.as_bytes() == *name).map(|(_, event)| event);
            let seconds = event.map(|event| &event.seconds);
            out.array(seconds.map_or(0, |seconds| seconds.len()));
            for (at, milliseconds) in seconds.into_iter().flatten() {
                out.array(2);
                out.int(*at as i64);
                out.int(*milliseconds as i64);
            }
        }
        [_, what, names @ ..] if is(what, "RESET") => {
            let before = events.len();
            events.retain(|known, _| !names.is_empty() && !names.contains(&known.as_bytes()));
            out.len(before - events.len());
        }
        _ => return other_subcommand("LATENCY", args, out),
    }
    Ok(())
}
