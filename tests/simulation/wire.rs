//! Where one reply ends and the next begins.

use headcount::backplane::Error;
use redis::{Value, parse_redis_value};

/// The length of the first reply in `bytes`, if it is complete.
fn length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' => {
            let body = usize::try_from(number()?).map_or(0, |length| length + 2);
            (bytes.len() >= end + body).then_some(end + body)
        }
        b'*' | b'>' | b'%' => (0..number()?.max(0) * if bytes[0] == b'%' { 2 } else { 1 })
            .try_fold(end, |at, _| Some(at + length(bytes.get(at..)?)?)),
        _ => Some(end),
    }
}

/// Takes the first reply off `bytes`.
pub fn take(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        return None;
    }
    let rest = bytes.split_off(length(bytes)?);
    Some(std::mem::replace(bytes, rest))
}

/// The reply as the product's client gives it.
pub fn read(reply: &[u8]) -> Result<Value, Error> {
    let value = parse_redis_value(reply).map_err(|error| Error::Lost(error.to_string()))?;
    Value::extract_error(value).map_err(|error| Error::of(&error))
}

pub fn command<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
