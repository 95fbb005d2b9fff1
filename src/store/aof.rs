//! The log on disk: every change in the order in which it was made, as commands in RESP.
//!
//! One file in a folder that one process at a time may use. What a round of the loop changed is
//! appended before its replies leave; how soon it is forced onto the disk, [`Fsync`] says. When the
//! file has doubled since it was last rewritten it is rewritten. Being plain RESP, `redis-cli --pipe < headcount.aof` loads it into any Redis.
//!
//! A write that fails is told: commands that write are refused with `MISCONF` until it succeeds, and
//! under [`Fsync::Always`] those whose changes are not on disk lose their connection, not get an OK.

mod files;
mod log;
pub mod repair;
mod replay;
mod rewrite;
mod syncer;

pub use log::Aof;
