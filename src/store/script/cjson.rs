//! The `cjson` library: JSON text to Lua values and back, as in lua-cjson 2.1.
//!
//! The settings that a script makes last until it ends.

use std::rc::Rc;

use mlua::{Lua, Table, Value, Variadic};

use super::library::{Builder, bad_argument, fail, number_argument, string_argument};
use super::session::Shared;

mod config;
mod decode;
mod encode;

pub use config::Config;

use config::{Invalid, null};

const MOST: f64 = i32::MAX as f64;

type Setter = fn(&mut Config, &[Value]) -> Result<Vec<Setting>, String>;

/// The value of a setting, as its setter returns it.
enum Setting {
    Flag(bool),
    Number(f64),
    Text(&'static str),
}

const SETTERS: [(&str, Setter); 7] = [
    ("encode_sparse_array", |config, args| {
        set_flag(&mut config.sparse_convert, args, "encode_sparse_array")?;
        set_number(&mut config.sparse_ratio, args, 2, "encode_sparse_array", MOST)?;
        set_number(&mut config.sparse_safe, args, 3, "encode_sparse_array", MOST)?;
        let numbers = [config.sparse_ratio, config.sparse_safe].map(Setting::Number);
        Ok([Setting::Flag(config.sparse_convert)].into_iter().chain(numbers).collect())
    }),
    ("encode_max_depth", |config, args| set_count(&mut config.encode_depth, args, "encode_max_depth", MOST)),
    ("decode_max_depth", |config, args| set_count(&mut config.decode_depth, args, "decode_max_depth", MOST)),
    ("encode_number_precision", |config, args| set_count(&mut config.precision, args, "encode_number_precision", 14.0)),
    ("encode_keep_buffer", |config, args| {
        set_flag(&mut config.keep_buffer, args, "encode_keep_buffer")?;
        Ok(vec![Setting::Flag(config.keep_buffer)])
    }),
    ("encode_invalid_numbers", |config, args| {
        config.encode_invalid = match args.first() {
            None | Some(Value::Nil) => config.encode_invalid,
            Some(Value::Boolean(true)) => Invalid::Written,
            Some(Value::Boolean(false)) => Invalid::Refused,
            Some(Value::String(text)) => match &*text.as_bytes() {
                b"null" => Invalid::Null,
                b"on" => Invalid::Written,
                b"off" => Invalid::Refused,
                other => {
                    let problem = format!("invalid option '{}'", String::from_utf8_lossy(other));
                    return Err(bad_argument(1, "encode_invalid_numbers", &problem));
                }
            },
            Some(other) => {
                let problem = format!("string expected, got {}", other.type_name());
                return Err(bad_argument(1, "encode_invalid_numbers", &problem));
            }
        };
        Ok(vec![match config.encode_invalid {
            Invalid::Refused => Setting::Flag(false),
            Invalid::Written => Setting::Flag(true),
            Invalid::Null => Setting::Text("null"),
        }])
    }),
    ("decode_invalid_numbers", |config, args| {
        set_flag(&mut config.decode_invalid, args, "decode_invalid_numbers")?;
        Ok(vec![Setting::Flag(config.decode_invalid)])
    }),
];

fn set_flag(flag: &mut bool, args: &[Value], name: &str) -> Result<(), String> {
    if let None | Some(Value::Nil) = args.first() {
        return Ok(());
    }
    if let Some(Value::Boolean(value)) = args.first() {
        *flag = *value;
        return Ok(());
    }
    *flag = match &*string_argument(args, 1, name)? {
        b"on" => true,
        b"off" => false,
        other => return Err(bad_argument(1, name, &format!("invalid option '{}'", String::from_utf8_lossy(other)))),
    };
    Ok(())
}

fn set_number(number: &mut f64, args: &[Value], at: usize, name: &str, most: f64) -> Result<(), String> {
    if matches!(args.get(at - 1), None | Some(Value::Nil)) {
        return Ok(());
    }
    let value = number_argument(args, at, name)?.trunc();
    let least = if name == "encode_sparse_array" { 0.0 } else { 1.0 };
    if !(least..=most).contains(&value) {
        return Err(bad_argument(at, name, &format!("expected integer between {least} and {most}")));
    }
    *number = value;
    Ok(())
}

fn set_count(count: &mut usize, args: &[Value], name: &str, most: f64) -> Result<Vec<Setting>, String> {
    let mut number = *count as f64;
    set_number(&mut number, args, 1, name, most)?;
    *count = number as usize;
    Ok(vec![Setting::Number(number)])
}

/// Builds the library's table.
pub fn library(lua: &Lua, state: &Shared) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set("null", null())?;
    table.set("_NAME", "cjson")?;
    table.set("_VERSION", "2.1.0")?;
    let shared = Rc::clone(state);
    let encode = move |lua: &Lua, args: Variadic<Value>| {
        let [value] = &args[..] else {
            return Err(fail(lua, &shared, &bad_argument(1, "encode", "expected 1 argument")));
        };
        let mut out = Builder::new(&shared);
        match encode::encode(&shared.json.get(), value, &mut out, 0) {
            Ok(()) => lua.create_string(&out.text),
            Err(problem) => Err(fail(lua, &shared, &problem)),
        }
    };
    table.set("encode", lua.create_function(encode)?)?;
    let shared = Rc::clone(state);
    let decode = move |lua: &Lua, args: Variadic<Value>| {
        let text = match &args[..] {
            [_] => string_argument(&args, 1, "decode"),
            _ => Err(bad_argument(1, "decode", "expected 1 argument")),
        };
        let text = text.map_err(|problem| fail(lua, &shared, &problem))?;
        decode::decode(lua, &shared, &text)?.map_err(|problem| fail(lua, &shared, &problem))
    };
    table.set("decode", lua.create_function(decode)?)?;
    for (name, set) in SETTERS {
        let shared = Rc::clone(state);
        let setter = move |lua: &Lua, args: Variadic<Value>| {
            let mut config = shared.json.get();
            let settings = set(&mut config, &args).map_err(|problem| fail(lua, &shared, &problem))?;
            shared.json.set(config);
            let values: mlua::Result<Variadic<Value>> = settings
                .into_iter()
                .map(|setting| {
                    Ok(match setting {
                        Setting::Flag(flag) => Value::Boolean(flag),
                        Setting::Number(number) => Value::Number(number),
                        Setting::Text(text) => Value::String(lua.create_string(text)?),
                    })
                })
                .collect();
            values
        };
        table.set(name, lua.create_function(setter)?)?;
    }
    Ok(table)
}
