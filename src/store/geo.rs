//! Places on the earth as numbers that sort by nearness, in the way of Redis, and what lies around a place.
//!
//! Longitude and latitude are each cut in half 26 times; the halves that a place is in, in turns, are the bits
//! of its number, which a sorted set keeps as a score. Places of one square so stand next to each other, and a
//! search looks through the square around its middle and the eight around that.

mod area;
mod hash;

pub use area::{Shape, areas};
pub use hash::{Place, distance, name, number, place};
