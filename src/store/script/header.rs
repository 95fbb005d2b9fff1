//! What a script declares in its first line: `#!lua flags=no-writes,allow-oom`.

use crate::store::error::CommandError;
use crate::store::resp::split_line;

/// What the first line of a script declares. A script without such a line declares nothing, and is not checked
/// before it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// It must not change anything.
    pub no_writes: bool,
    /// It may run and change keys even when memory is short.
    pub allow_oom: bool,
}

impl Header {
    /// Reads the header of a script, if it has one.
    pub fn parse(source: &[u8]) -> Result<Option<Self>, CommandError> {
        if !source.starts_with(MARK) {
            return Ok(None);
        }
        // Redis treats a script as a C string here, which ends at the first zero byte.
        let end = source.iter().position(|byte| matches!(byte, b'\n' | 0));
        let line = end.filter(|end| source[*end] == b'\n').map(|end| &source[..end]);
        let line = line.ok_or(CommandError::new("ERR Invalid script shebang"))?;
        let words = split_line(line).ok_or(CommandError::new("ERR Invalid engine in script shebang"))?;
        let (engine, options) = words.split_first().ok_or(CommandError::new("ERR Invalid engine in script shebang"))?;
        if engine != b"#!lua" {
            return Err(refusal("Unexpected engine in script shebang", engine));
        }
        let mut header = Self::default();
        for option in options {
            let flags = option.strip_prefix(b"flags=").ok_or_else(|| refusal("Unknown lua shebang option", option))?;
            if !flags.is_empty() {
                flags.split(|byte| *byte == b',').try_for_each(|flag| header.note(flag))?;
            }
        }
        Ok(Some(header))
    }

    fn note(&mut self, flag: &[u8]) -> Result<(), CommandError> {
        match flag {
            b"no-writes" => self.no_writes = true,
            b"allow-oom" => self.allow_oom = true,
            // These have no effect: this store is no replica and no cluster.
            b"allow-stale" | b"no-cluster" | b"allow-cross-slot-keys" => {}
            _ => return Err(refusal("Unexpected flag in script shebang", flag)),
        }
        Ok(())
    }

    /// Whether the script may need memory.
    pub fn takes_memory(self) -> bool {
        !self.allow_oom && !self.no_writes
    }
}

const MARK: &[u8] = b"#!";

fn refusal(problem: &str, word: &[u8]) -> CommandError {
    CommandError::new(format!("ERR {problem}: {}", String::from_utf8_lossy(word)))
}

/// Returns the Lua code of a script. It starts at the end of the header line, so that line numbers stay the same.
pub fn code(source: &[u8]) -> &[u8] {
    let end = source.iter().position(|byte| *byte == b'\n').filter(|_| source.starts_with(MARK));
    &source[end.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_all_options_count_and_the_rest_is_lua() {
        let source = b"#!lua flags=allow-stale \"flags=no-writes,allow-oom\"\r\nreturn 1";
        let header = Header { no_writes: true, allow_oom: true };
        assert_eq!(Header::parse(source).ok(), Some(Some(header)));
        assert_eq!(code(source), b"\nreturn 1");
        assert_eq!((Header::parse(b"return 1").ok(), code(b"return\n1")), (Some(None), &b"return\n1"[..]));
    }

    #[test]
    fn a_header_must_end_before_the_first_zero() {
        assert!(Header::parse(b"#!lua\0\nreturn 1").is_err());
        assert!(Header::parse(b"#!lua").is_err());
        assert!(Header::parse(b"#!").is_err());
    }
}
