//! A connection that is to be HTTP's no more: what it becomes.

use bytes::Bytes;

use super::admission::Admitted;
use crate::hub::Known;
use crate::net::address_limits::Permit;
use crate::net::household::Household;
use crate::net::seats::Held;
use crate::session::Request;

/// What takes a connection over.
pub struct Takeover {
    /// What it becomes.
    pub kind: Kind,
    /// What its client asks for.
    pub request: Request,
    /// Who it is and what it may do, if it says so.
    pub known: Option<Box<Known>>,
    /// Where it comes from.
    pub household: Household,
    /// Its place among the clients of its address, where that has a limit.
    pub permit: Option<Box<Permit>>,
    /// The pair of sockets that carries its bytes, where one does.
    pub pair: Option<Held>,
}

/// What a connection can become.
pub enum Kind {
    /// A WebSocket, whose first bytes are this answer. The session sends it, in one write with the
    /// answers to the first joins.
    Socket(Bytes),
    /// A stream of events, which begins with this.
    Events(String),
}

impl Takeover {
    /// For a client that was admitted.
    pub fn new(kind: Kind, admitted: Admitted) -> Box<Self> {
        let Admitted { request, known, household, permit, pair } = admitted;
        Box::new(Self { kind, request, known, household, permit, pair })
    }
}
