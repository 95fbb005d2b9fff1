//! The `cmsgpack` library: MessagePack to Lua values and back, as in lua-cmsgpack 0.4.

use std::rc::Rc;

use mlua::{Lua, Table, Value, Variadic};

use super::library::{Builder, bad_argument, fail, number, number_argument, string_argument, throw};
use super::session::{ScriptState, Shared, Thrown};

/// Tables that are nested deeper than this are packed as nil.
const DEEPEST_PACKED: usize = 16;
/// How deeply unpacked values may be nested, to protect the stack.
const DEEPEST_UNPACKED: usize = 1000;
/// How many values the interpreter lets a function return.
const MOST_VALUES: usize = 7900;

fn pack(value: &Value, out: &mut Builder, depth: usize) -> Result<(), String> {
    out.step(9)?;
    match value {
        Value::String(text) => {
            let bytes = text.as_bytes();
            out.step(bytes.len() + 5)?;
            head(bytes.len(), [(31, 0xa0), (0xff, 0xd9), (0xffff, 0xda)], 0xdb, &mut out.text);
            out.text.extend_from_slice(&bytes);
        }
        Value::Boolean(value) => out.text.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(_) | Value::Number(_) => pack_number(number(value).unwrap_or(0.0), &mut out.text),
        Value::Table(table) if depth < DEEPEST_PACKED => pack_table(table, out, depth)?,
        _ => out.text.push(0xc0),
    }
    Ok(())
}

/// Writes the head of something with a length: one byte if the first bound allows it, otherwise a mark and the
/// length in one, two or four bytes. A bound of 0 means that this form does not exist.
fn head(length: usize, steps: [(usize, u8); 3], long: u8, out: &mut Vec<u8>) {
    let [tiny, short, medium] = steps;
    if length <= tiny.0 {
        out.push(tiny.1 | length as u8);
    } else if length <= short.0 {
        out.extend([short.1, length as u8]);
    } else if length <= medium.0 {
        out.push(medium.1);
        out.extend((length as u16).to_be_bytes());
    } else {
        out.push(long);
        out.extend((length as u32).to_be_bytes());
    }
}

fn pack_number(number: f64, out: &mut Vec<u8>) {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number) {
        return pack_integer(number as i64, out);
    }
    let single = number as f32;
    if f64::from(single) == number {
        out.push(0xca);
        out.extend(single.to_be_bytes());
    } else {
        out.push(0xcb);
        // A NaN keeps the bits that the processor gave it.
        out.extend(number.to_be_bytes());
    }
}

