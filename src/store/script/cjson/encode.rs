//! Encodes Lua values as JSON text.

use mlua::{Table, Value};

use super::config::{Config, DEEPEST, Invalid};
use crate::store::number::format_general;
use crate::store::script::library::{Builder, number};

/// Appends a value. The error is the text that the script sees.
pub fn encode(config: &Config, value: &Value, out: &mut Builder, depth: usize) -> Result<(), String> {
    out.step(0)?;
    match value {
        Value::Nil => out.text.extend_from_slice(b"null"),
        Value::LightUserData(data) if data.0.is_null() => out.text.extend_from_slice(b"null"),
        Value::Boolean(value) => out.text.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Integer(_) | Value::Number(_) => write_number(config, number(value).unwrap_or(0.0), out)?,
        Value::String(text) => quote(&text.as_bytes(), out)?,
        Value::Table(table) => {
            let depth = depth + 1;
            if depth > config.encode_depth.min(DEEPEST) {
                return Err(format!("Cannot serialise, excessive depth ({depth})"));
            }
            match array_length(config, table, out)? {
                Some(length) => array(config, table, length, out, depth)?,
                None => object(config, table, out, depth)?,
            }
        }
        other => return Err(refusal(other, "type not supported")),
    }
    Ok(())
}

fn refusal(value: &Value, why: &str) -> String {
    let kind = match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) => "userdata",
        other => other.type_name(),
    };
    format!("Cannot serialise {kind}: {why}")
}

fn write_number(config: &Config, number: f64, out: &mut Builder) -> Result<(), String> {
    if number.is_finite() {
        let text = if number == 0.0 {
            if number.is_sign_negative() { "-0" } else { "0" }.to_owned()
        } else {
            format_general(number, config.precision)
        };
        out.text.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    match config.encode_invalid {
        Invalid::Refused => return Err(refusal(&Value::Number(number), "must not be NaN or Inf")),
        Invalid::Null => out.text.extend_from_slice(b"null"),
        Invalid::Written if number.is_nan() => out.text.extend_from_slice(b"nan"),
        Invalid::Written => out.text.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" }),
    }
    Ok(())
}

/// Returns the length of a table that is an array. Any other table, including an empty one, is an object.
fn array_length(config: &Config, table: &Table, out: &mut Builder) -> Result<Option<usize>, String> {
    let (mut highest, mut count) = (0.0, 0.0);
    for pair in table.pairs::<Value, Value>() {
        out.step(0)?;
        let (key, _) = pair.map_err(|error| error.to_string())?;
        match number(&key) {
            Some(index) if index >= 1.0 && index.floor() == index => {
                highest = f64::max(highest, index);
                count += 1.0;
            }
            _ => return Ok(None),
        }
    }
    if config.sparse_ratio > 0.0 && highest > count * config.sparse_ratio && highest > config.sparse_safe {
        if !config.sparse_convert {
            return Err("Cannot serialise table: excessively sparse array".to_owned());
        }
        return Ok(None);
    }
    Ok((count > 0.0).then_some(highest as usize))
}

fn array(config: &Config, table: &Table, length: usize, out: &mut Builder, depth: usize) -> Result<(), String> {
    out.text.push(b'[');
    for index in 1..=length {
        if index > 1 {
            out.text.push(b',');
        }
        let item: Value = table.raw_get(index).map_err(|error| error.to_string())?;
        encode(config, &item, out, depth)?;
    }
    out.text.push(b']');
    Ok(())
}

fn object(config: &Config, table: &Table, out: &mut Builder, depth: usize) -> Result<(), String> {
    out.text.push(b'{');
    let mut first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        if !std::mem::take(&mut first) {
            out.text.push(b',');
        }
        match &key {
            Value::String(text) => quote(&text.as_bytes(), out)?,
            Value::Integer(_) | Value::Number(_) => {
                out.text.push(b'"');
                write_number(config, number(&key).unwrap_or(0.0), out)?;
                out.text.push(b'"');
            }
            other => return Err(refusal(other, "table key must be a number or string")),
        }
        out.text.push(b':');
        encode(config, &value, out, depth)?;
    }
    out.text.push(b'}');
    Ok(())
}

/// The most bytes that one byte is encoded as.
const ESCAPE: usize = 6;

fn quote(text: &[u8], out: &mut Builder) -> Result<(), String> {
    out.step(text.len() * ESCAPE)?;
    let out = &mut out.text;
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=31 | 127 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
            other => out.push(other),
        }
    }
    out.push(b'"');
    Ok(())
}
