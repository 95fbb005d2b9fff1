//! The server: its state, and the path of a request through it.
//!
//! The loop drives `core`. `input`, `dispatch` and `call` lead from bytes to a command; `commands` holds the server's
//! own commands, which are listed in `table`. All of them work on the [`StoreServer`] in `state`.

mod auth_guard;
mod blocking;
mod call;
mod client;
mod commands;
mod core;
mod delivery;
mod dispatch;
mod input;
mod late;
mod monitors;
mod pause;
mod pausing;
mod permissions;
mod persistence;
mod rates;
mod refused;
mod rest;
mod room;
mod secrets;
mod slow;
mod state;
mod stats;
mod table;
mod tracking;
mod tracks;
mod waiting;
mod watches;

pub use client::Endpoints;
pub use core::{Core, Engine};
pub use state::{Body, Busy, Contents, Directory, Row, StoreServer, UNREAD, UNREAD_REPLIES};
pub use table::check_user;
