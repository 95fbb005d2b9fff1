//! Lua scripts: their sources by SHA-1, and the engine that runs them.
//!
//! A script sees Lua 5.1 without files, processes, bytecode or any means to change what it shares with
//! other scripts. It reaches the data through `redis.call`: while it runs, the engine holds the whole
//! [`Data`](super::data::Data) and returns it at the end, so that nobody else can see a script's
//! unfinished work.
//!
//! Any client that may send commands may send scripts, so a script is as hostile as any input. The engine bounds its
//! memory; `ticks` bounds its time by interrupting every loop, including those in the libraries. Nesting and return
//! values are bounded where they are read. `vendor/lua-src/PATCHES.md` lists what was changed in the interpreter for
//! this, and `sandbox.lua` what scripts may safely see, and why.

mod bit;
mod bridge;
mod call;
mod cjson;
mod cmsgpack;
mod convert;
mod header;
mod library;
mod random;
mod reply;
mod session;
mod sources;
mod structs;
mod ticks;
mod unguarded;
mod vm;

pub use header::Header;
pub use session::{Permission, Progress, ScriptVerdict};
pub use sources::{Scripts, sha1_hex};
pub use vm::Vm;
