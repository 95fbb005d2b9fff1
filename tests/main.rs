//! Every test is a promise that the product makes, kept on the wire: by the built binary as a
//! process, real Redis servers, real sockets and a real browser.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod assets;
mod autobahn;
mod behind;
mod boards;
mod browsers;
mod channels;
mod check_connect;
mod config;
mod count;
mod damage;
mod deploy;
mod embedded;
mod events;
mod faults;
mod fd_budget;
mod followed_list;
mod frames;
mod handshake;
mod health;
mod holes;
mod keepalive;
mod members;
mod neighbour;
mod nonsense;
mod outage;
mod package;
mod people;
mod protocol;
mod proxies;
mod redis_itself;
mod refusing;
mod relay;
mod reload;
mod script;
mod secrets;
mod sentinel;
mod slow;
mod stop;
mod store_contract;
mod store_tls;
mod storm;
mod strangers;
mod systemd;
mod tls;
mod tokens;
mod torture;
mod trending;
mod visitors;
mod wire_record;
