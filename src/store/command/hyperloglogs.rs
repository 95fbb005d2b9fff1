//! Estimating how many distinct elements were added, without storing them.

use std::ops::Range;
use std::slice::from_ref;

use crate::store::error::{CommandError, Outcome, WRONGTYPE};
use crate::store::hyperloglog::{self, REGISTERS, Unusable};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::value::Value;

use super::in_place::edit;
use super::strings::grow;

/// A range that covers all bytes of even the longest HyperLogLog.
const WHOLE: Range<usize> = 0..16 << 10;

fn error(problem: Unusable) -> CommandError {
    CommandError::new(match problem {
        Unusable::NotOne => "WRONGTYPE Key is not a valid HyperLogLog string value.",
        Unusable::Damaged => "INVALIDOBJ Corrupted HLL object detected",
    })
}

/// Calls `take` with the HyperLogLog at a key, if there is one.
fn with<T>(keys: &mut Keyspace, key: &[u8], take: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, CommandError> {
    let Some(value) = keys.get(key) else { return Ok(None) };
    let bytes = value.as_string().ok_or(WRONGTYPE)?;
    hyperloglog::check(&bytes).map_err(error)?;
    Ok(Some(take(&bytes)))
}

/// Creates a HyperLogLog if the key has none; returns whether it did. The caller reports the change.
fn create(keys: &mut Keyspace, key: &[u8]) -> Result<bool, CommandError> {
    if with(keys, key, |_| ())?.is_some() {
        return Ok(false);
    }
    let mut bytes = hyperloglog::empty();
    hyperloglog::make_stale(&mut bytes);
    keys.insert(key, Value::Growing(Box::new(bytes)));
    Ok(true)
}

pub fn pfadd(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let is_new = create(keys, args[1])?;
    let mut changed = false;
    let outcome = edit(keys, args[1], from_ref(&WHOLE), |bytes| {
        args[2..].iter().try_for_each(|element| {
            changed |= hyperloglog::add(bytes, element)?;
            Ok(())
        })
    });
    if is_new || changed {
        keys.changed_by(Classes::STRING, "pfadd", args[1]);
    }
    outcome.unwrap_or(Ok(())).map_err(error)?;
    out.flag(is_new || changed);
    Ok(())
}

pub fn pfcount(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let mut registers = [0; REGISTERS];
    if let [_, key] = args {
        let known = with(keys, key, hyperloglog::known)?;
        if known == Some(None) {
            with(keys, key, |bytes| hyperloglog::merge(bytes, &mut registers))?.transpose().map_err(error)?;
            edit(keys, key, from_ref(&WHOLE), |bytes| hyperloglog::note(bytes, hyperloglog::estimate(&registers)));
        }
        let known = with(keys, key, hyperloglog::known)?.flatten();
        out.int(known.unwrap_or(0) as i64);
        return Ok(());
    }
    for key in &args[1..] {
        with(keys, key, |bytes| hyperloglog::merge(bytes, &mut registers))?.transpose().map_err(error)?;
    }
    out.int(hyperloglog::estimate(&registers) as i64);
    Ok(())
}

pub fn pfmerge(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (mut registers, mut dense) = ([0; REGISTERS], false);
    for key in &args[1..] {
        let merged = with(keys, key, |bytes| {
            dense |= hyperloglog::is_dense(bytes);
            hyperloglog::merge(bytes, &mut registers)
        })?;
        merged.transpose().map_err(error)?;
    }
    create(keys, args[1])?;
    let mut bytes = with(keys, args[1], <[u8]>::to_vec)?.unwrap_or_default();
    if dense {
        hyperloglog::make_dense(&mut bytes).map_err(error)?;
    }
    for (at, count) in registers.iter().enumerate().filter(|(_, count)| **count > 0) {
        hyperloglog::set(&mut bytes, at, *count).map_err(error)?;
    }
    hyperloglog::make_stale(&mut bytes);
    grow(keys, "pfadd", args[1], from_ref(&WHOLE), |old| *old = bytes)?;
    out.ok();
    Ok(())
}
