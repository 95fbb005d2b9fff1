//! The server: what it knows, and the way of a request through it.
//!
//! `core` is what the loop drives; `input`, `dispatch` and `call` are the way from bytes to a command;
//! `commands` are the server's own, found in `table`. All of them work on the [`Server`] in `state`.

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
pub use state::{Body, Busy, Contents, Directory, Row, Server, UNREAD, UNREAD_REPLIES};
pub use table::check_user;
