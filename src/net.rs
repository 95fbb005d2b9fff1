//! Below the layers: sockets that listen, for clients and for the embedded store alike, and how many
//! clients each address may have.

pub mod conn_limits;
pub mod listener;
