//! Strings.

use std::ops::Range;
use std::slice::from_ref;

use crate::store::args::{Cursor, int, is, positions};
use crate::store::error::{CommandError, Outcome, SYNTAX, WRONGTYPE};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::value::Value;

use super::expiry::{Unit, deadline};
use super::in_place::edit;

/// Replies with the string at a key, or null.
fn reply_string(keys: &mut Keyspace, key: &[u8], out: &mut Reply) -> Outcome {
    match keys.get(key) {
        None => out.null(),
        Some(Value::Text(bytes)) => out.bulk(bytes),
        Some(value) => out.bulk(&value.as_string().ok_or(WRONGTYPE)?),
    }
    Ok(())
}

pub fn get(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_string(keys, args[1], out)
}

pub fn getset(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_string(keys, args[1], out)?;
    put(keys, args[1], args[2]);
    Ok(())
}

pub fn getdel(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_string(keys, args[1], out)?;
    if keys.delete(args[1]) {
        keys.journal.instead(keys.selected, &[b"DEL", args[1]]);
    }
    Ok(())
}

/// An expiry option such as `EX 10`. Its number is validated once all options have been parsed.
#[derive(Clone, Copy)]
struct End<'a> {
    unit: Unit,
    relative: bool,
    number: &'a [u8],
}

impl<'a> End<'a> {
    /// Parses an option whose first word was just read. It replaces an earlier option, which must be of the same kind.
    fn read(word: &[u8], before: Option<Self>, cursor: &mut Cursor<'a, '_>) -> Result<Self, CommandError> {
        let (unit, relative) = match () {
            () if is(word, "EX") => (Unit::Seconds, true),
            () if is(word, "PX") => (Unit::Milliseconds, true),
            () if is(word, "EXAT") => (Unit::Seconds, false),
            () if is(word, "PXAT") => (Unit::Milliseconds, false),
            () => return Err(SYNTAX),
        };
        if before.is_some_and(|before| (before.unit, before.relative) != (unit, relative)) {
            return Err(SYNTAX);
        }
        Ok(Self { unit, relative, number: cursor.value()? })
    }

    /// The expiry as a Unix time in milliseconds.
    fn at(self, command: &str, now: u64) -> Result<u64, CommandError> {
        let number = int(self.number)?;
        if number <= 0 {
            return Err(CommandError::new(format!("ERR invalid expire time in '{command}' command")));
        }
        Ok(deadline(number, self.unit, self.relative, now, command)?.max(1) as u64)
    }
}

pub fn getex(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let mut cursor = Cursor::new(args, 2);
    let (mut end, mut persist) = (None, false);
    while let Some(word) = cursor.next() {
        if is(word, "PERSIST") && end.is_none() {
            persist = true;
        } else if persist {
            return Err(SYNTAX);
        } else {
            end = Some(End::read(word, end, &mut cursor)?);
        }
    }
    reply_string(keys, args[1], out)?;
    let Some(old) = keys.expiry(args[1]) else {
        return Ok(());
    };
    if let Some(end) = end {
        let at = end.at("getex", keys.now)?;
        if at <= keys.now {
            keys.delete(args[1]);
            keys.journal.instead(keys.selected, &[b"DEL", args[1]]);
        } else {
            keys.set_expiry(args[1], at);
            keys.changed_by(Classes::GENERIC, "expire", args[1]);
            let at = at.to_string();
            keys.journal.instead(keys.selected, &[b"PEXPIREAT", args[1], at.as_bytes()]);
        }
    } else if persist && old != 0 {
        keys.set_expiry(args[1], 0);
        keys.changed_by(Classes::GENERIC, "persist", args[1]);
        keys.journal.instead(keys.selected, &[b"PERSIST", args[1]]);
    }
    Ok(())
}

fn put(keys: &mut Keyspace, key: &[u8], value: &[u8]) {
    put_as(keys, "set", key, value);
}

fn put_as(keys: &mut Keyspace, event: &'static str, key: &[u8], value: &[u8]) {
    keys.insert(key, Value::string(value));
    keys.changed_by(Classes::STRING, event, key);
    if keys.journal.enabled {
        keys.journal.instead(keys.selected, &[b"SET", key, value]);
    }
}

fn put_until(keys: &mut Keyspace, key: &[u8], value: &[u8], at: u64) {
    keys.insert(key, Value::string(value));
    keys.set_expiry(key, at);
    keys.changed_by(Classes::STRING, "set", key);
    keys.tell(Classes::GENERIC, "expire", key);
    if keys.journal.enabled {
        let at = at.to_string();
        keys.journal.instead(keys.selected, &[b"SET", key, value, b"PXAT", at.as_bytes()]);
    }
}

#[derive(Default)]
struct SetOptions<'a> {
    if_missing: bool,
    if_present: bool,
    get: bool,
    keep_ttl: bool,
    end: Option<End<'a>>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut cursor = Cursor::new(args, 3);
        while let Some(word) = cursor.next() {
            if is(word, "NX") && !options.if_present {
                options.if_missing = true;
            } else if is(word, "XX") && !options.if_missing {
                options.if_present = true;
            } else if is(word, "GET") {
                options.get = true;
            } else if is(word, "KEEPTTL") && options.end.is_none() {
                options.keep_ttl = true;
            } else if !options.keep_ttl {
                options.end = Some(End::read(word, options.end, &mut cursor)?);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }
}

