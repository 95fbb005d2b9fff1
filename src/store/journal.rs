//! What commands leave behind for the log: each change once, as a command in RESP.
//!
//! A command is noted as it was given, unless its body says what it came to (`SPOP` is noted as
//! `SREM`, a relative expiry as an absolute one). What one transaction or script does stays together
//! between `MULTI` and `EXEC`. Nothing is kept while there is no log.

use super::number::format_double;
use super::resp::{Args, encode};
use super::value::Value;

/// Elements that one command of a snapshot carries.
const BATCH: usize = 64;

/// Changes that are not yet in the log; see the module's text.
#[derive(Debug, Default)]
pub struct Journal {
    /// Whether there is a log at all.
    pub enabled: bool,
    /// Complete units, ready to be written.
    pub ready: Vec<u8>,
    /// The state of keys, for a rewrite that is running.
    pub saved: Vec<u8>,
    unit: Vec<u8>,
    commands: usize,
    unit_db: Option<usize>,
    log_db: Option<usize>,
    saved_db: Option<usize>,
    overridden: bool,
}

impl Journal {
    /// Notes a command that has changed something, unless its body has already said what.
    pub fn record(&mut self, db: usize, args: &Args) {
        if self.enabled && !std::mem::take(&mut self.overridden) {
            self.append(db, args);
        }
    }

    /// Notes what a command came to, in place of the command itself. May be called several times.
    pub fn instead(&mut self, db: usize, args: &Args) {
        if self.enabled {
            self.overridden = true;
            self.append(db, args);
        }
    }

    /// Forgets that the running command has spoken for itself; it has ended.
    pub fn next_command(&mut self) {
        self.overridden = false;
    }

    /// Notes that a key is gone because its time was up.
    pub fn record_expiry(&mut self, db: usize, key: &[u8]) {
        if self.enabled {
            self.append(db, &[b"DEL", key]);
        }
    }

    /// Ends what belongs together and makes it ready to be written.
    pub fn commit(&mut self) {
        if self.commands == 0 {
            return;
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

    /// Makes the next unit name its database, for a log that has just been begun.
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

    /// Notes the whole state of a key.
    pub fn snapshot(&mut self, db: usize, key: &[u8], value: &Value, expires: u64) {
        let out = &mut self.saved;
        if self.saved_db != Some(db) {
            encode(&[b"SELECT", db.to_string().as_bytes()], out);
            self.saved_db = Some(db);
        }
        match value {
            Value::Int(_) | Value::Text(_) | Value::Growing(_) => {
                let bytes = value.as_string().unwrap_or_default();
                encode(&[b"SET", key, &bytes], out);
            }
            Value::List(list) => batches(out, b"RPUSH", key, list.items.iter().map(|i| [&**i])),
            Value::Set(set) => batches(out, b"SADD", key, set.iter().map(|member| [member])),
            Value::Hash(hash) => batches(out, b"HSET", key, hash.iter().map(|(f, v)| [f, v])),
            Value::Zset(zset) => {
                let entries: Vec<_> = zset.iter().map(|(member, score)| (format_double(score), member)).collect();
                batches(out, b"ZADD", key, entries.iter().map(|(s, m)| [s.as_bytes(), m]));
            }
        }
        if expires != 0 {
            encode(&[b"PEXPIREAT", key, expires.to_string().as_bytes()], out);
        }
    }
}

fn batches<'a, const N: usize>(
    out: &mut Vec<u8>,
    command: &'a [u8],
    key: &'a [u8],
    entries: impl Iterator<Item = [&'a [u8]; N]>,
) {
    let mut entries = entries.peekable();
    while entries.peek().is_some() {
        let mut args: Vec<&[u8]> = vec![command, key];
        args.extend(entries.by_ref().take(BATCH).flatten());
        encode(&args, out);
    }
}
