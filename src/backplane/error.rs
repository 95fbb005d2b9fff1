//! Why a command has no result, and what is affected: one key, the store, or the connection.

use redis::{ErrorKind, RedisError};

/// Why a command has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no connection to the store; the command was not sent.
    #[error("the store is out of reach")]
    Down,
    /// The connection broke or the deadline passed; the command may have been carried out.
    #[error("the connection to the store was lost: {0}")]
    Lost(String),
    /// The store as a whole refuses for now: out of memory, read-only, loading, no permission, or any
    /// other error. The connection stays up, and the command may be sent again.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// The command failed because of what one key holds. Other keys are not affected.
    #[error("a key does not hold what it should: {0}")]
    Key(String),
    /// The command was carried out, but its reply is not of the expected kind, for example because a
    /// key holds bytes that are not text. Other keys are not affected.
    #[error("the store's reply cannot be read: {0}")]
    Reply(String),
}

/// Texts of errors that concern one key. Before version 7, Redis wraps the error of a command in a script
/// into an error of the script itself, so only the text shows what it is about.
const ABOUT_A_KEY: [&str; 5] = ["WRONGTYPE", "not an integer", "not a valid float", "not a float", "would overflow"];
/// Texts of Lua errors about data that a script cannot work with.
const ABOUT_DATA: [&str; 3] = ["attempt to ", "bad argument", "malformed number"];

impl Error {
    /// Whether this concerns one key only, so that everything else goes on.
    pub fn is_of_one_key(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Reply(_))
    }

    /// What the store or the connection said, without our words around it.
    pub fn reason(&self) -> String {
        match self {
            Self::Down => self.to_string(),
            Self::Lost(why) | Self::Refused(why) | Self::Key(why) | Self::Reply(why) => why.clone(),
        }
    }

    /// Tells an error that the store answered from a failure of the connection.
    pub fn of(error: &RedisError) -> Self {
        let text = describe(error);
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension if is_about_a_key(&text) => Self::Key(text),
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused(text),
            ErrorKind::UnexpectedReturnType => Self::Reply(text),
            _ => Self::Lost(text),
        }
    }
}

fn is_about_a_key(text: &str) -> bool {
    let of_a_script = text.contains("user_script") || text.contains("Error running script");
    ABOUT_A_KEY.iter().any(|words| text.contains(words))
        || (of_a_script && ABOUT_DATA.iter().any(|words| text.contains(words)))
}

/// Returns the store's own words in an error that a script got or raised. Before version 7, Redis puts the position
/// in the script before them.
pub fn in_its_own_words(text: &str) -> &str {
    match text.rsplit_once(": -") {
        Some((before, own)) if before.contains("user_script") && own.starts_with(|c: char| c.is_ascii_uppercase()) => {
            own.trim_end()
        }
        _ => text,
    }
}

/// Describes the error in the store's words, without the library's.
fn describe(error: &RedisError) -> String {
    match (error.kind(), error.code(), error.detail()) {
        (ErrorKind::Server(_) | ErrorKind::Extension, Some(code), Some(detail)) => {
            in_its_own_words(&format!("{code} {detail}")).to_owned()
        }
        (ErrorKind::Server(_) | ErrorKind::Extension, Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use redis::{Value, parse_redis_value};

    use super::*;

    /// Returns what an error line from the store becomes.
    fn answered(line: &str) -> Error {
        let value = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        Error::of(&Value::extract_error(value).unwrap_err())
    }

    #[test]
    fn only_what_a_key_holds_is_the_matter_of_that_key() {
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "WRONGTYPE Operation against a key holding the wrong kind of value script: 07d, on @user_script:3.",
            "ERR value is not an integer or out of range",
            "ERR hash value is not an integer",
            "ERR increment or decrement would overflow",
            "ERR Error running script (call to f_1): @user_script:1: WRONGTYPE Operation against a key",
            "ERR user_script:9: attempt to perform arithmetic on a nil value script: 07d, on @user_script:9.",
        ] {
            assert_eq!(answered(line), Error::Key(line.to_owned()), "{line}");
            assert!(answered(line).is_of_one_key(), "{line}");
        }
    }

    #[test]
    fn every_other_error_that_the_store_answers_with_is_the_store_s_own() {
        for line in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "OOM command not allowed when used memory > 'maxmemory'. script: 07d, on @user_script:1.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "NOREPLICAS Not enough good replicas to write.",
            "CLUSTERDOWN Hash slot not served",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "MOVED 3999 127.0.0.1:6381",
            "NOAUTH Authentication required.",
            "EXECABORT Transaction discarded because of previous errors.",
            "ERR max number of clients reached",
            "ERR unknown command 'EVALSHA', with args beginning with: ",
            "SOMETHINGNEW that nobody knows yet",
            "SHORT",
        ] {
            assert_eq!(answered(line), Error::Refused(line.to_owned()), "{line}");
            assert!(!answered(line).is_of_one_key(), "{line}");
        }
    }

    #[test]
    fn an_older_redis_is_taken_by_its_own_words_too() {
        let oom = "OOM command not allowed when used memory > 'maxmemory'.";
        let wrapped = format!("ERR Error running script (call to f_1): @user_script:144: @user_script: 144: -{oom}");
        assert_eq!(answered(&wrapped), Error::Refused(oom.to_owned()));
        assert_eq!(in_its_own_words(&format!("@user_script: 24: -{oom}\r\n")), oom);
        for other in ["ERR value: -1", "ERR user_script:9: -1 is no number", ""] {
            assert_eq!(in_its_own_words(other), other);
        }
    }

    #[test]
    fn what_is_no_answer_is_a_lost_connection() {
        let broken = RedisError::from(std::io::Error::other("broken pipe"));
        assert_eq!(Error::of(&broken), Error::Lost("broken pipe".to_owned()));
    }
}
