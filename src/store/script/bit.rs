//! The `bit` library: operations on 32-bit numbers, as in LuaBitOp 1.0.2.

use std::rc::Rc;

use mlua::{Lua, Table, Value, Variadic};

use super::library::{fail, number_argument};
use super::session::Shared;

/// Adding this to a number rounds it, and leaves its lower 32 bits in the lower 32 bits of the sum's
/// representation.
const BIAS: f64 = 6_755_399_441_055_744.0;

/// An operation on the arguments of the named function.
type Operation = fn(&[Value], &str) -> Result<i32, String>;

const OPERATIONS: [(&str, Operation); 11] = [
    ("tobit", |args, name| bits(args, 1, name)),
    ("bnot", |args, name| Ok(!bits(args, 1, name)?)),
    ("band", |args, name| fold(args, name, |a, b| a & b)),
    ("bor", |args, name| fold(args, name, |a, b| a | b)),
    ("bxor", |args, name| fold(args, name, |a, b| a ^ b)),
    ("lshift", |args, name| shift(args, name, |bits, by| bits.wrapping_shl(by))),
    ("rshift", |args, name| shift(args, name, |bits, by| (bits as u32).wrapping_shr(by) as i32)),
    ("arshift", |args, name| shift(args, name, |bits, by| bits.wrapping_shr(by))),
    ("rol", |args, name| shift(args, name, |bits, by| bits.rotate_left(by & 31))),
    ("ror", |args, name| shift(args, name, |bits, by| bits.rotate_right(by & 31))),
    ("bswap", |args, name| Ok(bits(args, 1, name)?.swap_bytes())),
];

fn bits(args: &[Value], at: usize, name: &str) -> Result<i32, String> {
    Ok((number_argument(args, at, name)? + BIAS).to_bits() as i32)
}

fn fold(args: &[Value], name: &str, operation: fn(i32, i32) -> i32) -> Result<i32, String> {
    let first = bits(args, 1, name)?;
    (2..=args.len()).try_fold(first, |result, at| Ok(operation(result, bits(args, at, name)?)))
}

fn shift(args: &[Value], name: &str, operation: fn(i32, u32) -> i32) -> Result<i32, String> {
    Ok(operation(bits(args, 1, name)?, bits(args, 2, name)? as u32 & 31))
}

/// Formats a number with at most eight hexadecimal digits, in upper case if the number of digits is negative.
fn hexadecimal(args: &[Value]) -> Result<String, String> {
    let value = bits(args, 1, "tohex")?;
    let wanted = if args.len() < 2 { 8 } else { bits(args, 2, "tohex")? };
    // The smallest number cannot be negated, which was overlooked in CVE-2024-31449.
    let digits = wanted.unsigned_abs().min(8) as usize;
    let all = if wanted < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(all[8 - digits..].to_owned())
}

/// Builds the library's table.
pub fn library(lua: &Lua, state: &Shared) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, operation) in OPERATIONS {
        let shared = Rc::clone(state);
        let function = move |lua: &Lua, args: Variadic<Value>| {
            let result = operation(&args, name).map_err(|problem| fail(lua, &shared, &problem))?;
            Ok(f64::from(result))
        };
        table.set(name, lua.create_function(function)?)?;
    }
    let shared = Rc::clone(state);
    let tohex =
        move |lua: &Lua, args: Variadic<Value>| hexadecimal(&args).map_err(|problem| fail(lua, &shared, &problem));
    table.set("tohex", lua.create_function(tohex)?)?;
    Ok(table)
}
