//! Converts replies to Lua values, by Redis's rules.

use mlua::{Lua, Table, Value};

use crate::store::number::{parse_float, parse_int};

/// Marks an error that has been counted already.
const COUNTED: &str = "ignore_error_stats_update";

/// Returns the error of a command as scripts see it.
pub fn command_error(lua: &Lua, text: &str) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    table.raw_set(COUNTED, true)?;
    Ok(Value::Table(table))
}

/// Whether an error that a script has returned or thrown has been counted already.
pub fn is_counted(error: &Value) -> bool {
    matches!(error, Value::Table(table) if matches!(table.raw_get(COUNTED), Ok(Value::Boolean(true))))
}

fn field(lua: &Lua, name: &str, text: &[u8]) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, lua.create_string(text)?)?;
    Ok(Value::Table(table))
}

/// Converts a whole reply to a Lua value.
pub fn to_lua(lua: &Lua, wire: &[u8]) -> mlua::Result<Value> {
    Reader { lua, wire }.value()
}

struct Reader<'a> {
    lua: &'a Lua,
    wire: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads one value. Replies are this store's own, so anything malformed simply becomes nil.
    fn value(&mut self) -> mlua::Result<Value> {
        let Some(end) = self.wire.iter().position(|&byte| byte == b'\r') else {
            return Ok(Value::Nil);
        };
        let (kind, line) = (self.wire[0], &self.wire[1..end]);
        self.wire = self.wire.get(end + 2..).unwrap_or(&[]);
        let number = || parse_int(line).unwrap_or(0);
        match kind {
            b':' => Ok(Value::Number(number() as f64)),
            b'$' | b'*' if line == b"-1" => Ok(Value::Boolean(false)),
            b'$' => {
                let bytes = self.take(number() as usize);
                Ok(Value::String(self.lua.create_string(bytes)?))
            }
            b'+' => field(self.lua, "ok", line),
            b'-' => field(self.lua, "err", line),
            b'*' => Ok(Value::Table(self.list(number() as usize)?)),
            b',' => {
                let table = self.lua.create_table()?;
                table.raw_set("double", parse_float(line).unwrap_or(0.0))?;
                Ok(Value::Table(table))
            }
            b'#' => Ok(Value::Boolean(line == b"t")),
            b'(' => {
                let table = self.lua.create_table()?;
                table.raw_set("big_number", self.lua.create_string(line)?)?;
                Ok(Value::Table(table))
            }
            b'%' => self.map(number() as usize),
            b'~' => self.set(number() as usize),
            b'=' => {
                let text = self.take(number() as usize);
                let inner = self.lua.create_table()?;
                inner.raw_set("format", self.lua.create_string(&text[..3])?)?;
                inner.raw_set("string", self.lua.create_string(&text[4..])?)?;
                let table = self.lua.create_table()?;
                table.raw_set("verbatim_string", inner)?;
                Ok(Value::Table(table))
            }
            _ => Ok(Value::Nil),
        }
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let length = length.min(self.wire.len());
        let bytes = &self.wire[..length];
        self.wire = self.wire.get(length + 2..).unwrap_or(&[]);
        bytes
    }

    fn list(&mut self, length: usize) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(length, 0)?;
        for index in 1..=length {
            let value = self.value()?;
            table.raw_set(index, value)?;
        }
        Ok(table)
    }

    fn map(&mut self, length: usize) -> mlua::Result<Value> {
        let inner = self.lua.create_table_with_capacity(0, length)?;
        for _ in 0..length {
            let (key, value) = (self.value()?, self.value()?);
            inner.raw_set(key, value)?;
        }
        let table = self.lua.create_table()?;
        table.raw_set("map", inner)?;
        Ok(Value::Table(table))
    }

    fn set(&mut self, length: usize) -> mlua::Result<Value> {
        let inner = self.lua.create_table_with_capacity(0, length)?;
        for _ in 0..length {
            let key = self.value()?;
            inner.raw_set(key, true)?;
        }
        let table = self.lua.create_table()?;
        table.raw_set("set", inner)?;
        Ok(Value::Table(table))
    }
}
