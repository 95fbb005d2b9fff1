//! Commands that treat strings as arrays of bits.

use std::ops::Range;
use std::slice::from_ref;

use crate::store::args::{int, is};
use crate::store::bits::{self, Overflow};
use crate::store::error::{CommandError, NOT_AN_INTEGER, Outcome, SYNTAX, WRONGTYPE};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::number::parse_int;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::value::Value;

use super::in_place::edit;
use super::strings::grow;

const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";

/// Parses a bit offset; with a `width`, a leading `#` makes it a multiple of that width.
fn offset(keys: &Keyspace, arg: &[u8], width: Option<u32>) -> Result<usize, CommandError> {
    let error = || CommandError::new(BAD_OFFSET);
    let number = match (arg.strip_prefix(b"#"), width) {
        (Some(arg), Some(width)) => parse_int(arg).and_then(|number| number.checked_mul(i64::from(width))),
        _ => parse_int(arg),
    };
    let offset = number.and_then(|number| usize::try_from(number).ok()).ok_or_else(error)?;
    if offset / 8 >= keys.limits.string { Err(error()) } else { Ok(offset) }
}

/// The length of the string at a key.
fn length(keys: &mut Keyspace, key: &[u8]) -> Result<usize, CommandError> {
    match keys.get(key) {
        None => Ok(0),
        Some(value) => Ok(value.as_string().ok_or(WRONGTYPE)?.len()),
    }
}

/// Grows a string to cover `ranges`, if necessary, and changes it in place.
fn change(keys: &mut Keyspace, key: &[u8], ranges: &[Range<usize>], change: impl FnOnce(&mut [u8])) -> Outcome {
    let least = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let before = length(keys, key)?;
    keys.check_growth(least, least.saturating_sub(before))?;
    grow(keys, "setbit", key, ranges, |bytes| {
        if bytes.len() < least {
            bytes.resize(least, 0);
        }
        change(bytes);
    })?;
    Ok(())
}

pub fn setbit(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let at = offset(keys, args[2], None)?;
    let bit = match args[3] {
        b"0" => 0,
        b"1" => 1,
        _ => return Err(CommandError::new("ERR bit is not an integer or out of range")),
    };
    let (before, end) = (length(keys, args[1])?, at / 8 + 1);
    keys.check_growth(end, end.saturating_sub(before))?;
    let set = |bytes: &mut Vec<u8>| {
        let old = bits::get(bytes, at, 1, false);
        bytes.resize(end.max(bytes.len()), 0);
        bits::set(bytes, at, 1, bit as u64);
        old
    };
    let is_there = keys.contains(args[1]);
    let old = match edit(keys, args[1], from_ref(&(at / 8..end)), set) {
        Some(old) => old,
        None => {
            grow(keys, "setbit", args[1], &[], |bytes| {
                set(bytes);
            })?;
            0
        }
    };
    if is_there && (end > before || old != bit) {
        keys.changed_by(Classes::STRING, "setbit", args[1]);
    }
    out.int(old);
    Ok(())
}

pub fn getbit(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let at = offset(keys, args[2], None)?;
    let bit = match keys.get(args[1]) {
        None => 0,
        Some(value) => bits::get(&value.as_string().ok_or(WRONGTYPE)?, at, 1, false),
    };
    out.int(bit);
    Ok(())
}

/// Converts a range of bytes or bits to an inclusive range of bits; `None` if it is empty.
fn range(start: i64, end: i64, len: usize, of_bits: bool) -> Option<(usize, usize)> {
    let scale = if of_bits { 1 } else { 8 };
    let units = (len * 8 / scale) as i64;
    let absolute = |position: i64| if position < 0 { position.saturating_add(units).max(0) } else { position };
    let (start, end) = (absolute(start), absolute(end).min(units - 1));
    (start <= end).then(|| (start as usize * scale, end as usize * scale + scale - 1))
}

fn is_of_bits(word: Option<&&[u8]>) -> Result<bool, CommandError> {
    match word {
        None => Ok(false),
        Some(word) if is(word, "BIT") => Ok(true),
        Some(word) if is(word, "BYTE") => Ok(false),
        Some(_) => Err(SYNTAX),
    }
}

pub fn bitcount(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let Some(value) = keys.get(args[1]) else {
        out.int(0);
        return Ok(());
    };
    let bytes = value.as_string().ok_or(WRONGTYPE)?;
    let (start, end) = match args {
        [_, _] => (0, -1),
        [_, _, start, end, rest @ ..] if rest.len() < 2 => (int(start)?, int(end)?),
        _ => return Err(SYNTAX),
    };
    // Unlike `BITPOS`, this treats a reversed range of negative positions as empty before clamping it.
    let reversed = start < 0 && end < 0 && start > end;
    let range = range(start, end, bytes.len(), is_of_bits(args.get(4))?).filter(|_| !reversed);
    out.len(range.map_or(0, |(first, last)| bits::count(&bytes, first, last)));
    Ok(())
}

