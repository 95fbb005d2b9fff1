//! How many people are here, live, and any message to all of them, in sync across every server.
//!
//! Read the modules in the order in which data flows; each knows only what stands after it, and
//! what comes back comes through channels and handles:
//!
//! ```text
//! main → server → http → session → hub → census → backplane → (RESP) → store
//! ```
//!
//! - [`cli`], [`config`], [`log`]: what a person sets, as typed values.
//! - [`server`], [`shutdown`], [`systemd`]: start from right to left, stop from left to right, and
//!   keep the service manager told.
//! - [`http`]: the accept loop, the routes, the page, the WebSocket handshake.
//! - [`session`]: one client from open to close.
//! - [`hub`]: channels and their subscribers on this node; the fan-out.
//! - [`census`]: how many are here, over all nodes, and how the count heals.
//! - [`backplane`]: scripts, messages and subscriptions over a Redis URL.
//! - [`store`]: the embedded Redis-compatible store, which the backplane reaches like any other.
//! - [`metrics`]: what a node counts about itself.
//!
//! The wire format of clients and the key layout (`headcount:v1:…`) are the two things that nodes of
//! different versions share. A later layout takes another number in its keys; clients ignore keys of
//! a message that they do not know.

pub mod backplane;
pub mod census;
pub mod cli;
pub mod config;
pub mod http;
pub mod hub;
pub mod log;
pub mod metrics;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod store;
pub mod systemd;
