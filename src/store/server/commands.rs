//! The bodies of the server's own commands, by topic.

pub mod acl;
pub mod admin;
pub mod client;
pub mod command;
pub mod connection;
pub mod info;
pub mod scripts;
pub mod slow;
pub mod subscribe;
pub mod tracking;
pub mod transactions;
