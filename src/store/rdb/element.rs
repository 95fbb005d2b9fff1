//! The memory that is assumed for the elements of a value that is being read.

/// The most bytes of memory that an element takes besides its content.
pub const ELEMENT: usize = 80;
