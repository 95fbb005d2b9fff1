//! One client from open to close: what it says, how it is kept alive, why it is closed.
//!
//! In: upgraded connections from HTTP, and the hub's deliveries. Out: joins and leaves to the hub, replies
//! and close frames to the client. A worker runs all sessions of one thread in one loop; an idle session
//! holds no buffer and no task. The rule: a client's mistake is answered, and disturbs nobody else.

mod actions;
mod checks;
pub mod close_code;
mod drain;
mod event_loop;
mod expiries;
mod frames;
mod keepalive;
mod machine;
mod order;
mod orders;
mod outbound;
mod poller;
mod publishing;
mod request;
mod rest;
mod token_bucket;
mod tokens;
mod worker;

use std::net::TcpStream;

use bytes::Bytes;

use crate::hub::Known;
use crate::net::household::Household;
use crate::net::seats::Seat;
pub use event_loop::run;
pub use order::Order;
pub use outbound::Outbound;
pub use request::Request;
pub use worker::Worker;

/// How many connections may wait for a worker to take them in.
pub const ATTACHES: usize = 256;
/// How many orders may wait for a worker.
pub const ORDERS: usize = 8;

/// A connection that has become a WebSocket.
#[derive(Debug)]
pub struct NewClient {
    /// The connection, non-blocking: a stream socket of any family, since only `send`, `recv` and
    /// `shutdown` are called on it.
    pub io: TcpStream,
    /// Who it is and what it may do, if it said so.
    pub known: Option<Box<Known>>,
    /// Where it comes from.
    pub household: Household,
    /// Its seat, which is still counted as a connection's and not as a client's.
    pub seat: Seat,
    /// What it is sent before anything else.
    pub head: Bytes,
    /// What the client has already sent after its request.
    pub early: Bytes,
    /// What it asks for.
    pub request: Request,
}
