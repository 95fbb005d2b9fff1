//! `[session]`: how silent clients are found.

use super::row::{HOUR, ValueType::*, section};

section! {
    /// A client that vanishes without a word is out of the count after ping + pong.
    [session]

    /// How often a client is pinged.
    ping = "25s": Duration(100, HOUR), live;

    /// How long a client may take to answer a ping.
    pong = "10s": Duration(100, HOUR), live;

    /// How long a client that is being closed may take to answer the close frame.
    close = "5s": Duration(100, 60_000), live;
}
