//! Collects the changes that commands make, for the log: each change once, as a command in RESP.
//!
//! A command is recorded as it was given, unless its body records the effect instead (`SPOP` is
//! recorded as `SREM`, a relative expiry as an absolute one). The changes of one transaction or script
//! stay together between `MULTI` and `EXEC`. Nothing is recorded if there is no log.

use std::ops::Range;

use crate::store::number::format_double;
use crate::store::resp::{ArgList, Args, encode};
use crate::store::value::Value;

mod position;
mod streams;

pub use position::Position;

/// How many elements one command of a snapshot carries.
const BATCH: usize = 64;
/// How many bytes of a string one command of a snapshot carries.
const CHUNK: usize = 1 << 20;
/// When more bytes than this are pending, they are written to the log before more commands run.
const LARGE: usize = 4 << 20;
/// A script or transaction that has recorded more bytes than this may make no more changes.
const FULL: usize = 256 << 20;

/// Changes that are not yet in the log; see the module's text.
#[derive(Debug, Default)]
pub struct Journal {
    /// Whether there is a log at all.
    pub enabled: bool,
    /// Complete units, ready to be written.
    pub ready: Vec<u8>,
    /// The state of keys, for a running rewrite.
    pub saved: Vec<u8>,
    unit: Vec<u8>,
    commands: usize,
    unit_db: Option<usize>,
    log_db: Option<usize>,
    saved_db: Option<usize>,
    /// The database that is selected in the log just before `ready`.
    ready_db: Option<usize>,
    overridden: bool,
}

/// What a script or transaction had recorded by some point.
#[derive(Debug, Default)]
pub struct Mark {
    unit: usize,
    commands: usize,
    db: Option<usize>,
}

impl Journal {
    /// Returns a mark of what the current unit has recorded so far.
    pub fn mark(&self) -> Mark {
        Mark { unit: self.unit.len(), commands: self.commands, db: self.unit_db }
    }

    /// Discards what was recorded since the mark.
    pub fn undo(&mut self, mark: &Mark) {
        self.unit.truncate(mark.unit);
        (self.commands, self.unit_db) = (mark.commands, mark.db);
        self.overridden = false;
    }

    /// Records a command that has changed something, unless its body has already recorded the effect.
    pub fn record(&mut self, db: usize, args: &Args) {
        if self.enabled && !std::mem::take(&mut self.overridden) {
            self.append(db, args);
        }
    }

    /// Records the effect of a command in place of the command itself. May be called several times.
    pub fn instead(&mut self, db: usize, args: &Args) {
        if self.enabled {
            self.overridden = true;
            self.append(db, args);
        }
    }

    /// Forgets that the last command recorded its own effect, because that command has ended.
    pub fn next_command(&mut self) {
        self.overridden = false;
    }

    /// Records that a key has expired.
    pub fn record_expiry(&mut self, db: usize, key: &[u8]) {
        if self.enabled {
            self.append(db, &[b"DEL", key]);
        }
    }

    /// Ends the current unit and makes it ready to be written.
    pub fn commit(&mut self) {
        if self.commands == 0 {
            return;
        }
        if self.ready.is_empty() {
            self.ready_db = self.log_db;
        }
        let together = self.commands > 1;
        if together {
            encode(&[b"MULTI"], &mut self.ready);
        }
        self.ready.append(&mut self.unit);
        if together {
            encode(&[b"EXEC"], &mut self.ready);
        }
        self.log_db = self.unit_db;
        self.commands = 0;
    }

    /// Makes the next unit select its database, because a new log has been started.
    pub fn new_log(&mut self) {
        self.log_db = None;
    }

    /// Starts the snapshot of a rewrite.
    pub fn begin_snapshot(&mut self) {
        self.saved.clear();
        self.saved_db = None;
    }

