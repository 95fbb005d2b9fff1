//! Access control: what each user of the store may do, as defined by Redis's access lists.
//!
//! A client that may do everything has no [`Access`] at all, so without users the checks cost nothing.
//! The rules are read once, at startup.

mod known;
mod rights;
mod rules;
#[cfg(test)]
mod rules_tests;

pub use known::{KnownCommand, categories_of_subcommand};
pub use rights::{Access, Denied, KeyPattern, sort_denied};
pub use rules::{BadRule, MISSING, read};
