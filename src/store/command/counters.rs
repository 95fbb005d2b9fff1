//! Strings that are numbers: counting up and down.

use crate::store::args::int;
use crate::store::decimal;
use crate::store::error::{CommandError, NAN_OR_INFINITY, NOT_A_FLOAT, NOT_AN_INTEGER, OVERFLOW, Outcome, WRONGTYPE};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::number::parse_int;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::small_bytes::SmallBytes;
use crate::store::value::Value;

/// The string at a key, empty if there is none.
fn string(keys: &mut Keyspace, key: &[u8]) -> Result<Vec<u8>, CommandError> {
    match keys.get(key) {
        None => Ok(Vec::new()),
        Some(value) => Ok(value.as_string().ok_or(WRONGTYPE)?.into_owned()),
    }
}

pub fn incr(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    add(keys, args[1], 1, out)
}

pub fn decr(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    add(keys, args[1], -1, out)
}

pub fn incrby(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    add(keys, args[1], int(args[2])?, out)
}

pub fn decrby(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let step = int(args[2])?.checked_neg().ok_or(CommandError::new("ERR decrement would overflow"))?;
    add(keys, args[1], step, out)
}

fn add(keys: &mut Keyspace, key: &[u8], step: i64, out: &mut Reply) -> Outcome {
    let mut sum = step;
    let is_there = keys.update(key, |value| {
        let old = match value {
            Value::Int(number) => *number,
            other => parse_int(&other.as_string().ok_or(WRONGTYPE)?).ok_or(NOT_AN_INTEGER)?,
        };
        sum = old.checked_add(step).ok_or(OVERFLOW)?;
        Ok(Value::Int(sum))
    })?;
    if !is_there {
        keys.insert(key, Value::Int(step));
    }
    keys.changed_by(Classes::STRING, "incrby", key);
    out.int(sum);
    Ok(())
}

pub fn incrbyfloat(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let old = string(keys, args[1])?;
    let old = if old.is_empty() && !keys.contains(args[1]) { b"0".to_vec() } else { old };
    let sum = decimal::sum(&old, args[2]).map_err(|problem| match problem {
        decimal::NoSum::NotANumber => NOT_A_FLOAT,
        decimal::NoSum::Infinite => NAN_OR_INFINITY,
    })?;
    let text = Value::Text(SmallBytes::new(sum.as_bytes()));
    if !keys.update(args[1], |_| Ok(text.clone()))? {
        keys.insert(args[1], text);
    }
    keys.changed_by(Classes::STRING, "incrbyfloat", args[1]);
    keys.journal.instead(keys.selected, &[b"SET", args[1], sum.as_bytes(), b"KEEPTTL"]);
    out.bulk(sum.as_bytes());
    Ok(())
}