pub fn set(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (key, value) = (args[1], args[2]);
    if args.len() == 3 {
        put(keys, key, value);
        out.ok();
        return Ok(());
    }
    let options = SetOptions::parse(args)?;
    let end = options.end.map(|end| end.at("set", keys.now)).transpose()?;
    if options.get {
        reply_string(keys, key, out)?;
    }
    let present = keys.contains(key);
    if (options.if_missing && present) || (options.if_present && !present) {
        if !options.get {
            out.null();
        }
        return Ok(());
    }
    let at = if options.keep_ttl { keys.expiry(key).filter(|at| *at != 0) } else { end };
    match at {
        Some(at) if at <= keys.now => {
            keys.delete(key);
            keys.changed(key);
            keys.journal.instead(keys.selected, &[b"DEL", key]);
        }
        Some(at) => put_until(keys, key, value, at),
        None => put(keys, key, value),
    }
    if !options.get {
        out.ok();
    }
    Ok(())
}

pub fn setnx(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let new = !keys.contains(args[1]);
    if new {
        put(keys, args[1], args[2]);
    }
    out.flag(new);
    Ok(())
}

pub fn setex(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    set_with_ttl(keys, args, out, Unit::Seconds, "setex")
}

pub fn psetex(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    set_with_ttl(keys, args, out, Unit::Milliseconds, "psetex")
}

fn set_with_ttl(keys: &mut Keyspace, args: &Args, out: &mut Reply, unit: Unit, name: &str) -> Outcome {
    let number = int(args[2])?;
    if number <= 0 {
        return Err(CommandError::new(format!("ERR invalid expire time in '{name}' command")));
    }
    let at = deadline(number, unit, true, keys.now, name)?;
    put_until(keys, args[1], args[3], at as u64);
    out.ok();
    Ok(())
}

pub fn mget(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.array(args.len() - 1);
    for key in &args[1..] {
        if reply_string(keys, key, out).is_err() {
            out.null();
        }
    }
    Ok(())
}

pub fn mset(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    mset_pairs(keys, args, "mset")?;
    out.ok();
    Ok(())
}

pub fn msetnx(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::new("ERR wrong number of arguments for 'msetnx' command"));
    }
    if args[1..].iter().step_by(2).any(|key| keys.contains(key)) {
        out.int(0);
        return Ok(());
    }
    mset_pairs(keys, args, "msetnx")?;
    out.int(1);
    Ok(())
}

fn mset_pairs(keys: &mut Keyspace, args: &Args, name: &str) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::new(format!("ERR wrong number of arguments for '{name}' command")));
    }
    for pair in args[1..].chunks_exact(2) {
        put(keys, pair[0], pair[1]);
    }
    Ok(())
}

pub fn strlen(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let length = match keys.get(args[1]) {
        None => 0,
        Some(value) => value.as_string().ok_or(WRONGTYPE)?.len(),
    };
    out.len(length);
    Ok(())
}

/// Changes or creates a string: `change` may write to `ranges` and lengthen it. Returns the new length.
pub fn grow(
    keys: &mut Keyspace,
    event: &'static str,
    key: &[u8],
    ranges: &[Range<usize>],
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<usize, CommandError> {
    let length = if keys.contains(key) {
        edit(keys, key, ranges, |bytes| {
            change(bytes);
            bytes.len()
        })
        .ok_or(WRONGTYPE)?
    } else {
        let mut bytes = Vec::new();
        change(&mut bytes);
        let length = bytes.len();
        keys.insert(key, Value::Growing(Box::new(bytes)));
        length
    };
    keys.changed_by(Classes::STRING, event, key);
    Ok(length)
}

pub fn append(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (key, tail) = (args[1], args[2]);
    match keys.get(key) {
        None => put_as(keys, "append", key, tail),
        Some(value) => {
            let length = value.as_string().ok_or(WRONGTYPE)?.len() + tail.len();
            keys.check_growth(length, tail.len())?;
            let length = grow(keys, "append", key, from_ref(&(length..length)), |bytes| bytes.extend_from_slice(tail))?;
            out.len(length);
            return Ok(());
        }
    }
    out.len(tail.len());
    Ok(())
}

pub fn setrange(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (key, patch) = (args[1], args[3]);
    let offset = usize::try_from(int(args[2])?).map_err(|_| CommandError::new("ERR offset is out of range"))?;
    let length = match keys.get(key) {
        None => 0,
        Some(value) => value.as_string().ok_or(WRONGTYPE)?.len(),
    };
    if patch.is_empty() {
        out.len(length);
        return Ok(());
    }
    let end = offset.saturating_add(patch.len());
    keys.check_growth(end, end.saturating_sub(length))?;
    let patched = offset..offset + patch.len();
    let length = grow(keys, "setrange", key, from_ref(&patched), |bytes| {
        let end = offset + patch.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(patch);
    })?;
    out.len(length);
    Ok(())
}

pub fn getrange(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (start, stop) = (int(args[2])?, int(args[3])?);
    let Some(value) = keys.get(args[1]) else {
        out.bulk(b"");
        return Ok(());
    };
    let bytes = value.as_string().ok_or(WRONGTYPE)?;
    // Redis clamps a negative end to the first byte here, unlike in lists.
    let length = bytes.len() as i64;
    let clamp = |position: i64| {
        if position < 0 { (position + length).max(0) } else { position }
    };
    if start < 0 && stop < 0 && start > stop {
        out.bulk(b"");
    } else {
        out.bulk(&bytes[positions(clamp(start), clamp(stop), bytes.len())]);
    }
    Ok(())
}
