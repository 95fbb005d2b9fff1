//! Who may do what: tokens.

mod joining;
mod publishing;
mod table;
