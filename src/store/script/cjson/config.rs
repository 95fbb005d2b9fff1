//! What a script can set in `cjson`, and what its decoder and encoder share.

use mlua::{LightUserData, Value};

/// The deepest nesting that any setting allows; deeper nesting would use too much of the stack.
pub const DEEPEST: usize = 2000;

/// The settings that a script can make.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Whether a sparse table becomes an object rather than an error.
    pub sparse_convert: bool,
    /// A table is sparse if it has more than this many places per value.
    pub sparse_ratio: f64,
    /// A table with no more places than this is never sparse.
    pub sparse_safe: f64,
    /// The deepest nesting that is encoded.
    pub encode_depth: usize,
    /// The deepest nesting that is decoded.
    pub decode_depth: usize,
    /// How many significant digits of a number are encoded.
    pub precision: usize,
    /// Kept only to be returned; nothing depends on it.
    pub keep_buffer: bool,
    /// How numbers that JSON does not have are encoded.
    pub encode_invalid: Invalid,
    /// Whether numbers that JSON does not have are decoded.
    pub decode_invalid: bool,
}

/// How numbers that JSON does not have are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// They are an error.
    Refused,
    /// They become `nan`, `inf` and `-inf`.
    Written,
    /// They become `null`.
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

/// The value that stands for JSON's null, because nil would leave no trace in a table.
pub fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}
