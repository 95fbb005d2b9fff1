//! A script's result as a reply, by Redis's rules and within bounds.
//!
//! A table can hold itself, many times over, so a result that takes no memory can be a reply without
//! an end. Its depth, its length and the time to write it are all bounded.

use mlua::{Table, Value};

use super::library::number;
use super::session::State;
use crate::store::error::{CommandError, Outcome};
use crate::store::reply::Reply;

/// How deep a script's result may be nested.
const DEEPEST: usize = 128;
/// How many bytes it may be.
const LIMIT: usize = 256 << 20;
/// This many values are written between two looks at the clock.
const LOOK_EVERY: usize = 1024;

/// Appends a script's result. After a failure the reply is half written, and the caller takes it back.
pub fn write(state: &State, value: &Value, out: &mut Reply) -> Outcome {
    let end = out.buf.len() + LIMIT;
    // `redis.setresp` is about what the script sees; only its booleans are told by it here.
    let resp3 = state.session.borrow().as_ref().is_some_and(|session| session.out.resp3);
    Writer { state, out, end, written: 0, resp3 }.value(value, 0)
}

struct Writer<'a> {
    state: &'a State,
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
        let get = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
        if let Value::String(text) = get("err") {
            self.out.error(&text.to_string_lossy());
        } else if let Value::String(text) = get("ok") {
            self.out.simple(&text.to_string_lossy().replace(['\r', '\n'], " "));
        } else if let Some(number) = number(&get("double")) {
            self.out.double(number);
        } else if let Value::Table(map) = get("map") {
            return self.map(&map, depth);
        } else if let Value::Table(set) = get("set") {
            return self.set(&set, depth);
        } else if let Value::String(digits) = get("big_number") {
            self.out.big_number(&digits.to_string_lossy());
        } else if let Value::Table(verbatim) = get("verbatim_string")
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
        let mut length = 0;
        while item(length + 1).is_some() {
            length += 1;
        }
        self.out.array(length);
        for index in 1..=length {
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
