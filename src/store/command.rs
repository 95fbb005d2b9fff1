//! Commands: the table, how a name is found in it, and what is told of them.
//!
//! The bodies stand by data type in modules of their own. A body gets what it may touch, the
//! arguments and the reply, and either replies or fails; it does no I/O.

use std::sync::OnceLock;

use super::args::is;
use super::data::Data;
use super::error::{CommandError, Outcome};
use super::keyspace::Keyspace;
use super::pubsub::Slot;
use super::reply::Reply;
use super::resp::Args;
use super::server::Server;

mod admin;
mod clients;
mod connection;
mod hashes;
mod info;
mod keys;
mod list_moves;
mod lists;
mod pubsub;
mod scripts;
mod sets;
mod strings;
mod table;
mod transactions;
mod zjoins;
mod zranges;
mod zsets;

pub use connection::ping_subscriber;
pub use table::COMMANDS;
pub use transactions::release_watches;

/// The body of a command, by what it may touch.
#[derive(Clone, Copy)]
pub enum Run {
    /// The keys alone.
    Keys(fn(&mut Keyspace, &Args, &mut Reply) -> Outcome),
    /// Keys and subscriptions.
    Data(fn(&mut Data, &Args, &mut Reply) -> Outcome),
    /// The whole server, for the client in a slot.
    Server(fn(&mut Server, Slot, &Args, &mut Reply) -> Outcome),
}

/// What is true of a command; several flags together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// It reads keys.
    pub const READ: Self = Self(1);
    /// It may change keys.
    pub const WRITE: Self = Self(1 << 1);
    /// It may need memory, and is refused when there is none.
    pub const DENY_OOM: Self = Self(1 << 2);
    /// It may wait.
    pub const BLOCKING: Self = Self(1 << 3);
    /// Its keys stand where its arguments say.
    pub const MOVABLE: Self = Self(1 << 4);
    /// It is about subscriptions.
    pub const PUBSUB: Self = Self(1 << 5);
    /// Scripts must not call it.
    pub const NO_SCRIPT: Self = Self(1 << 6);
    /// It is refused after `MULTI`.
    pub const NO_MULTI: Self = Self(1 << 7);
    /// It needs no password.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// It runs at once even after `MULTI`.
    pub const IN_MULTI: Self = Self(1 << 9);
    /// It is allowed to a subscriber that speaks RESP2.
    pub const WHILE_SUBSCRIBED: Self = Self(1 << 10);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::READ, "readonly"),
        (Self::WRITE, "write"),
        (Self::DENY_OOM, "denyoom"),
        (Self::BLOCKING, "blocking"),
        (Self::MOVABLE, "movablekeys"),
        (Self::PUBSUB, "pubsub"),
        (Self::NO_SCRIPT, "noscript"),
        (Self::NO_AUTH, "no_auth"),
    ];

    /// These and those.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether these are among them.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A row of the table.
pub struct Command {
    /// The name, in lower case.
    pub name: &'static str,
    /// How many arguments it takes, the name included; negative: at least so many.
    pub arity: i32,
    /// What is true of it.
    pub flags: Flags,
    /// Where its keys are: first, last (negative from the end), step.
    pub keys: [i32; 3],
    /// The group in which the documentation lists it.
    pub group: &'static str,
    /// What it runs.
    pub run: Run,
    /// What it does, in a sentence.
    pub summary: &'static str,
}

impl Command {
    /// Whether it takes so many arguments.
    pub fn takes(&self, count: usize) -> bool {
        let count = count as i32;
        if self.arity < 0 { count >= -self.arity } else { count == self.arity }
    }

    /// The keys among the arguments, for commands that say by position where they are.
    fn keys_of<'a>(&self, args: &Args<'a>) -> Vec<&'a [u8]> {
        let [first, last, step] = self.keys;
        let last = if last < 0 { args.len() as i32 + last } else { last };
        (first..=last)
            .step_by(step.max(1) as usize)
            .filter(|_| first > 0)
            .filter_map(|at| args.get(at as usize).copied())
            .collect()
    }
}

/// Twice as many slots as commands and more, a power of two.
const SLOTS: usize = 1024;

/// The command of this name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    static INDEX: OnceLock<Vec<u16>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index = vec![u16::MAX; SLOTS];
        for (number, command) in COMMANDS.iter().enumerate() {
            let mut slot = hash(command.name.as_bytes());
            while index[slot] != u16::MAX {
                slot = (slot + 1) % SLOTS;
            }
            index[slot] = number as u16;
        }
        index
    });
    let mut slot = hash(name);
    loop {
        let command = COMMANDS.get(usize::from(index[slot]))?;
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        slot = (slot + 1) % SLOTS;
    }
}

fn hash(name: &[u8]) -> usize {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(byte | 0x20)).wrapping_mul(0x0100_0193);
    let hash = name.iter().take(32).fold(0x811c_9dc5, fold);
    (hash ^ hash >> 15) as usize % SLOTS
}

/// The error for a command with too few or too many arguments.
pub fn wrong_arity(name: &str) -> CommandError {
    CommandError::new(format!("ERR wrong number of arguments for '{name}' command"))
}

