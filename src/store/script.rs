//! Lua scripts: their sources by SHA-1, and the engine that runs them.
//!
//! A script sees Lua 5.1 without files, processes, bytecode or the means to change what it shares
//! with other scripts. It reaches the data through `redis.call`: while it runs, the
//! [`Data`](super::data::Data) is handed over to the engine as a whole and given back at its end, so
//! that nobody else can see a script's work half done.
//!
//! Whoever may send a command may send a script, so a script is as hostile as any input. Its memory is
//! bounded by the engine, its time by `ticks`, which interrupts every loop, those of the libraries
//! included; what it may nest and return is bounded where it is read. `vendor/lua-src/PATCHES.md` lists
//! what was changed in the interpreter for that, and `sandbox.lua` what is safe to be seen, and why.

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
pub use session::{Order, Permission, Progress};
pub use sources::{Scripts, sha1_hex};
pub use vm::Vm;
