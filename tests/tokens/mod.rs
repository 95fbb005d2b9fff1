//! Who may do what: tokens.

mod joining;
mod table;