pub fn bitpos(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let wanted = match int(args[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::new("ERR The bit argument must be 1 or 0.")),
    };
    let Some(value) = keys.get(args[1]) else {
        out.int(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let bytes = value.as_string().ok_or(WRONGTYPE)?;
    let (start, end) = match &args[3..] {
        [] => (0, None),
        [start] => (int(start)?, None),
        [start, end, rest @ ..] if rest.len() < 2 => (int(start)?, Some(int(end)?)),
        _ => return Err(SYNTAX),
    };
    let range = range(start, end.unwrap_or(-1), bytes.len(), is_of_bits(args.get(5))?);
    let found = range.and_then(|(first, last)| bits::find(&bytes, wanted, first, last));
    // Bits past the end of the string count as 0, unless the command gave an end.
    let behind = (range.is_some() && !wanted && end.is_none()).then_some(bytes.len() * 8);
    out.int(found.or(behind).map_or(-1, |at| at as i64));
    Ok(())
}

pub fn bitop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let join: fn(u8, u8) -> u8 = match () {
        () if is(args[1], "AND") => |one, other| one & other,
        () if is(args[1], "OR") => |one, other| one | other,
        () if is(args[1], "XOR") => |one, other| one ^ other,
        () if is(args[1], "NOT") => |one, _| !one,
        () => return Err(SYNTAX),
    };
    let (target, sources) = (args[2], &args[3..]);
    if is(args[1], "NOT") && sources.len() > 1 {
        return Err(CommandError::new("ERR BITOP NOT must be called with a single source key."));
    }
    let mut longest = 0;
    for source in sources {
        longest = longest.max(length(keys, source)?);
    }
    keys.check_growth(longest, longest)?;
    let mut result: Option<Vec<u8>> = None;
    for source in sources {
        let value = keys.get(source);
        let bytes = value.and_then(Value::as_string).unwrap_or_default();
        match &mut result {
            None => {
                let mut first = bytes.into_owned();
                first.resize(longest, 0);
                result = Some(first);
            }
            Some(result) => {
                let padded = bytes.iter().copied().chain(std::iter::repeat(0));
                result.iter_mut().zip(padded).for_each(|(one, other)| *one = join(*one, other));
            }
        }
    }
    let mut result = result.unwrap_or_default();
    if is(args[1], "NOT") {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    if longest == 0 {
        keys.delete(target);
    } else {
        keys.insert(target, Value::Growing(Box::new(result)));
        keys.changed_by(Classes::STRING, "set", target);
    }
    out.len(longest);
    Ok(())
}

/// One operation of a `BITFIELD`.
struct Step {
    what: What,
    at: usize,
    width: u32,
    signed: bool,
    overflow: Overflow,
}

#[derive(Clone, Copy)]
enum What {
    Get,
    Set(i64),
    Add(i64),
}

fn field_type(arg: &[u8]) -> Result<(u32, bool), CommandError> {
    let error = || {
        CommandError::new(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        )
    };
    let (signed, digits) = match arg {
        [b'i', digits @ ..] => (true, digits),
        [b'u', digits @ ..] => (false, digits),
        _ => return Err(error()),
    };
    let width =
        parse_int(digits).filter(|width| (1..=if signed { 64 } else { 63 }).contains(width)).ok_or_else(error)?;
    Ok((width as u32, signed))
}

fn steps(keys: &Keyspace, args: &Args, read_only: bool) -> Result<Vec<Step>, CommandError> {
    let (mut steps, mut overflow, mut rest) = (Vec::new(), Overflow::default(), &args[2..]);
    while let [word, tail @ ..] = rest {
        let is_write = is(word, "SET") || is(word, "INCRBY");
        if is(word, "OVERFLOW")
            && let [how, tail @ ..] = tail
        {
            overflow = match () {
                () if is(how, "WRAP") => Overflow::Wrap,
                () if is(how, "SAT") => Overflow::Saturate,
                () if is(how, "FAIL") => Overflow::Fail,
                () => return Err(CommandError::new("ERR Invalid OVERFLOW type specified")),
            };
            rest = tail;
            continue;
        }
        let needed = if is_write { 3 } else { 2 };
        if !is_write && !is(word, "GET") || tail.len() < needed {
            return Err(SYNTAX);
        }
        let (width, signed) = field_type(tail[0])?;
        let at = offset(keys, tail[1], Some(width))?;
        let what = match is_write {
            false => What::Get,
            true if read_only => {
                return Err(CommandError::new("ERR BITFIELD_RO only supports the GET subcommand"));
            }
            true => {
                let number = parse_int(tail[2]).ok_or(NOT_AN_INTEGER)?;
                if is(word, "SET") { What::Set(number) } else { What::Add(number) }
            }
        };
        steps.push(Step { what, at, width, signed, overflow });
        rest = &tail[needed..];
    }
    Ok(steps)
}

pub fn bitfield(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let steps = steps(keys, args, false)?;
    let written = steps.iter().filter(|step| !matches!(step.what, What::Get));
    let ranges: Vec<Range<usize>> =
        written.map(|step| step.at / 8..(step.at + step.width as usize - 1) / 8 + 1).collect();
    if ranges.is_empty() {
        return read(keys, args[1], &steps, out);
    }
    change(keys, args[1], &ranges, |bytes| {
        out.array(steps.len());
        for step in &steps {
            let Step { at, width, signed, overflow, .. } = *step;
            let old = bits::get(bytes, at, width, signed);
            let (new, told) = match step.what {
                What::Get => (None, Some(old)),
                What::Set(number) => {
                    let new = bits::fit(number, 0, width, signed, overflow);
                    (new, new.map(|_| old))
                }
                What::Add(number) => {
                    let new = bits::fit(old, number, width, signed, overflow);
                    (new, new)
                }
            };
            if let Some(new) = new {
                bits::set(bytes, at, width, new as u64);
            }
            match told {
                Some(number) => out.int(number),
                None => out.null(),
            }
        }
    })
}

pub fn bitfield_ro(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let steps = steps(keys, args, true)?;
    read(keys, args[1], &steps, out)
}

fn read(keys: &mut Keyspace, key: &[u8], steps: &[Step], out: &mut Reply) -> Outcome {
    let bytes = match keys.get(key) {
        None => Default::default(),
        Some(value) => value.as_string().ok_or(WRONGTYPE)?,
    };
    out.array(steps.len());
    steps.iter().for_each(|step| out.int(bits::get(&bytes, step.at, step.width, step.signed)));
    Ok(())
}
