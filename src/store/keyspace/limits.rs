//! How far values may grow.

use crate::store::error::{CommandError, OOM, STRING_TOO_LONG};

/// A string may grow by this much in one step without a check of the memory that is left.
const SMALL_STEP: usize = 64 << 10;

/// How far values may grow in place.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest string, in bytes.
    pub string: usize,
    /// What keys and values may take together, in bytes.
    pub memory: usize,
}

impl Default for Limits {
    /// None but Redis's own, for a log that is replayed.
    fn default() -> Self {
        Self { string: 512 << 20, memory: usize::MAX }
    }
}

impl Limits {
    /// Refuses a string of `len` bytes for which `more` bytes are needed beside those in use, if it may
    /// not grow so far.
    pub fn check_growth(&self, used: usize, len: usize, more: usize) -> Result<(), CommandError> {
        if len > self.string {
            return Err(STRING_TOO_LONG);
        }
        // Small steps are let through: whether there is memory was asked before the command.
        if more > SMALL_STEP && used.saturating_add(more) > self.memory {
            return Err(OOM);
        }
        Ok(())
    }
}
