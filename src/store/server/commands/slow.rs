//! `SLOWLOG` and `LATENCY`: slow commands and delays.

use crate::store::args::is;
use crate::store::command::other_subcommand;
use crate::store::error::{CommandError, Outcome};
use crate::store::number::parse_int;
use crate::store::pubsub::ClientSlot;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::server::StoreServer;
use crate::store::server::slow::SlowCommand;

/// How many commands `SLOWLOG GET` shows by default.
const FEW: i64 = 10;

pub fn slowlog(server: &mut StoreServer, _: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
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

/// Writes a histogram of durations for each command, or for each of the named commands.
fn histogram(server: &StoreServer, names: &Args, out: &mut Reply) {
    let named = |name: &str| {
        let parent = name.split('|').next().unwrap_or(name);
        names.is_empty() || names.iter().any(|given| is(given, name) || is(given, parent))
    };
    let called = server.data.calls.called().map(|(number, calls)| ((server.directory.name)(number), &calls.durations));
    let found: Vec<_> = called.filter(|(name, durations)| durations.total() > 0 && named(name)).collect();
    out.map(found.len());
    for (name, durations) in found {
        out.bulk(name.as_bytes());
        out.map(2);
        out.bulk(b"calls");
        out.int(durations.total() as i64);
        out.bulk(b"histogram_usec");
        let steps = durations.steps();
        out.map(steps.len());
        for (longest, count) in steps {
            out.int(longest as i64);
            out.int(count as i64);
        }
    }
}

/// Tells an operator what to do about slow commands.
fn advice(server: &StoreServer) -> String {
    let threshold = server.settings.latency_threshold;
    if threshold == 0 {
        return "Latency is not watched. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n".to_owned();
    }
    let events = &server.slow.events;
    if events.is_empty() {
        return format!("No command has taken {threshold} ms or longer.\n");
    }
    let mut text = String::new();
    for (name, event) in events {
        let (seconds, sum) =
            (event.seconds.len() as u64, event.seconds.iter().map(|(_, longest)| longest).sum::<u64>());
        let average = sum / seconds.max(1);
        text +=
            &format!("{name}: {seconds} seconds with delays, {average} ms on average, {} ms at most.\n", event.longest);
    }
    let slower = server.settings.slower_than;
    if slower < 0 || slower as u64 > threshold * 1000 {
        text += &format!("- CONFIG SET slowlog-log-slower-than {} has SLOWLOG name them.\n", threshold * 1000);
    }
    text + "- SLOWLOG GET shows which commands took so long.\n"
        + "- KEYS, large ranges and scripts take everybody's time: use SCAN, and smaller steps.\n"
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

pub fn latency(server: &mut StoreServer, _: ClientSlot, args: &Args, out: &mut Reply) -> Outcome {
    let events = &mut server.slow.events;
    match args {
        [_, what, names @ ..] if is(what, "HISTOGRAM") => histogram(server, names, out),
        [_, what] if is(what, "DOCTOR") => {
            let text = advice(server);
            out.verbatim(&text);
        }
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