/// The error for a subcommand that does not exist or has the wrong number of arguments.
pub fn unknown_subcommand(command: &str, args: &Args) -> CommandError {
    let known: &[(&str, &[&str])] = &[
        ("OBJECT", &["encoding", "refcount", "idletime", "freq", "help"]),
        ("MEMORY", &["usage", "doctor", "stats", "purge", "help"]),
        ("PUBSUB", &["channels", "numsub", "numpat", "shardchannels", "shardnumsub", "help"]),
        ("SCRIPT", &["load", "exists", "flush", "kill", "help"]),
        ("CONFIG", &["get", "set", "resetstat", "rewrite", "help"]),
        ("COMMAND", &["count", "docs", "info", "list", "getkeys", "help"]),
        (
            "CLIENT",
            &[
                "id", "getname", "setname", "setinfo", "info", "list", "kill", "reply", "no-evict", "no-touch",
                "unblock", "pause", "unpause", "getredir", "tracking", "help",
            ],
        ),
    ];
    let name = args.get(1).copied().unwrap_or_default();
    let is_known = known.iter().any(|(of, names)| *of == command && names.iter().any(|known| is(name, known)));
    let shown = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    if is_known {
        let full = format!("{}|{}", command.to_lowercase(), shown.to_lowercase());
        return wrong_arity(&full);
    }
    CommandError::new(format!("ERR unknown subcommand '{shown}'. Try {command} HELP."))
}

/// Draws positions out of `len`: up to `count` different ones, or exactly `-count` with repetition.
pub fn draw(count: i64, len: usize) -> Vec<usize> {
    if count < 0 {
        return (0..count.unsigned_abs()).map(|_| fastrand::usize(0..len)).collect();
    }
    let count = usize::try_from(count).unwrap_or(len).min(len);
    if count == len {
        return (0..len).collect();
    }
    // Floyd's way: every set of positions is equally likely, and nothing of size `len` is made.
    let mut chosen = indexmap::IndexSet::with_capacity(count);
    for upper in len - count..len {
        let position = fastrand::usize(0..=upper);
        if !chosen.insert(position) {
            chosen.insert(upper);
        }
    }
    chosen.into_iter().collect()
}

/// `COMMAND` and its subcommands.
fn introspect(_: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let named = |names: &[&[u8]]| -> Vec<Option<&'static Command>> { names.iter().map(|name| find(name)).collect() };
    match args {
        [_] => {
            out.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| describe(command, out));
        }
        [_, what] if is(what, "COUNT") => out.len(COMMANDS.len()),
        [_, what] if is(what, "LIST") => {
            out.bulks(COMMANDS.iter().map(|command| command.name.as_bytes()));
        }
        [_, what, names @ ..] if is(what, "INFO") => {
            let found = if names.is_empty() { COMMANDS.iter().map(Some).collect() } else { named(names) };
            out.array(found.len());
            for command in found {
                match command {
                    Some(command) => describe(command, out),
                    None => out.null(),
                }
            }
        }
        [_, what, names @ ..] if is(what, "DOCS") => {
            let found: Vec<&Command> =
                if names.is_empty() { COMMANDS.iter().collect() } else { named(names).into_iter().flatten().collect() };
            out.map(found.len());
            found.into_iter().for_each(|command| document(command, out));
        }
        [_, what, call @ ..] if is(what, "GETKEYS") && call.len() > 1 => {
            let command = find(call[0]).ok_or(CommandError::new("ERR Invalid command specified"))?;
            if !command.takes(call.len()) {
                return Err(CommandError::new("ERR Invalid number of arguments specified for command"));
            }
            let keys = command.keys_of(call);
            if keys.is_empty() {
                return Err(CommandError::new("ERR The command has no key arguments"));
            }
            out.bulks(keys.into_iter());
        }
        _ => return Err(unknown_subcommand("COMMAND", args)),
    }
    Ok(())
}

/// A command as `COMMAND` tells it, with what Redis 7 has and this store has not left empty.
fn describe(command: &Command, out: &mut Reply) {
    out.array(10);
    out.bulk(command.name.as_bytes());
    out.int(i64::from(command.arity));
    let flags: Vec<&str> =
        Flags::NAMES.iter().filter(|(flag, _)| command.flags.has(*flag)).map(|(_, name)| *name).collect();
    out.set(flags.len());
    flags.into_iter().for_each(|flag| out.simple(flag));
    command.keys.iter().for_each(|position| out.int(i64::from(*position)));
    out.set(1);
    out.simple(&format!("@{}", command.group));
    (0..3).for_each(|_| out.array(0));
}

fn document(command: &Command, out: &mut Reply) {
    out.bulk(command.name.as_bytes());
    out.map(3);
    out.bulk(b"summary");
    out.bulk(command.summary.as_bytes());
    out.bulk(b"group");
    out.bulk(command.group.as_bytes());
    out.bulk(b"arity");
    out.int(i64::from(command.arity));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for command in COMMANDS {
            let found = find(command.name.to_uppercase().as_bytes());
            assert_eq!(found.map(|found| found.name), Some(command.name));
        }
        assert!(find(b"nosuch").is_none());
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }

    #[test]
    fn draws_are_distinct_unless_repetition_is_asked_for() {
        for _ in 0..100 {
            let mut drawn = draw(5, 9);
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len(), 5);
        }
        assert_eq!(draw(-20, 3).len(), 20);
        assert_eq!(draw(20, 3).len(), 3);
    }
}
