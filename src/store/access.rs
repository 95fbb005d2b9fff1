//! What users of the store may do, as Redis's access lists say it.
//!
//! Without users there is nothing of this: a client that may do everything has no [`Access`] at all, so that it
//! costs nothing to ask. The rules are read once, at the start.

mod known;
mod rights;
mod rules;

pub use known::{Known, categories_of_subcommand};
pub use rights::{Access, Denied, KeyPattern, sort_denied};
pub use rules::{BadRule, MISSING, read};
