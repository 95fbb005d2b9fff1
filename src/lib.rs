//! How many people are here, live, and any message to all of them, in sync across every server.
//!
//! Read the modules in the order in which data flows; each knows only what stands after it, and
//! what comes back comes through channels and handles:
//!
//! ```text
//! main → server → http → session → hub → presence → backplane → (RESP) → store
//! ```
//!
//! - [`cli`], [`config`], [`log`]: what a person sets, as typed values; [`manual`]: how they read it.
//! - [`server`], [`signals`], [`systemd`]: start from right to left, stop from left to right, and
//!   keep the service manager told.
//! - [`http`]: the accept loop, the routes, the page, the WebSocket handshake.
//! - [`session`]: one client from open to close.
//! - [`hub`]: channels and their subscribers on this node; the fan-out.
//! - [`presence`]: how many are here, over all nodes, and how the count heals.
//! - [`backplane`]: scripts, messages and subscriptions over a Redis URL.
//! - [`store`]: the embedded Redis-compatible store, which the backplane reaches like any other.
//! - [`metrics`]: what a node counts about itself; [`memory`]: giving it back.
//!
//! # Versions side by side
//!
//! Nodes are upgraded one after the other, so two versions must bear each other. They share two things.
//!
//! - The key layout, whose number is in the keys (`headcount:v1:…`) and in `headcount --version`. What
//!   only adds to it keeps the number. A change in what a key means takes the next number: nodes of both
//!   layouts then add to the same totals, each as the other program that a total is open to, and each
//!   withdraws its own dead. Until the last node of the old layout is gone, only a total that was lost
//!   as a whole is not made good over both.
//! - What clients say and hear. A client ignores members of an object that it does not know, and a
//!   server answers an unknown request with an error and serves on, so that either may be newer. What
//!   is more than an addition gets another path beside `/ws`.

pub mod backplane;
pub mod cli;
pub mod config;
pub mod http;
pub mod hub;
pub mod log;
pub mod manual;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod presence;
pub mod server;
pub mod session;
pub mod signals;
pub mod store;
pub mod systemd;
