//! Below the layers: sockets that listen, for clients and for the embedded store alike, and what each
//! address, or all of them, may take.

pub mod address_limits;
pub mod household;
pub mod listener;
pub mod seats;
