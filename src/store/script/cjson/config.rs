//! What a script can set in `cjson`, and what the reading and the writing share.

use mlua::{LightUserData, Value};

/// The deepest nesting whatever a script sets: what is deeper would take too much of the stack.
pub const DEEPEST: usize = 2000;

/// What can be set.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Whether a table with gaps becomes an object rather than an error.
    pub sparse_convert: bool,
    /// How many times more places than values make a table one with gaps.
    pub sparse_ratio: f64,
    /// A table of so few places never is one.
    pub sparse_safe: f64,
    /// The deepest nesting that is written.
    pub encode_depth: usize,
    /// The deepest nesting that is read.
    pub decode_depth: usize,
    /// How many digits of a number are written.
    pub precision: usize,
    /// Kept to be returned; nothing depends on it.
    pub keep_buffer: bool,
    /// What becomes of such numbers in what is written.
    pub encode_invalid: Invalid,
    /// Whether such numbers are read.
    pub decode_invalid: bool,
}

/// What becomes of numbers that JSON does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// It is an error.
    Refused,
    /// They are written as `nan`, `inf` and `-inf`.
    Written,
    /// They are written as null.
    Null,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2.0,
            sparse_safe: 10.0,
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

/// What stands for JSON's null, since nil would leave no trace in a table.
pub fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}
