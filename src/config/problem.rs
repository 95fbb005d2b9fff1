//! The mistakes in a configuration, all reported at once.

use std::fmt;

/// One mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or "the environment", or "the command line".
    pub source: String,
    /// The key's full name; empty when the source as a whole cannot be read.
    pub key: String,
    /// The value as it was given, or `***` if it may be a secret.
    pub value: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.is_empty(), self.value.is_empty()) {
            (true, _) => write!(f, "{}: {}", self.source, self.message),
            (_, true) => write!(f, "{}: {}: {}", self.source, self.key, self.message),
            _ => {
                let Self { source, key, value, message } = self;
                write!(f, "{source}: {key} = {value}: {message}")
            }
        }
    }
}

/// Every mistake that was found, in one error.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} mistake{}:\n{}", .0.len(), if .0.len() == 1 { "" } else { "s" },
    .0.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n"))]
pub struct Invalid(pub Vec<Problem>);