    fn append(&mut self, db: usize, args: &Args) {
        let current = if self.commands == 0 { self.log_db } else { self.unit_db };
        if current != Some(db) {
            encode(&[b"SELECT", db.to_string().as_bytes()], &mut self.unit);
            if self.commands > 0 {
                self.commands += 1;
            }
        }
        encode(args, &mut self.unit);
        self.unit_db = Some(db);
        self.commands += 1;
    }

    /// Records the state of a key, from a position in its value on, until about `limit` bytes are
    /// pending. Returns the position to continue from, if the value is not finished.
    pub fn snapshot(
        &mut self,
        db: usize,
        key: &[u8],
        value: &Value,
        expires: u64,
        from: Position,
        limit: usize,
    ) -> Option<Position> {
        if self.saved_db != Some(db) {
            encode(&[b"SELECT", db.to_string().as_bytes()], &mut self.saved);
            self.saved_db = Some(db);
        }
        let left = match (value, from) {
            (Value::Stream(stream), from) => streams::snapshot(key, stream, from, limit, &mut self.saved),
            (_, Position::Element(from)) => self.snapshot_elements(key, value, from, limit),
            (_, Position::Group(..)) => None,
        };
        if left.is_none() && expires != 0 {
            encode(&[b"PEXPIREAT", key, expires.to_string().as_bytes()], &mut self.saved);
        }
        left
    }

    fn snapshot_elements(&mut self, key: &[u8], value: &Value, from: usize, limit: usize) -> Option<Position> {
        let text = value.as_string();
        let (length, step) = text.as_ref().map_or((value.elements(), BATCH), |text| (text.len().max(1), CHUNK));
        let mut at = from;
        while at < length {
            if at > from && self.saved.len() >= limit {
                return Some(Position::Element(at));
            }
            let end = (at + step).min(length);
            match &text {
                Some(text) if at == 0 => encode(&[b"SET", key, &text[..end.min(text.len())]], &mut self.saved),
                Some(text) => encode(&[b"APPEND", key, &text[at..end]], &mut self.saved),
                None => elements(key, value, at..end, &mut self.saved),
            }
            at = end;
        }
        None
    }

    /// Takes the contents for a rewritten log: the states of keys, followed by the changes made since.
    pub fn for_new_log(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.saved);
        if !self.ready.is_empty() {
            if let Some(db) = self.ready_db {
                encode(&[b"SELECT", db.to_string().as_bytes()], &mut out);
            }
            out.extend_from_slice(&self.ready);
            self.saved_db = None;
        }
        out
    }

    /// Whether so much is pending that it should be written before more commands run.
    pub fn is_large(&self) -> bool {
        self.ready.len() + self.saved.len() > LARGE
    }

    /// Whether one script or transaction has changed so much that it must end.
    pub fn is_full(&self) -> bool {
        self.unit.len() + self.saved.len() > FULL
    }
}

/// Encodes a command that adds a range of a collection's elements.
fn elements(key: &[u8], value: &Value, range: Range<usize>, out: &mut Vec<u8>) {
    let command: &[u8] = match value {
        Value::List(_) => b"RPUSH",
        Value::Set(_) => b"SADD",
        Value::Hash(_) => b"HSET",
        _ => b"ZADD",
    };
    let scores: Vec<String>;
    let mut args: ArgList = [command, key].into_iter().collect();
    match value {
        Value::Int(_) | Value::Text(_) | Value::Growing(_) | Value::Stream(_) => return,
        Value::List(list) => args.extend(list.items.range(range).map(|item| &**item)),
        Value::Set(set) => args.extend(range.filter_map(|at| set.at(at))),
        Value::Hash(hash) => args.extend(range.filter_map(|at| hash.at(at)).flat_map(|(field, value)| [field, value])),
        Value::Zset(zset) => {
            scores = zset.range(range.clone(), false).map(|(_, score)| format_double(score)).collect();
            let members = zset.range(range, false).map(|(member, _)| member);
            args.extend(scores.iter().zip(members).flat_map(|(score, member)| [score.as_bytes(), member]));
        }
    }
    encode(&args, out);
}
