//! Why a command did not reply: Redis's error texts, and blocking.

use std::borrow::Cow;

use super::small_bytes::SmallBytes;

/// What a command body returns: `Ok` if it has replied, otherwise why it has not.
pub type Outcome = Result<(), CommandError>;

/// Why a command has not replied.
#[derive(Debug, Clone)]
pub enum CommandError {
    /// An error reply, which starts with its code.
    Error(Cow<'static, str>),
    /// The keys hold nothing yet; run the command again when one of them changes.
    Block(Box<Block>),
}

/// What a blocked client waits for.
#[derive(Debug, Clone)]
pub struct Block {
    /// The keys, any of which may end the wait.
    pub keys: Vec<SmallBytes>,
    /// The type that a key must have to end the wait, as `TYPE` reports it.
    pub type_name: &'static str,
    /// When to give up, in milliseconds since 1970.
    pub until: Option<u64>,
    /// Whether a timeout is answered with a null array rather than a null.
    pub null_array: bool,
    /// The command to run after the wait, if it differs from the original one.
    pub instead: Option<Vec<SmallBytes>>,
    /// Whether the wait ends with an error when a key is gone or has another type.
    pub needs_key: bool,
}

impl CommandError {
    /// Creates an error with a custom text.
    pub fn new(text: impl Into<String>) -> Self {
        Self::Error(Cow::Owned(text.into()))
    }

    const fn fixed(text: &'static str) -> Self {
        Self::Error(Cow::Borrowed(text))
    }
}

/// The error for a command with too few or too many arguments.
pub fn wrong_arity(name: &str) -> CommandError {
    CommandError::new(format!("ERR wrong number of arguments for '{name}' command"))
}

macro_rules! errors {
    ($($name:ident = $text:literal;)*) => {
        $(#[doc = concat!("`", $text, "`")] pub const $name: CommandError = CommandError::fixed($text);)*
    };
}

errors! {
    WRONGTYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    SYNTAX = "ERR syntax error";
    NOT_AN_INTEGER = "ERR value is not an integer or out of range";
    NOT_A_FLOAT = "ERR value is not a valid float";
    NO_SUCH_KEY = "ERR no such key";
    BAD_COUNT = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    OUT_OF_RANGE = "ERR index out of range";
    NOT_POSITIVE = "ERR value is out of range, must be positive";
    OVERFLOW = "ERR increment or decrement would overflow";
    NAN_OR_INFINITY = "ERR increment would produce NaN or Infinity";
    STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    MIN_OR_MAX_NOT_FLOAT = "ERR min or max is not a float";
    BAD_LEX_RANGE = "ERR min or max not valid string range item";
    BAD_DB_INDEX = "ERR DB index is out of range";
    SAME_OBJECT = "ERR source and destination objects are the same";
    BAD_STREAM_ID = "ERR Invalid stream ID specified as stream command argument";
    BAD_FORMAT = "ERR Bad data format";
    BAD_CHECKSUM = "ERR DUMP payload version or checksum are wrong";
    BAD_CURSOR = "ERR invalid cursor";
    NOSCRIPT = "NOSCRIPT No matching script. Please use EVAL.";
    OOM = "OOM command not allowed when used memory > 'maxmemory'.";
    BUSY = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    FULL = "ERR max number of clients reached";
    NOAUTH = "NOAUTH Authentication required.";
    EXECABORT = "EXECABORT Transaction discarded because of previous errors.";
    LIMIT_NEGATIVE = "ERR LIMIT can't be negative";
    TIMEOUT_NOT_FLOAT = "ERR timeout is not a float or out of range";
    TIMEOUT_NEGATIVE = "ERR timeout is negative";
    NUMKEYS_NOT_POSITIVE = "ERR numkeys should be greater than 0";
    COUNT_NOT_POSITIVE = "ERR count should be greater than 0";
}
