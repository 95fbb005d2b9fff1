//! Where one reply ends and the next begins, and what it says. The client's own parser takes a third of a run.

use std::io::Write;

use headcount::backplane::Error;
use redis::{PushKind, Value, parse_redis_value};

/// The line that begins at `at`, and where the next begins.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    // No line has a return within.
    let end = rest.iter().position(|byte| *byte == b'\r').filter(|end| rest.len() > end + 1)?;
    Some((&rest[..end], at + end + 2))
}

/// Where the reply that begins at `at` ends, if it is complete.
fn end(bytes: &[u8], at: usize) -> Option<usize> {
    let (line, next) = line(bytes, at)?;
    let number = || std::str::from_utf8(&line[1..]).ok()?.parse::<i64>().ok();
    let end_of = |count: i64| (0..count.max(0)).try_fold(next, |at, _| end(bytes, at));
    match line[0] {
        b'$' => {
            Some(next + usize::try_from(number()?).map_or(0, |length| length + 2)).filter(|end| *end <= bytes.len())
        }
        b'*' | b'>' => end_of(number()?),
        b'%' => end_of(number()? * 2),
        _ => Some(next),
    }
}

/// What begins at `at`, and where the next begins. None if the client's own parser is needed for it.
fn value(bytes: &[u8], at: usize) -> Option<(Value, usize)> {
    let (line, mut next) = line(bytes, at)?;
    let number = || std::str::from_utf8(&line[1..]).ok()?.parse::<i64>().ok();
    let mut items = |count: i64| -> Option<Vec<Value>> {
        (0..count)
            .map(|_| {
                let (item, after) = value(bytes, next)?;
                next = after;
                Some(item)
            })
            .collect()
    };
    let value = match line[0] {
        b'$' | b'*' if line == b"$-1" || line == b"*-1" => Value::Nil,
        b'$' => {
            let length = usize::try_from(number()?).ok()?;
            let body = bytes.get(next..next + length)?.to_vec();
            next += length + 2;
            Value::BulkString(body)
        }
        b'*' => Value::Array(items(number()?)?),
        b'>' => {
            let mut data = items(number()?)?;
            let kind = match data.first()? {
                Value::BulkString(kind) if kind == b"message" => PushKind::Message,
                _ => PushKind::Other("reply".into()),
            };
            data.remove(0);
            Value::Push { kind, data }
        }
        b':' => Value::Int(number()?),
        b'+' if line == b"+OK" => Value::Okay,
        b'+' => Value::SimpleString(String::from_utf8(line[1..].to_vec()).ok()?),
        b'_' => Value::Nil,
        _ => return None,
    };
    Some((value, next))
}

/// The words of a request.
pub fn words(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (head, mut at) = line(bytes, 0)?;
    let mut words = Vec::with_capacity(number(head)?);
    for _ in 0..number(head)? {
        let (length, from) = line(bytes, at)?;
        let to = from + number(length)?;
        words.push(bytes.get(from..to)?);
        at = to + 2;
    }
    Some(words)
}

fn number(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line.get(1..)?).ok()?.parse().ok()
}

/// The value in `bytes`.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    value(bytes, 0).map(|(value, _)| value).or_else(|| parse_redis_value(bytes).ok())
}

/// Takes the first reply off `bytes`.
pub fn take(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        return None;
    }
    let rest = bytes.split_off(end(bytes, 0)?);
    Some(std::mem::replace(bytes, rest))
}

/// The reply as the product's client gives it.
pub fn read(reply: &[u8]) -> Result<Value, Error> {
    if let Some((value, _)) = value(reply, 0) {
        return Ok(value);
    }
    let value = parse_redis_value(reply).map_err(|error| Error::Lost(error.to_string()))?;
    Value::extract_error(value).map_err(|error| Error::of(&error))
}

pub fn command<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    let _ = write!(bytes, "*{}\r\n", arguments.len());
    for argument in arguments {
        let argument = argument.as_ref();
        let _ = write!(bytes, "${}\r\n", argument.len());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
