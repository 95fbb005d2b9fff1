//! headcount
pub mod store;
