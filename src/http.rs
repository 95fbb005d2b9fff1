//! HTTP: the accept loop, one table of routes, the page, the WebSocket handshake, health, metrics.
//!
//! In: connections. Out: responses, and upgraded connections to the session of the same thread. It
//! knows what a request is, not what a message is. The rules: a request that is refused is told why in one
//! line of plain text; what an address, a connection and all of them may take has a bound.
//!
//! Read `places` (who may come in), `tarpit` (who may not) and `context` (what a request may know), then `accept`, `connection`
//! and `routes`, then what answers them.

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
