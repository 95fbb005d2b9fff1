//! A live count of who is here, and any message to all of them, in sync across every server.
//!
//! Read the modules in the order in which data flows. Each knows only those after it; what comes back
//! comes through channels and handles:
//!
//! ```text
//! main → server → http → session → hub → boards, presence → backplane → (RESP) → store
//! ```
//!
//! - [`cli`], [`config`], [`log`]: what a person sets, as typed values; [`manual`]: the man pages.
//! - [`server`], `signals`, [`systemd`]: starting from right to left, stopping from left to right, and
//!   keeping the service manager informed.
//! - `http`: the accept loop, the routes, the page, the WebSocket handshake.
//! - `session`: one client from open to close.
//! - `hub`: channels and their subscribers on this node; the fan-out.
//! - `boards`: sorted sets, as they change.
//! - [`presence`]: how many are here, over all nodes, and how the count heals.
//! - [`backplane`]: scripts, messages and subscriptions over a Redis URL.
//! - [`auth`]: what a token grants; any layer may ask, as it may ask [`config`].
//! - [`store`]: the embedded Redis-compatible store, which the backplane reaches like any other.
//! - [`metrics`]: what a node counts about itself; `memory`: giving memory back; `pulse`: whether a
//!   loop still goes round; `net`, `glob`, `text`: what several layers need.
//!
//! # Versions side by side
//!
//! Nodes are upgraded one after the other, so two versions must be able to run side by side. They share two things.
//!
//! - The key layout, whose number is in the keys (`headcount:v1:…`) and in `headcount --version`. An
//!   addition keeps the number. A change in what a key means takes the next one: nodes of both layouts
//!   then add to the same totals, each side as another program to the other, and each withdraws its own
//!   dead. Until the last node of the old layout is gone, only a total that was lost as a whole is not
//!   restored over both.
//! - What clients say and hear. A client ignores members that it does not know, and a server answers an
//!   unknown request with an error and serves on, so that either may be newer. Anything more than an
//!   addition gets a path of its own beside `/ws`.

pub mod auth;
pub mod backplane;
mod boards;
pub mod cli;
pub mod config;
mod glob;
mod http;
mod hub;
pub mod log;
pub mod manual;
mod memory;
pub mod metrics;
mod net;
pub mod presence;
mod pulse;
pub mod server;
mod session;
mod signals;
pub mod store;
pub mod systemd;
mod text;

// The table that the documentation and the page's script are held to.
pub use session::close_code;
