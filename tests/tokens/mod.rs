//! Who may do what: tokens.

mod table;
