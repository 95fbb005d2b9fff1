//! Who may do what: tokens.

mod crowds;
mod elsewhere;
mod joining;
mod keys;
mod publishing;
mod revoking;
mod table;
