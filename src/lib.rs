//! A live count of who is here, and messages to all of them, in sync across every server.
//!
//! Read the modules in the order in which data flows. Each one knows only the modules after it; data flows back
//! through channels and handles:
//!
//! ```text
//! main → server → http → session → hub → boards, presence → backplane → (RESP) → store
//! ```
//!
//! - [`cli`], [`config`], [`log`]: what a person sets, as typed values; [`manual`]: the man pages.
//! - [`server`], `signals`, [`systemd`]: start the parts from right to left, stop them from left to right, and keep
//!   the service manager informed.
//! - `http`: the accept loop, the routes, the page, the WebSocket handshake.
//! - `session`: one client from open to close.
//! - `hub`: this node's channels and their subscribers; the fan-out.
//! - `boards`: live views of sorted sets.
//! - [`presence`]: how many are here, across all nodes, and how the count repairs itself.
//! - [`backplane`]: scripts, messages and subscriptions over a Redis URL.
//! - [`auth`]: what a token grants; any layer may use it, like [`config`].
//! - [`store`]: the embedded Redis-compatible store, which the backplane reaches like any other.
//! - [`metrics`]: what a node counts about itself; `memory`: returns unused memory; `pulse`: tells whether a loop
//!   still runs; `net`, `glob`, `text`: helpers that several layers need.
//!
//! # Versions side by side
//!
//! Nodes are upgraded one at a time, so two versions must be able to run side by side. They share two things.
//!
//! - The key layout. Its number is in the keys (`headcount:v1:…`) and in the output of `headcount --version`. An
//!   addition keeps the number. A change in the meaning of a key takes the next number: nodes of both layouts then
//!   add to the same totals, each side treats the other as a foreign program, and each withdraws the tallies of its
//!   own dead nodes. While nodes of the old layout still run, a total that was lost entirely cannot be restored
//!   across both layouts; everything else works.
//! - The protocol with clients. A client ignores members that it does not know, and a server answers an unknown
//!   request with an error and keeps serving, so either side may be the newer one. Anything more than an addition
//!   gets its own path beside `/ws`.

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

// The documentation and the page's script are tested against this table.
pub use session::close_code;
