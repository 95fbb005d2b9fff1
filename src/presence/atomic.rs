//! The atomics that a mark is made of. The model's test puts others in their place.

pub use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
