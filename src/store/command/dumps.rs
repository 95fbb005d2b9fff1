//! `DUMP` and `RESTORE`: values as payloads in Redis's format.

use crate::store::args::{Cursor, int, is};
use crate::store::error::{CommandError, Outcome, SYNTAX};
use crate::store::eviction::{Policy, Usage};
use crate::store::keyspace::{Keyspace, set_usage};
use crate::store::keyspace_events::Classes;
use crate::store::rdb;
use crate::store::reply::{LIMIT, Reply};
use crate::store::resp::Args;

pub fn dump(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    match keys.get(args[1]) {
        None => out.null(),
        Some(value) if value.footprint() > LIMIT => {
            return Err(CommandError::new("ERR the value is larger than a reply may be"));
        }
        Some(value) => out.bulk(&rdb::dump(value)),
    }
    Ok(())
}

/// The options of `RESTORE`.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    /// How many seconds ago the key was last used.
    idle: Option<u64>,
    /// How often the key was used.
    frequency: Option<u8>,
}

impl Options {
    fn parse(args: &Args) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut cursor = Cursor::new(args, 4);
        while let Some(word) = cursor.next() {
            let more = cursor.left() > 0;
            if is(word, "REPLACE") {
                options.replace = true;
            } else if is(word, "ABSTTL") {
                options.absolute = true;
            } else if more && options.frequency.is_none() && is(word, "IDLETIME") {
                let idle = u64::try_from(int(cursor.value()?)?);
                options.idle = Some(idle.map_err(|_| CommandError::new("ERR Invalid IDLETIME value, must be >= 0"))?);
            } else if more && options.idle.is_none() && is(word, "FREQ") {
                let count = u8::try_from(int(cursor.value()?)?);
                options.frequency =
                    Some(count.map_err(|_| CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255"))?);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }

    /// The usage to record for the key. An option that the eviction policy does not use is ignored.
    fn usage(&self, policy: Policy, now: u64) -> Usage {
        match (self.idle, self.frequency) {
            (Some(idle), _) if !policy.counts_uses() => Usage::idle_for(now, idle),
            (_, Some(count)) if policy.counts_uses() => Usage::counted(now, count),
            _ => Usage::new(policy, now),
        }
    }
}

pub fn restore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let options = Options::parse(args)?;
    let key = args[1];
    if !options.replace && keys.contains(key) {
        return Err(CommandError::new("BUSYKEY Target key name already exists."));
    }
    let negative = || CommandError::new("ERR Invalid TTL value, must be >= 0");
    let ttl = u64::try_from(int(args[2])?).map_err(|_| negative())?;
    let left = keys.limits.memory.saturating_sub(keys.used());
    let value = rdb::restore(args[3], left)?;
    let at = if ttl == 0 || options.absolute { ttl } else { keys.now.saturating_add(ttl) };
    let at = at.min(i64::MAX as u64);
    if at > 0 && at <= keys.now {
        if keys.delete(key) {
            keys.journal.instead(keys.selected, &[b"DEL", key]);
        }
        out.ok();
        return Ok(());
    }
    keys.insert(key, value);
    let usage = options.usage(keys.policy, keys.now);
    set_usage(keys, key, usage);
    if at > 0 {
        keys.set_expiry(key, at);
    }
    keys.changed_by(Classes::GENERIC, "restore", key);
    let text = at.to_string();
    keys.journal.instead(keys.selected, &[b"RESTORE", key, text.as_bytes(), args[3], b"REPLACE", b"ABSTTL"]);
    out.ok();
    Ok(())
}
