//! HTTP: the accept loop, one table of routes, the page, the WebSocket handshake, health, metrics.
//!
//! In: connections. Out: responses, and upgraded connections for the session on the same thread. This module
//! knows what a request is, but not what a message is. The rules: a refused request gets the reason in one line
//! of plain text; there is a limit on what one address, one connection and all of them together may take.
//!
//! Read `places` (who may come in), `tarpit` (who may not) and `context` (what a request may know) first, then
//! `accept`, `connection` and `routes`, then the modules that answer requests.

pub mod accept;
mod admission;
mod assets;
mod bridge;
mod client_ip;
mod connection;
mod context;
mod credentials;
mod events;
mod handshake;
mod health;
mod host;
mod messages;
mod places;
mod problem;
mod proxy_protocol;
mod query;
mod reply;
pub mod routes;
mod stream;
mod takeover;
mod tarpit;
mod visitor;

pub use context::App;
pub use places::{ANSWERED, Descriptors};
