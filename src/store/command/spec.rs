//! A row of a command table: the properties of a command, and the function that it runs.
//!
//! There are two tables. The functions in [`super::table`] need only data, so that clients, transactions,
//! scripts and the replay of the log can all run them. The server's own commands, which need
//! connections or settings, have a table of their own in `server`. Both are made of [`Command`]s and
//! searched by a [`Table`](super::Table).

use crate::store::args::is;
use crate::store::data::Data;
use crate::store::error::{CommandError, Outcome};
use crate::store::keyspace::Keyspace;
use crate::store::number::parse_int;
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// The function of a command that needs only data, by what it may access.
#[derive(Clone, Copy)]
pub enum Run {
    /// Keys only.
    Keys(fn(&mut Keyspace, &Args, &mut Reply) -> Outcome),
    /// Keys and subscriptions.
    Data(fn(&mut Data, &Args, &mut Reply) -> Outcome),
}

/// The properties of a command, as a set of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// No flags.
    pub const NONE: Self = Self(0);
    /// It reads keys.
    pub const READ: Self = Self(1);
    /// It may change keys.
    pub const WRITE: Self = Self(1 << 1);
    /// It may need memory, and is refused when memory is short.
    pub const DENY_OOM: Self = Self(1 << 2);
    /// It may block the client.
    pub const BLOCKING: Self = Self(1 << 3);
    /// The positions of its keys depend on its arguments.
    pub const MOVABLE: Self = Self(1 << 4);
    /// It concerns subscriptions.
    pub const PUBSUB: Self = Self(1 << 5);
    /// Scripts must not call it.
    pub const NO_SCRIPT: Self = Self(1 << 6);
    /// It is refused after `MULTI`.
    pub const NO_MULTI: Self = Self(1 << 7);
    /// It needs no password.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// It runs at once even after `MULTI`.
    pub const IN_MULTI: Self = Self(1 << 9);
    /// A RESP2 client may call it while subscribed.
    pub const WHILE_SUBSCRIBED: Self = Self(1 << 10);

    /// It is allowed while a slow script is running.
    pub const WHILE_BUSY: Self = Self(1 << 11);
    /// It is for administrators, and is hidden from `MONITOR`.
    pub const ADMIN: Self = Self(1 << 12);
    /// `MONITOR` shows it before it runs, because the commands that it runs are shown too.
    pub const SHOWN_FIRST: Self = Self(1 << 13);
    /// It has subcommands.
    pub const PARENT: Self = Self(1 << 14);

    /// Combines two sets of flags.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of these flags are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The properties of a command, apart from its function.
#[derive(Debug)]
pub struct Spec {
    /// The name, in lower case.
    pub name: &'static str,
    /// The number of arguments, including the name; a negative number is a minimum.
    pub arity: i32,
    /// Its flags.
    pub flags: Flags,
    /// Where its keys are: first, last (negative from the end), step.
    pub keys: [i32; 3],
    /// The group in which the documentation lists it.
    pub group: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
}

impl Spec {
    /// Whether it accepts this number of arguments.
    pub fn takes(&self, count: usize) -> bool {
        let least = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { count >= least } else { count == least }
    }

    /// The index of the argument that gives the number of keys, for commands that have one.
    fn number_of_keys(&self) -> Option<usize> {
        match self.name {
            "lmpop" | "sintercard" | "zdiff" | "zinter" | "zintercard" | "zmpop" | "zunion" => Some(1),
            "blmpop" | "bzmpop" | "zdiffstore" | "zinterstore" | "zunionstore" => Some(2),
            "eval" | "eval_ro" | "evalsha" | "evalsha_ro" => Some(2),
            _ => None,
        }
    }

    /// Whether it may be called without keys, although it accepts them.
    pub fn needs_no_key(&self) -> bool {
        self.group == "scripting"
    }

