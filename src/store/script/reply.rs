//! Writes a script's result as a reply, by Redis's rules and within limits.
//!
//! A table can contain itself many times over, so a result that takes little memory can make an endless reply.
//! Therefore its depth, its length and the time to write it are all limited.

use mlua::{Lua, LuaString, Table, Value};

use smallvec::SmallVec;

use super::library::number;
use super::session::ScriptState;
use crate::store::error::{CommandError, Outcome};
use crate::store::reply::Reply;

/// How deep a script's result may be nested.
const DEEPEST: usize = 128;
/// How long a script's result may be, in bytes.
const LIMIT: usize = 256 << 20;
/// How many values are written between two looks at the clock.
const LOOK_EVERY: usize = 1024;

/// The field names that give a table a meaning. Creating them for each table would cost more than most scripts do.
pub struct Names {
    err: LuaString,
    ok: LuaString,
    double: LuaString,
    map: LuaString,
    set: LuaString,
    big_number: LuaString,
    verbatim: LuaString,
}

impl Names {
    /// Creates the names, once per engine.
    pub fn new(lua: &Lua) -> mlua::Result<Self> {
        let make = |name| lua.create_string(name);
        Ok(Self {
            err: make("err")?,
            ok: make("ok")?,
            double: make("double")?,
            map: make("map")?,
            set: make("set")?,
            big_number: make("big_number")?,
            verbatim: make("verbatim_string")?,
        })
    }
}

/// Appends a script's result. After a failure the reply is half written, and the caller must remove it.
pub fn write(state: &ScriptState, names: &Names, value: &Value, out: &mut Reply) -> Outcome {
    let end = out.buf.len() + LIMIT;
    // `redis.setresp` sets what the script sees; here it only affects how booleans are written.
    let resp3 = state.session.borrow().as_ref().is_some_and(|session| session.out.resp3);
    Writer { state, names, out, end, written: 0, resp3 }.value(value, 0)
}

struct Writer<'a> {
    state: &'a ScriptState,
    names: &'a Names,
    out: &'a mut Reply,
    end: usize,
    written: usize,
    resp3: bool,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Outcome {
        self.written += 1;
        if self.written.is_multiple_of(LOOK_EVERY)
            && let Some(ended) = self.state.look()
        {
            return Err(CommandError::new(ended));
        }
        if self.out.buf.len() > self.end {
            return Err(CommandError::new("ERR the script's reply is larger than a reply may be"));
        }
        match value {
            Value::String(text) => self.out.bulk(&text.as_bytes()),
            Value::Integer(number) => self.out.int(*number),
            Value::Number(number) => self.out.int(*number as i64),
            Value::Boolean(value) if self.resp3 => self.out.boolean(*value),
            Value::Boolean(true) => self.out.int(1),
            Value::Table(_) if depth > DEEPEST => self.out.error("ERR reached lua stack limit"),
            Value::Table(table) => return self.table(table, depth),
            _ => self.out.null(),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> Outcome {
        let names = self.names;
        let get = |name: &LuaString| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
        if let Value::String(text) = get(&names.err) {
            self.out.error(&text.to_string_lossy());
        } else if let Value::String(text) = get(&names.ok) {
            self.out.simple(&text.to_string_lossy().replace(['\r', '\n'], " "));
        } else if let Some(number) = number(&get(&names.double)) {
            self.out.double(number);
        } else if let Value::Table(map) = get(&names.map) {
            return self.map(&map, depth);
        } else if let Value::Table(set) = get(&names.set) {
            return self.set(&set, depth);
        } else if let Value::String(digits) = get(&names.big_number) {
            self.out.big_number(&digits.to_string_lossy());
        } else if let Value::Table(verbatim) = get(&names.verbatim)
            && let (Ok(Value::String(text)), Ok(Value::String(format))) =
                (verbatim.raw_get::<Value>("string"), verbatim.raw_get::<Value>("format"))
        {
            self.out.verbatim_of(&format.as_bytes(), &text.as_bytes());
        } else {
            return self.list(table, depth);
        }
        Ok(())
    }

    fn list(&mut self, table: &Table, depth: usize) -> Outcome {
        let item = |index: usize| table.raw_get::<Value>(index).ok().filter(|value| !value.is_nil());
        // The length is written first, so the values of short lists are kept rather than read twice.
        let mut first: SmallVec<[Value; 8]> = SmallVec::new();
        while first.len() < first.inline_size()
            && let Some(value) = item(first.len() + 1)
        {
            first.push(value);
        }
        let mut length = first.len();
        while length >= first.inline_size() && item(length + 1).is_some() {
            length += 1;
        }
        self.out.array(length);
        for value in &first {
            self.value(value, depth + 1)?;
        }
        for index in first.len() + 1..=length {
            self.value(&item(index).unwrap_or(Value::Nil), depth + 1)?;
        }
        Ok(())
    }

    fn map(&mut self, map: &Table, depth: usize) -> Outcome {
        self.out.map(map.pairs::<Value, Value>().count());
        for (key, value) in map.pairs::<Value, Value>().flatten() {
            self.value(&key, depth + 1)?;
            self.value(&value, depth + 1)?;
        }
        Ok(())
    }

    fn set(&mut self, set: &Table, depth: usize) -> Outcome {
        self.out.set(set.pairs::<Value, Value>().count());
        for (member, _) in set.pairs::<Value, Value>().flatten() {
            self.value(&member, depth + 1)?;
        }
        Ok(())
    }
}
