//! The log on disk: every change in the order in which it was made, as commands in RESP.
//!
//! It is one file in a folder that only one process may use at a time. The changes of a round are appended before its
//! replies are sent; [`Fsync`] says how soon they are forced to disk. When the file has doubled in size since its last
//! rewrite, it is rewritten. It is plain RESP, so `redis-cli --pipe < headcount.aof` loads it into any Redis.
//!
//! A failed write is reported to clients: commands that write are refused with `MISCONF` until a write succeeds, and
//! under [`Fsync::Always`] a client whose changes are not on disk loses its connection instead of getting an OK.

mod files;
mod log;
pub mod repair;
mod replay;
mod rewrite;
mod syncer;

pub use log::Aof;
