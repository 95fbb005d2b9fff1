//! The `struct` library: C structures as strings, as in lua-struct 0.2.

use std::rc::Rc;

use mlua::{Lua, Table, Value, Variadic};

use super::library::{Builder, bad_argument, fail, number_argument, string_argument, to_number};
use super::session::{ScriptState, Shared};

/// The size of the widest integer, in bytes.
const WIDEST: usize = 32;
/// The alignment of `!` without a number.
const NATIVE_ALIGNMENT: usize = 8;
/// How many values the interpreter lets a function return.
const MOST_VALUES: usize = 7900;

/// A format, read option by option.
struct Format<'a> {
    rest: &'a [u8],
    little: bool,
    alignment: usize,
}

impl<'a> Format<'a> {
    fn new(text: &'a [u8]) -> Self {
        // In C a text ends at its first zero byte.
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Self { rest: &text[..end], little: cfg!(target_endian = "little"), alignment: 1 }
    }

    /// Reads the next option and its size.
    fn next(&mut self) -> Result<Option<(u8, usize)>, String> {
        let Some((&option, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => match self.number(4)? {
                size if size > WIDEST => {
                    return Err(format!("integral size {size} is larger than limit of {WIDEST}"));
                }
                size => size,
            },
            _ => 0,
        };
        Ok(Some((option, size)))
    }

    fn number(&mut self, default: usize) -> Result<usize, String> {
        if !self.rest.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut number: i32 = 0;
        while let Some((digit @ b'0'..=b'9', rest)) = self.rest.split_first() {
            let next = number.checked_mul(10).and_then(|number| number.checked_add(i32::from(digit - b'0')));
            number = next.ok_or("integral size overflow")?;
            self.rest = rest;
        }
        Ok(number as usize)
    }

    /// How many padding bytes precede an option at a given position.
    fn padding(&self, at: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.alignment);
        size.wrapping_sub(at & size.wrapping_sub(1)) & size.wrapping_sub(1)
    }

    /// Applies an option that stands for no value.
    fn control(&mut self, option: u8, function: &str) -> Result<(), String> {
        match option {
            b' ' => {}
            b'>' => self.little = false,
            b'<' => self.little = true,
            b'!' => {
                let alignment = self.number(NATIVE_ALIGNMENT)?;
                if !alignment.is_power_of_two() {
                    return Err(format!("alignment {alignment} is not a power of 2"));
                }
                self.alignment = alignment;
            }
            other => {
                let problem = format!("invalid format option '{}'", char::from(other));
                return Err(bad_argument(1, function, &problem));
            }
        }
        Ok(())
    }
}

/// Rewords an error as in the C library, where a nil follows the arguments.
fn argument_error(problem: String) -> String {
    problem.replace("got no value", "got nil")
}

fn pack(state: &ScriptState, args: &[Value]) -> Result<Vec<u8>, String> {
    let text = string_argument(args, 1, "pack")?;
    let mut format = Format::new(&text);
    let mut out = Builder::new(state);
    let mut at = 1;
    while let Some((option, size)) = format.next()? {
        let padding = format.padding(out.text.len(), option, size);
        out.step(padding + size)?;
        out.text.resize(out.text.len() + padding, 0);
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                at += 1;
                let number = number_argument(args, at, "pack").map_err(argument_error)?;
                put_integer(number, size, format.little, &mut out.text);
            }
            b'x' => out.text.push(0),
            b'f' => {
                at += 1;
                let number = number_argument(args, at, "pack").map_err(argument_error)? as f32;
                out.text.extend(if format.little { number.to_le_bytes() } else { number.to_be_bytes() });
            }
            b'd' => {
                at += 1;
                let number = number_argument(args, at, "pack").map_err(argument_error)?;
                out.text.extend(if format.little { number.to_le_bytes() } else { number.to_be_bytes() });
            }
            b'c' | b's' => {
                at += 1;
                let string = string_argument(args, at, "pack").map_err(argument_error)?;
                let size = if size == 0 { string.len() } else { size };
                if string.len() < size {
                    return Err(bad_argument(at + 1, "pack", "string too short"));
                }
                out.step(size + 1)?;
                out.text.extend_from_slice(&string[..size]);
                if option == b's' {
                    out.text.push(0);
                }
            }
            other => format.control(other, "pack")?,
        }
    }
    Ok(out.text)
}

fn put_integer(number: f64, size: usize, little: bool, out: &mut Vec<u8>) {
    let bits = if number < 0.0 { number as i64 as u64 } else { number as u64 };
    let byte = |at: usize| if at < 8 { (bits >> (8 * at)) as u8 } else { 0 };
    let from = out.len();
    out.extend((0..size).map(byte));
    if !little {
        out[from..].reverse();
    }
}

fn get_integer(bytes: &[u8], little: bool, signed: bool) -> f64 {
    let shift = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
    let mut bits = if little { bytes.iter().rev().fold(0, shift) } else { bytes.iter().fold(0, shift) };
    if !signed {
        return bits as f64;
    }
    // For integers wider than 64 bits, the shift wraps as the processor's does.
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    if bits & mask != 0 {
        bits |= mask;
    }
    bits as i64 as f64
}

