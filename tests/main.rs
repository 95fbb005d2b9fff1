//! Every test is a promise that the product makes, kept on the wire: by the built binary as a
//! process, real Redis servers, real sockets and a real browser.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod redis_itself;
