//! Below the layers: listening sockets for clients and for the embedded store, the limits for each address and
//! for all together, and one outgoing path, which fetches a document over TLS.

pub mod address_limits;
pub mod household;
pub mod https;
pub mod listener;
mod packet_filter;
pub mod seats;
