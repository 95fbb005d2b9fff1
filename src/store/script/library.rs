//! What the libraries written in Rust have in common: limits on what they build, and how they fail.

use mlua::{Lua, Value};

use super::session::{ScriptState, Shared, Thrown};
use crate::store::strtod::c_number;

/// How many steps are made between two looks at the clock.
const LOOK_EVERY: usize = 1024;

/// Text that a library builds for a script, within the script's memory and time limits.
pub struct Builder<'a> {
    state: &'a ScriptState,
    /// What has been built so far.
    pub text: Vec<u8>,
    steps: usize,
}

impl<'a> Builder<'a> {
    /// Creates an empty builder.
    pub fn new(state: &'a ScriptState) -> Self {
        Self { state, text: Vec::new(), steps: 0 }
    }

    /// Checks whether the next step is allowed, because the engine does not see what Rust builds.
    pub fn step(&mut self, bytes: usize) -> Result<(), String> {
        self.steps += 1;
        if self.steps.is_multiple_of(LOOK_EVERY)
            && let Some(ended) = self.state.look()
        {
            return Err(ended.to_owned());
        }
        if self.text.len() + bytes > self.state.memory.get() {
            return Err("not enough memory".to_owned());
        }
        Ok(())
    }
}

/// Makes one of the store's functions throw `text` into the script that has called it.
pub fn throw(shared: &Shared, text: String, thrown: Thrown) -> mlua::Error {
    if let Ok(mut session) = shared.session.try_borrow_mut()
        && let Some(session) = session.as_mut()
    {
        session.thrown = Some((text, thrown));
    }
    mlua::Error::RuntimeError(String::new())
}

/// Returns the current line of the script, from the nearest frame that belongs to it.
pub fn position(lua: &Lua) -> Option<usize> {
    const DEEPEST: usize = 16;
    (1..DEEPEST).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let is_script = frame.source().source.is_some_and(|source| source == "@user_script");
            is_script.then(|| frame.current_line()).flatten()
        })?
    })
}

/// Throws a text with the position in front, as Lua's own libraries do.
pub fn fail(lua: &Lua, shared: &Shared, problem: &str) -> mlua::Error {
    let place = position(lua).map_or(String::new(), |line| format!("user_script:{line}: "));
    throw(shared, format!("{place}{problem}"), Thrown::Text)
}

/// Returns the text for a bad argument.
pub fn bad_argument(at: usize, function: &str, problem: &str) -> String {
    format!("bad argument #{at} to '{function}' ({problem})")
}

/// Returns a Lua number, in whichever form the engine holds it.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// Reads an argument as a number, by Lua's rules.
pub fn number_argument(args: &[Value], at: usize, function: &str) -> Result<f64, String> {
    let value = args.get(at - 1);
    value.and_then(to_number).ok_or_else(|| {
        let kind = value.map_or("no value", Value::type_name);
        bad_argument(at, function, &format!("number expected, got {kind}"))
    })
}

/// Converts a value to a number, if it is one or its text reads as one.
pub fn to_number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => {
            let bytes = text.as_bytes();
            let (number, length) = c_number(bytes.trim_ascii())?;
            (length == bytes.trim_ascii().len()).then_some(number)
        }
        other => number(other),
    }
}

/// Reads an argument as a string, by Lua's rules: numbers are formatted.
pub fn string_argument(args: &[Value], at: usize, function: &str) -> Result<Vec<u8>, String> {
    match args.get(at - 1) {
        Some(Value::String(text)) => Ok(text.as_bytes().to_vec()),
        Some(value @ (Value::Integer(_) | Value::Number(_))) => {
            Ok(crate::store::number::format_general(number(value).unwrap_or(0.0), 14).into_bytes())
        }
        value => {
            let kind = value.map_or("no value", Value::type_name);
            Err(bad_argument(at, function, &format!("string expected, got {kind}")))
        }
    }
}
