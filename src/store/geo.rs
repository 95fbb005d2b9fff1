//! Places on the earth as numbers that sort by nearness, as in Redis, and searches around a place.
//!
//! Longitude and latitude are each halved 26 times. The halves that a place falls into, interleaved, are the bits of
//! its number, which a sorted set keeps as a score. So places in the same square are next to each other, and a search
//! looks through the square around its centre and that square's eight neighbours.

mod area;
mod hash;

pub use area::{Shape, areas};
pub use hash::{Coordinates, distance, name, number, place};
