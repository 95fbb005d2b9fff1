//! How far values may grow.

use crate::store::error::{CommandError, OOM, STRING_TOO_LONG};

/// A string may grow by this many bytes in one step without a check of the memory that is left.
const SMALL_STEP: usize = 64 << 10;

/// How far values may grow.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest string, in bytes.
    pub string: usize,
    /// The memory that keys and values may take together, in bytes.
    pub memory: usize,
}

impl Default for Limits {
    /// Only Redis's own limit on strings, for replaying a log.
    fn default() -> Self {
        Self { string: 512 << 20, memory: usize::MAX }
    }
}

impl Limits {
    /// Fails if a string may not grow to `len` bytes, for which `more` bytes are needed besides the `used` ones.
    pub fn check_growth(&self, used: usize, len: usize, more: usize) -> Result<(), CommandError> {
        if len > self.string {
            return Err(STRING_TOO_LONG);
        }
        // Small steps are allowed, because memory was already checked before the command.
        if more > SMALL_STEP && used.saturating_add(more) > self.memory {
            return Err(OOM);
        }
        Ok(())
    }
}
