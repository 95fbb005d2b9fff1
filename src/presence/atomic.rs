//! The atomics that a mark is made of. The model's test substitutes its own.

pub use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
