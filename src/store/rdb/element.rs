//! What is reckoned for the elements of a value that is read.

/// What an element takes at most beside its bytes.
pub const ELEMENT: usize = 80;
