//! Commands that set or return when keys expire.

use crate::store::args::{int, is};
use crate::store::error::{CommandError, Outcome};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// The unit of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// Converts a command's time to a Unix time in milliseconds; fails if it overflows.
pub fn deadline(number: i64, unit: Unit, relative: bool, now: u64, command: &str) -> Result<i64, CommandError> {
    let invalid = || CommandError::new(format!("ERR invalid expire time in '{command}' command"));
    let scale = if unit == Unit::Seconds { 1000 } else { 1 };
    let milliseconds = number.checked_mul(scale).ok_or_else(invalid)?;
    if !relative {
        return Ok(milliseconds);
    }
    milliseconds.checked_add(now as i64).ok_or_else(invalid)
}

pub fn expire(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    set_expiry(keys, args, out, Unit::Seconds, true, "expire")
}

pub fn pexpire(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    set_expiry(keys, args, out, Unit::Milliseconds, true, "pexpire")
}

pub fn expireat(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    set_expiry(keys, args, out, Unit::Seconds, false, "expireat")
}

pub fn pexpireat(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    set_expiry(keys, args, out, Unit::Milliseconds, false, "pexpireat")
}

#[derive(Default)]
struct Condition {
    none: bool,
    some: bool,
    later: bool,
    earlier: bool,
}

impl Condition {
    fn parse(args: &Args) -> Result<Self, CommandError> {
        let mut condition = Self::default();
        for word in &args[3..] {
            match () {
                () if is(word, "NX") => condition.none = true,
                () if is(word, "XX") => condition.some = true,
                () if is(word, "GT") => condition.later = true,
                () if is(word, "LT") => condition.earlier = true,
                () => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::new(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if condition.none && (condition.some || condition.later || condition.earlier) {
            return Err(CommandError::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if condition.later && condition.earlier {
            return Err(CommandError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    /// A key without an expiry counts as expiring later than any other.
    fn allows(&self, old: u64, new: i64) -> bool {
        !(self.none && old != 0
            || self.some && old == 0
            || self.later && (old == 0 || new <= old as i64)
            || self.earlier && old != 0 && new >= old as i64)
    }
}

fn set_expiry(keys: &mut Keyspace, args: &Args, out: &mut Reply, unit: Unit, relative: bool, command: &str) -> Outcome {
    let condition = Condition::parse(args)?;
    let at = deadline(int(args[2])?, unit, relative, keys.now, command)?;
    let key = args[1];
    let Some(old) = keys.expiry(key) else {
        out.int(0);
        return Ok(());
    };
    if !condition.allows(old, at) {
        out.int(0);
        return Ok(());
    }
    if at <= keys.now as i64 {
        keys.delete(key);
        keys.journal.instead(keys.selected, &[b"DEL", key]);
    } else {
        keys.set_expiry(key, at as u64);
        keys.changed_by(Classes::GENERIC, "expire", key);
        keys.journal.instead(keys.selected, &[b"PEXPIREAT", key, at.to_string().as_bytes()]);
    }
    out.int(1);
    Ok(())
}

/// Replies with an expiry time: -2 if the key is missing, -1 if it never expires.
fn reply_expiry(keys: &mut Keyspace, key: &[u8], out: &mut Reply, shape: impl Fn(u64, u64) -> u64) {
    match keys.expiry(key) {
        None => {
            keys.missed(key);
            out.int(-2);
        }
        Some(0) => out.int(-1),
        Some(at) => out.int(shape(at, keys.now) as i64),
    }
}

pub fn ttl(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_expiry(keys, args[1], out, |at, now| (at.saturating_sub(now) + 500) / 1000);
    Ok(())
}

pub fn pttl(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_expiry(keys, args[1], out, |at, now| at.saturating_sub(now));
    Ok(())
}

pub fn expiretime(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_expiry(keys, args[1], out, |at, _| (at + 500) / 1000);
    Ok(())
}

pub fn pexpiretime(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_expiry(keys, args[1], out, |at, _| at);
    Ok(())
}

pub fn persist(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let expires = keys.expiry(args[1]).is_some_and(|at| at != 0);
    if expires {
        keys.set_expiry(args[1], 0);
        keys.changed_by(Classes::GENERIC, "persist", args[1]);
    }
    out.flag(expires);
    Ok(())
}
