//! `[limits]`: bounds on what one client, or all of them, may take.

use super::row::{GIB, HOUR, Kind::*, section};

section! {
    [limits]

    /// Clients of this server. Further ones get a 503.
    /// Warning: each takes a file descriptor (LimitNOFILE), three over TLS or on /events. When they run
    /// out first, new clients get a 503 that says so.
    clients = 100000: Int(1, 100_000_000), live;

    /// Of those, clients from one address, or from one IPv6 network of 64 bits. Further ones get a 429.
    /// 0 means no limit.
    /// Warning: behind a proxy that is not in server.trusted_proxies, every client has its address.
    clients_per_address = 0: Int(0, 100_000_000), live;

    /// Bytes that may wait for one client that reads too slowly. On a channel that delivers every message,
    /// the client is then closed (4001); on one that delivers the latest, nothing piles up. A message
    /// longer than this is not relayed.
    /// Warning: a burst larger than this plus the kernel's own buffers also closes clients that read at an
    /// ordinary pace.
    client_buffer = "1MiB": Size(4 << 10, GIB), live;

    /// Bytes of one message from a client. Above it, the client is closed (1009).
    message = "16KiB": Size(128, 16 << 20), live;

    /// Messages a second from one client, averaged over five seconds. Above it, the client is closed (4003).
    messages_per_second = 50: Int(1, 1_000_000), live;

    /// Channels that one client may be on at once. Joining another is answered with an error.
    channels_per_client = 64: Int(1, 1_000_000), live;

    /// Pushes a second on a channel that delivers the latest value. The first one goes out at once, and the
    /// last one always does.
    pushes_per_second = 10: Int(1, 1000), live;

    /// How long a new connection may take to send its request.
    handshake = "10s": Duration(100, HOUR), live;
}
