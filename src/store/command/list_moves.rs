//! Lists: moving elements between them, popping from several, and waiting for an element.

use crate::store::args::{at_least, float, is};
use crate::store::error::{
    Block, COUNT_NOT_POSITIVE, CommandError, NUMKEYS_NOT_POSITIVE, Outcome, SYNTAX, TIMEOUT_NEGATIVE, TIMEOUT_NOT_FLOAT,
};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::small_bytes::SmallBytes;
use crate::store::value::List;

use super::lists::take;

fn side(arg: &[u8]) -> Result<bool, CommandError> {
    match () {
        () if is(arg, "LEFT") => Ok(true),
        () if is(arg, "RIGHT") => Ok(false),
        () => Err(SYNTAX),
    }
}

/// Moves one element; `None` if the source is missing.
fn shift(keys: &mut Keyspace, from: &[u8], to: &[u8], ends: (bool, bool)) -> Result<Option<SmallBytes>, CommandError> {
    if keys.read::<List>(from)?.is_none() {
        return Ok(None);
    }
    keys.read::<List>(to)?;
    let Some(mut list) = keys.write::<List>(from)? else {
        return Ok(None);
    };
    let Some(item) = list.pop(ends.0) else {
        return Ok(None);
    };
    drop(list);
    keys.write_or_create::<List>(to)?.push(ends.1, item.clone());
    keys.changed_by(Classes::LIST, if ends.1 { "lpush" } else { "rpush" }, to);
    keys.shrunk_by(Classes::LIST, if ends.0 { "lpop" } else { "rpop" }, from);
    let word = |front: bool| -> &[u8] { if front { b"LEFT" } else { b"RIGHT" } };
    keys.journal.instead(keys.selected, &[b"LMOVE", from, to, word(ends.0), word(ends.1)]);
    Ok(Some(item))
}

pub fn lmove(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let ends = (side(args[3])?, side(args[4])?);
    out.bulk_or_null(shift(keys, args[1], args[2], ends)?.as_deref());
    Ok(())
}

pub fn rpoplpush(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.bulk_or_null(shift(keys, args[1], args[2], (false, true))?.as_deref());
    Ok(())
}

/// When a wait of this many seconds ends; `None` means never.
pub fn wait_until(seconds: &[u8], now: u64) -> Result<Option<u64>, CommandError> {
    let seconds = float(seconds).map_err(|_| TIMEOUT_NOT_FLOAT)?;
    if seconds < 0.0 {
        return Err(TIMEOUT_NEGATIVE);
    }
    let milliseconds = (seconds * 1000.0).ceil();
    if milliseconds >= i64::MAX as f64 {
        return Err(TIMEOUT_NEGATIVE);
    }
    if milliseconds >= i64::MAX as f64 - now as f64 {
        return Err(CommandError::new("ERR timeout is out of range"));
    }
    Ok((milliseconds > 0.0).then_some(now + milliseconds as u64))
}

/// Makes the client wait until one of `names` holds a value of this type.
pub fn wait(names: &Args, type_name: &'static str, until: Option<u64>, null_array: bool) -> CommandError {
    let keys = names.iter().map(|name| SmallBytes::new(name)).collect();
    CommandError::Block(Box::new(Block { keys, type_name, until, null_array, instead: None, needs_key: false }))
}

fn blocking_pop(keys: &mut Keyspace, args: &Args, out: &mut Reply, front: bool) -> Outcome {
    let (names, timeout) = (&args[1..args.len() - 1], args[args.len() - 1]);
    let until = wait_until(timeout, keys.now)?;
    for name in names {
        if let Some(taken) = take(keys, name, front, 1)? {
            out.array(2);
            out.bulk(name);
            out.bulk_or_null(taken.first().map(|item| &**item));
            return Ok(());
        }
    }
    Err(wait(names, "list", until, true))
}

pub fn blpop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    blocking_pop(keys, args, out, true)
}

pub fn brpop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    blocking_pop(keys, args, out, false)
}

pub fn blmove(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let ends = (side(args[3])?, side(args[4])?);
    blocking_move(keys, args, out, ends, args[5])
}

pub fn brpoplpush(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    blocking_move(keys, args, out, (false, true), args[3])
}

fn blocking_move(keys: &mut Keyspace, args: &Args, out: &mut Reply, ends: (bool, bool), timeout: &[u8]) -> Outcome {
    let until = wait_until(timeout, keys.now)?;
    match shift(keys, args[1], args[2], ends)? {
        Some(item) => out.bulk(&item),
        None => return Err(wait(&args[1..2], "list", until, false)),
    }
    Ok(())
}

/// Parses the keys, the end and the count of an `LMPOP` or `ZMPOP` whose `numkeys` is at index `at`.
pub fn parse_multi_pop<'a, 'b, T>(
    args: &'b Args<'a>,
    at: usize,
    end: impl Fn(&[u8]) -> Result<T, CommandError>,
) -> Result<(&'b Args<'a>, T, usize), CommandError> {
    let number = at_least(1, args[at], NUMKEYS_NOT_POSITIVE)?;
    let names_end = number.checked_add(at + 1).ok_or(SYNTAX)?;
    let (Some(names), Some(word)) = (args.get(at + 1..names_end), args.get(names_end)) else {
        return Err(SYNTAX);
    };
    let end = end(word)?;
    let count = match &args[names_end + 1..] {
        [] => 1,
        [word, count] if is(word, "COUNT") => at_least(1, count, COUNT_NOT_POSITIVE)?,
        _ => return Err(SYNTAX),
    };
    Ok((names, end, count))
}

fn multi_pop(
    keys: &mut Keyspace,
    names: &Args,
    front: bool,
    count: usize,
    out: &mut Reply,
) -> Result<bool, CommandError> {
    for name in names {
        if let Some(taken) = take(keys, name, front, count)? {
            out.array(2);
            out.bulk(name);
            out.bulks(taken.iter().map(|item| &**item));
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn lmpop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (names, front, count) = parse_multi_pop(args, 1, side)?;
    if !multi_pop(keys, names, front, count, out)? {
        out.null_array();
    }
    Ok(())
}

pub fn blmpop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (names, front, count) = parse_multi_pop(args, 2, side)?;
    let until = wait_until(args[1], keys.now)?;
    if multi_pop(keys, names, front, count, out)? { Ok(()) } else { Err(wait(names, "list", until, true)) }
}