const TOO_SHORT: &str = "data string too short";

fn unpack(lua: &Lua, args: &[Value]) -> mlua::Result<Result<Vec<Value>, String>> {
    let read = || -> Result<(Vec<u8>, Vec<u8>, f64), String> {
        let (text, data) = (string_argument(args, 1, "unpack")?, string_argument(args, 2, "unpack")?);
        let at = match args.get(2) {
            None | Some(Value::Nil) => 1.0,
            Some(_) => number_argument(args, 3, "unpack")?,
        };
        if at.trunc() == 0.0 || at.is_nan() {
            return Err(bad_argument(3, "unpack", "offset must be 1 or greater"));
        }
        if at < 0.0 {
            return Err(bad_argument(2, "unpack", TOO_SHORT));
        }
        Ok((text, data, at - 1.0))
    };
    let (text, data, at) = match read() {
        Ok(read) => read,
        Err(problem) => return Ok(Err(problem)),
    };
    let mut values = Vec::new();
    let outcome = unpack_values(lua, Format::new(&text), &data, at as usize, &mut values);
    Ok(match outcome? {
        Ok(()) => Ok(values),
        Err(problem) => Err(problem),
    })
}

fn unpack_values(
    lua: &Lua,
    mut format: Format,
    data: &[u8],
    mut at: usize,
    values: &mut Vec<Value>,
) -> mlua::Result<Result<(), String>> {
    let too_short = || Ok(Err(bad_argument(2, "unpack", TOO_SHORT)));
    loop {
        let (option, mut size) = match format.next() {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(problem) => return Ok(Err(problem)),
        };
        at = at.saturating_add(format.padding(at, option, size));
        if size > data.len() || at > data.len() - size {
            return too_short();
        }
        if values.len() > MOST_VALUES {
            return Ok(Err("stack overflow (too many results)".to_owned()));
        }
        let bytes = &data[at..at + size];
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                values.push(Value::Number(get_integer(bytes, format.little, option.is_ascii_lowercase())));
            }
            b'x' => {}
            b'f' | b'd' => values.push(Value::Number(get_float(bytes, format.little))),
            b'c' => {
                if size == 0 {
                    let Some(length) = values.pop().as_ref().and_then(to_number) else {
                        return Ok(Err("format 'c0' needs a previous size".to_owned()));
                    };
                    size = if length < 0.0 { usize::MAX } else { length as usize };
                    if size > data.len() || at > data.len() - size {
                        return too_short();
                    }
                }
                values.push(Value::String(lua.create_string(&data[at..at + size])?));
            }
            b's' => {
                let Some(length) = data[at..].iter().position(|&byte| byte == 0) else {
                    return Ok(Err("unfinished string in data".to_owned()));
                };
                values.push(Value::String(lua.create_string(&data[at..at + length])?));
                size = length + 1;
            }
            other => {
                if let Err(problem) = format.control(other, "unpack") {
                    return Ok(Err(problem));
                }
            }
        }
        at += size;
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(Ok(()))
}

fn get_float(bytes: &[u8], little: bool) -> f64 {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return f64::from(if little { f32::from_le_bytes(four) } else { f32::from_be_bytes(four) });
    }
    let eight = <[u8; 8]>::try_from(bytes).unwrap_or_default();
    if little { f64::from_le_bytes(eight) } else { f64::from_be_bytes(eight) }
}

fn size(args: &[Value]) -> Result<f64, String> {
    let text = string_argument(args, 1, "size")?;
    let mut format = Format::new(&text);
    let mut total = 0_usize;
    while let Some((option, size)) = format.next()? {
        total = total.saturating_add(format.padding(total, option, size));
        match option {
            b's' => return Err(bad_argument(1, "size", "option 's' has no fixed size")),
            b'c' if size == 0 => return Err(bad_argument(1, "size", "option 'c0' has no fixed size")),
            other if !other.is_ascii_alphanumeric() => format.control(other, "size")?,
            _ => {}
        }
        total = total.saturating_add(size);
    }
    Ok(total as f64)
}

/// Builds the library's table.
pub fn library(lua: &Lua, state: &Shared) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let shared = Rc::clone(state);
    let packing = move |lua: &Lua, args: Variadic<Value>| match pack(&shared, &args) {
        Ok(text) => lua.create_string(text),
        Err(problem) => Err(fail(lua, &shared, &problem)),
    };
    table.set("pack", lua.create_function(packing)?)?;
    let shared = Rc::clone(state);
    let unpacking = move |lua: &Lua, args: Variadic<Value>| match unpack(lua, &args)? {
        Ok(values) => Ok(Variadic::from_iter(values)),
        Err(problem) => Err(fail(lua, &shared, &problem)),
    };
    table.set("unpack", lua.create_function(unpacking)?)?;
    let shared = Rc::clone(state);
    let sizing = move |lua: &Lua, args: Variadic<Value>| size(&args).map_err(|problem| fail(lua, &shared, &problem));
    table.set("size", lua.create_function(sizing)?)?;
    Ok(table)
}