    /// The keys among the arguments; `None` if there are fewer than the arguments say.
    pub fn keys_of<'a>(&self, args: &Args<'a>) -> Option<Vec<&'a [u8]>> {
        if self.name == "xread" || self.name == "xreadgroup" {
            return stream_keys(args);
        }
        let mut keys = self.fixed_keys(args);
        if self.name == "sort" {
            keys.extend(sort_target(args));
        }
        if self.name == "georadius" || self.name == "georadiusbymember" {
            let options = args.windows(2).skip(self.arity.unsigned_abs() as usize - 1);
            let mut stores = options.filter(|pair| is(pair[0], "STORE") || is(pair[0], "STOREDIST"));
            keys.extend(stores.next_back().map(|pair| pair[1]));
        }
        if let Some(at) = self.number_of_keys() {
            let number = parse_int(args.get(at)?).and_then(|number| usize::try_from(number).ok())?;
            keys.extend_from_slice(args.get(at + 1..(at + 1).checked_add(number)?)?);
        }
        Some(keys)
    }

    /// The keys at fixed positions.
    fn fixed_keys<'a>(&self, args: &Args<'a>) -> Vec<&'a [u8]> {
        let [first, last, step] = self.keys;
        let last = if last < 0 { args.len() as i32 + last } else { last };
        (first..=last)
            .step_by(step.max(1) as usize)
            .filter(|_| first > 0)
            .filter_map(|at| args.get(at as usize).copied())
            .collect()
    }
}

/// The key in which `SORT` stores its result; if several are given, the last one counts.
pub(super) fn sort_target<'a>(args: &Args<'a>) -> Option<&'a [u8]> {
    let (mut at, mut target) = (2, None);
    while let Some(word) = args.get(at) {
        at += match () {
            () if is(word, "LIMIT") => 3,
            () if is(word, "BY") || is(word, "GET") => 2,
            () if is(word, "STORE") => {
                target = args.get(at + 1).copied().or(target);
                2
            }
            () => 1,
        };
    }
    target
}

/// The keys of `XREAD` and `XREADGROUP`: the first half of the arguments after `STREAMS`.
fn stream_keys<'a>(args: &Args<'a>) -> Option<Vec<&'a [u8]>> {
    let mut at = 1;
    loop {
        let word = args.get(at)?;
        at += match () {
            () if is(word, "BLOCK") || is(word, "COUNT") => 2,
            () if is(word, "GROUP") => 3,
            () if is(word, "NOACK") => 1,
            () if is(word, "STREAMS") => break,
            () => return None,
        };
    }
    let rest = args.get(at + 1..).filter(|rest| !rest.is_empty() && rest.len().is_multiple_of(2))?;
    Some(rest[..rest.len() / 2].to_vec())
}

/// A row of a command table.
pub struct Command<R = Run> {
    /// Its properties.
    pub spec: Spec,
    /// The function that it runs.
    pub run: R,
}

/// Makes a row; see [`Spec`] for the meaning of each argument.
pub const fn row<R: Copy>(
    name: &'static str,
    arity: i32,
    flags: Flags,
    keys: [i32; 3],
    group: &'static str,
    run: R,
    summary: &'static str,
) -> Command<R> {
    Command { spec: Spec { name, arity, flags, keys, group, summary }, run }
}

impl Command<Run> {
    /// Runs the command in the selected database and records its changes for the log.
    pub fn call(&self, data: &mut Data, args: &Args, out: &mut Reply) -> Outcome {
        let (changes, db) = (data.keys.changes, data.keys.selected);
        let writing = self.spec.flags.has(Flags::WRITE);
        if writing && (data.keys.journal.is_full() || data.keys.is_script_full()) {
            return Err(CommandError::new("OOM one script or transaction may not change so much"));
        }
        data.keys.writing = writing;
        let outcome = match self.run {
            Run::Keys(run) => run(&mut data.keys, args, out),
            Run::Data(run) => run(data, args, out),
        };
        data.keys.writing = false;
        if data.keys.tracking.reader.is_some() && self.spec.flags.has(Flags::READ) {
            data.keys.tracking.read(&self.spec.keys_of(args).unwrap_or_default());
        }
        if !data.keys.events.is_empty() {
            data.publish_events();
        }
        if data.keys.changes != changes {
            data.keys.journal.record(db, args);
        }
        data.keys.journal.next_command();
        outcome
    }
}
