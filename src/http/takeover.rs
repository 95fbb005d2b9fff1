//! A connection that leaves HTTP, and what it becomes.

use bytes::Bytes;

use super::admission::Admitted;
use crate::hub::Known;
use crate::net::address_limits::Permit;
use crate::net::household::Household;
use crate::net::seats::Held;
use crate::session::Request;

/// A connection to take over.
pub struct Takeover {
    /// What it becomes.
    pub kind: TakeoverKind,
    /// Its client's request.
    pub request: Request,
    /// Who the client is and what it may do, if it says.
    pub known: Option<Box<Known>>,
    /// The household it connects from.
    pub household: Household,
    /// Its place among the clients of its address, if that address has a limit.
    pub permit: Option<Box<Permit>>,
    /// The socket pair that carries its bytes, if there is one.
    pub pair: Option<Held>,
}

/// What a connection can become.
pub enum TakeoverKind {
    /// A WebSocket, with its handshake response. The session sends the response in one write with the answers
    /// to the first joins.
    Socket(Bytes),
    /// An event stream, with its first bytes.
    Events(String),
}

impl Takeover {
    /// Returns the takeover for an admitted client.
    pub fn new(kind: TakeoverKind, admitted: Admitted) -> Box<Self> {
        let Admitted { request, known, household, permit, pair } = admitted;
        Box::new(Self { kind, request, known, household, permit, pair })
    }
}
