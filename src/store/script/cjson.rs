//! The `cjson` library: JSON text to Lua values and back.
//!
//! What cannot be converted is thrown into the script as a text with its place in front.

use std::rc::Rc;

use mlua::{LightUserData, Lua, LuaString, Table, Value};

use super::Shared;
use super::bridge::{number, position, throw};

use crate::store::number::format_general;

const DEEPEST: usize = 1000;

/// The library's table.
pub fn library(lua: &Lua, session: &Shared) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set("null", null())?;
    let shared = Rc::clone(session);
    let encode = move |lua: &Lua, value: Value| {
        let mut text = Vec::new();
        match encode(&value, &mut text, 0) {
            Ok(()) => lua.create_string(text),
            Err(problem) => Err(fail(lua, &shared, &problem)),
        }
    };
    table.set("encode", lua.create_function(encode)?)?;
    let shared = Rc::clone(session);
    let decode = move |lua: &Lua, text: LuaString| match serde_json::from_slice(&text.as_bytes()) {
        Ok(json) => decode(lua, &json),
        Err(error) => {
            let problem = format!("Expected value but found invalid token at character {}", error.column());
            Err(fail(lua, &shared, &problem))
        }
    };
    table.set("decode", lua.create_function(decode)?)?;
    Ok(table)
}

/// Throws a text with the place in front of it, as Lua's own library does.
fn fail(lua: &Lua, session: &Shared, problem: &str) -> mlua::Error {
    let place = position(lua).map_or(String::new(), |line| format!("user_script:{line}: "));
    throw(session, format!("{place}{problem}"), false)
}

/// What stands for JSON's null, since nil would leave no trace in a table.
fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}

fn decode(lua: &Lua, json: &serde_json::Value) -> mlua::Result<Value> {
    Ok(match json {
        serde_json::Value::Null => null(),
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(0.0)),
        serde_json::Value::String(text) => Value::String(lua.create_string(text)?),
        serde_json::Value::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for item in items {
                table.raw_push(decode(lua, item)?)?;
            }
            Value::Table(table)
        }
        serde_json::Value::Object(members) => {
            let table = lua.create_table_with_capacity(0, members.len())?;
            for (name, value) in members {
                table.raw_set(lua.create_string(name)?, decode(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}

fn encode(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("Cannot serialise, excessive depth ({depth})"));
    }
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::LightUserData(data) if data.0.is_null() => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Number(number) if number.is_finite() => {
            out.extend_from_slice(number_text(*number).as_bytes());
        }
        Value::Number(_) => {
            return Err("Cannot serialise number: must not be NaN or Inf".to_owned());
        }
        Value::String(text) => quote(&text.as_bytes(), out),
        Value::Table(table) => match array_length(table)? {
            Some(length) => encode_array(table, length, out, depth)?,
            None => encode_object(table, out, depth)?,
        },
        other => {
            return Err(format!("Cannot serialise {}: type not supported", other.type_name()));
        }
    }
    Ok(())
}

fn number_text(number: f64) -> String {
    if number == 0.0 { "0".to_owned() } else { format_general(number, 14) }
}

/// The length of a table that is an array; an empty one and any other is an object.
fn array_length(table: &Table) -> Result<Option<usize>, String> {
    let (mut highest, mut count) = (0.0, 0.0);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair.map_err(|error| error.to_string())?;
        match number(&key) {
            Some(index) if index >= 1.0 && index.fract() == 0.0 => {
                highest = f64::max(highest, index);
                count += 1.0;
            }
            _ => return Ok(None),
        }
    }
    if highest > 10.0 && highest > count * 2.0 {
        return Err("Cannot serialise table: excessively sparse array".to_owned());
    }
    Ok((count > 0.0).then_some(highest as usize))
}

fn encode_array(table: &Table, length: usize, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    out.push(b'[');
    for index in 1..=length {
        if index > 1 {
            out.push(b',');
        }
        let item: Value = table.raw_get(index).map_err(|error| error.to_string())?;
        encode(&item, out, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}

fn encode_object(table: &Table, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    out.push(b'{');
    let mut first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        match &key {
            Value::String(text) => quote(&text.as_bytes(), out),
            Value::Integer(number) => quote(number.to_string().as_bytes(), out),
            Value::Number(number) => quote(number_text(*number).as_bytes(), out),
            _ => {
                return Err("Cannot serialise table: table key must be a number or string".to_owned());
            }
        }
        out.push(b':');
        encode(&value, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn quote(text: &[u8], out: &mut Vec<u8>) {
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
            0..=31 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => out.push(other),
        }
    }
    out.push(b'"');
}