fn pack_integer(number: i64, out: &mut Vec<u8>) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend([0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend((number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend((number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend(number.to_be_bytes());
        }
        -32..=-1 => out.push(number as i8 as u8),
        -128..=-33 => out.extend([0xd0, number as i8 as u8]),
        -0x8000..=-129 => {
            out.push(0xd1);
            out.extend((number as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend((number as i32).to_be_bytes());
        }
        ..=-0x8000_0001 => {
            out.push(0xd3);
            out.extend(number.to_be_bytes());
        }
    }
}

fn pack_table(table: &Table, out: &mut Builder, depth: usize) -> Result<(), String> {
    let (mut count, mut highest, mut is_array) = (0_usize, 0.0_f64, true);
    for pair in table.pairs::<Value, Value>() {
        out.step(0)?;
        let (key, _) = pair.map_err(|error| error.to_string())?;
        count += 1;
        match number(&key) {
            Some(index) if index > 0.0 && index.is_finite() && index.fract() == 0.0 => highest = highest.max(index),
            _ => is_array = false,
        }
    }
    if is_array && highest == count as f64 {
        head(count, [(15, 0x90), (0, 0), (0xffff, 0xdc)], 0xdd, &mut out.text);
        for index in 1..=count {
            let item: Value = table.raw_get(index).map_err(|error| error.to_string())?;
            pack(&item, out, depth + 1)?;
        }
        return Ok(());
    }
    head(count, [(15, 0x80), (0, 0), (0xffff, 0xde)], 0xdf, &mut out.text);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        pack(&key, out, depth + 1)?;
        pack(&value, out, depth + 1)?;
    }
    Ok(())
}

/// An unpacking failure: the script's fault, with or without the position in the message, or the engine's.
enum Failure {
    Text(&'static str),
    /// A key that no table can have, which the interpreter itself reports.
    Index(&'static str),
    Long(String),
    Engine(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Self::Engine(error)
    }
}

const MISSING: Failure = Failure::Text("Missing bytes in input.");

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    steps: Builder<'a>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(MISSING)?;
        self.rest = rest;
        Ok(taken)
    }

    fn unsigned(&mut self, size: usize) -> Result<u64, Failure> {
        Ok(self.take(size)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, size: usize) -> Result<i64, Failure> {
        let shift = 64 - 8 * size as u32;
        Ok((self.unsigned(size)? << shift) as i64 >> shift)
    }

    fn text(&mut self, length: u64) -> Result<Value, Failure> {
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn value(&mut self) -> Result<Value, Failure> {
        self.steps.step(0).map_err(Failure::Long)?;
        let mark = self.take(1)?[0];
        Ok(match mark {
            0..=0x7f => Value::Number(f64::from(mark)),
            0xe0..=0xff => Value::Number(f64::from(mark as i8)),
            0x80..=0x8f => self.map(u64::from(mark & 15))?,
            0x90..=0x9f => self.array(u64::from(mark & 15))?,
            0xa0..=0xbf => self.text(u64::from(mark & 31))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => {
                let bits = self.unsigned(4)? as u32;
                Value::Number(f64::from(f32::from_bits(bits)))
            }
            0xcb => Value::Number(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => Value::Number(self.unsigned(1 << (mark - 0xcc))? as f64),
            0xd0..=0xd3 => Value::Number(self.signed(1 << (mark - 0xd0))? as f64),
            0xd9..=0xdb => {
                let length = self.unsigned(1 << (mark - 0xd9))?;
                self.text(length)?
            }
            0xdc | 0xdd => {
                let length = self.unsigned(if mark == 0xdc { 2 } else { 4 })?;
                self.array(length)?
            }
            0xde | 0xdf => {
                let length = self.unsigned(if mark == 0xde { 2 } else { 4 })?;
                self.map(length)?
            }
            _ => return Err(Failure::Text("Bad data format in input.")),
        })
    }

    fn descend(&mut self) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth > DEEPEST_UNPACKED {
            return Err(Failure::Text("stack overflow (in function mp_decode_to_lua_type)"));
        }
        Ok(())
    }

    fn array(&mut self, length: u64) -> Result<Value, Failure> {
        self.descend()?;
        let table = self.lua.create_table()?;
        for index in 1..=length {
            table.raw_set(index, self.value()?)?;
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: u64) -> Result<Value, Failure> {
        self.descend()?;
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let (key, value) = (self.value()?, self.value()?);
            match key {
                Value::Nil => return Err(Failure::Index("table index is nil")),
                Value::Number(number) if number.is_nan() => return Err(Failure::Index("table index is NaN")),
                key => table.raw_set(key, value)?,
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}

/// Unpacks all values or, with a range, up to `limit` values from an offset, preceded by the offset where they
/// end.
fn unpack(lua: &Lua, state: &ScriptState, text: &[u8], range: Option<(i32, i32)>) -> Result<Vec<Value>, Failure> {
    let (limit, offset) = range.unwrap_or((0, 0));
    let all = limit == 0 && offset == 0;
    if limit < 0 || offset < 0 {
        let problem = format!("Invalid request to unpack with offset of {offset} and limit of {}.", text.len());
        return Err(Failure::Long(problem));
    }
    let Some(rest) = text.get(offset as usize..) else {
        return Err(Failure::Long(format!("Start offset {offset} greater than input length {}.", text.len())));
    };
    let mut reader = Reader { lua, rest, steps: Builder::new(state), depth: 0 };
    let mut values = Vec::new();
    while !reader.rest.is_empty() && (all || values.len() < limit as usize) {
        if values.len() > MOST_VALUES {
            return Err(Failure::Text("stack overflow (too many values)"));
        }
        values.push(reader.value()?);
    }
    if !all {
        let end = if reader.rest.is_empty() { -1.0 } else { (text.len() - reader.rest.len()) as f64 };
        values.insert(0, Value::Number(end));
    }
    Ok(values)
}

/// The text and the range that a script asks to be unpacked.
type Request = (Vec<u8>, Option<(i32, i32)>);

/// Reads the arguments of an unpacking function.
type Asked = fn(&[Value]) -> Result<Request, String>;

const UNPACKERS: [(&str, Asked); 3] = [
    ("unpack", |args| Ok((string_argument(args, 1, "unpack")?, None))),
    ("unpack_one", |args| {
        let offset = optional(args, 2, "unpack_one")?;
        Ok((string_argument(args, 1, "unpack_one")?, Some((1, offset))))
    }),
    ("unpack_limit", |args| {
        let limit = number_argument(args, 2, "unpack_limit")? as i32;
        let offset = optional(args, 3, "unpack_limit")?;
        Ok((string_argument(args, 1, "unpack_limit")?, Some((limit, offset))))
    }),
];

fn optional(args: &[Value], at: usize, name: &str) -> Result<i32, String> {
    match args.get(at - 1) {
        None | Some(Value::Nil) => Ok(0),
        Some(_) => Ok(number_argument(args, at, name)? as i32),
    }
}

/// Builds the library's table.
pub fn library(lua: &Lua, state: &Shared) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set("_NAME", "cmsgpack")?;
    table.set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    let shared = Rc::clone(state);
    let packing = move |lua: &Lua, args: Variadic<Value>| {
        let mut out = Builder::new(&shared);
        let packed = match args.len() {
            0 => Err(bad_argument(0, "pack", "MessagePack pack needs input.")),
            _ => args.iter().try_for_each(|value| pack(value, &mut out, 0)),
        };
        match packed {
            Ok(()) => lua.create_string(&out.text),
            Err(problem) => Err(fail(lua, &shared, &problem)),
        }
    };
    table.set("pack", lua.create_function(packing)?)?;
    for (name, request) in UNPACKERS {
        let shared = Rc::clone(state);
        let unpacking = move |lua: &Lua, args: Variadic<Value>| {
            let values = request(&args).map_err(Failure::Long);
            match values.and_then(|(text, range)| unpack(lua, &shared, &text, range)) {
                Ok(values) => Ok(Variadic::from_iter(values)),
                Err(Failure::Text(problem)) => Err(fail(lua, &shared, problem)),
                Err(Failure::Index(problem)) => Err(throw(&shared, problem.to_owned(), Thrown::Text)),
                Err(Failure::Long(problem)) => Err(fail(lua, &shared, &problem)),
                Err(Failure::Engine(error)) => Err(error),
            }
        };
        table.set(name, lua.create_function(unpacking)?)?;
    }
    Ok(table)
}
