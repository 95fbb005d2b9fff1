//! Below the layers: sockets that listen, for clients and for the embedded store alike, and what each
//! address, or all of them, may take; and one way out, to fetch a document over TLS.

pub mod address_limits;
pub mod household;
pub mod https;
pub mod listener;
mod packet_filter;
pub mod seats;
