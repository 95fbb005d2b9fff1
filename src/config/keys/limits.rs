//! `[limits]`: bounds on what one client, or all of them, may take.

use super::row::{GIB, HOUR, ValueType::*, section};

section! {
    [limits]

    /// Clients of this server. Further ones get a 503.
    /// Warning: each takes a file descriptor (LimitNOFILE), three over TLS or on /events. When they run
    /// out first, new clients get a 503 that says so.
    clients = 100000: Int(1, 100_000_000), live;

    /// Of those, clients from one address. Further ones get a 429. An IPv6 network of 64 bits counts as one
    /// address, and a site of 48 bits may have four times as many. 0 means no limit. The default leaves room
    /// for an office, a school or a mobile network whose people share one address, and keeps a single
    /// machine from inflating a count for long.
    /// Warning: behind a proxy with a public address that is not in server.trusted_proxies, all clients
    /// together have this limit.
    clients_per_address = 1000: Int(0, 100_000_000), live;

    /// Connections a second from one address, and further requests on open ones. Ten seconds' worth may come
    /// at once, so that an office comes back when a server restarts. Above it, they get a 429, or are held for
    /// a second and hung up on, which over TLS is always so, as a handshake is what costs most. An address that
    /// goes far above it connects to nothing for a second at a time. 0 means no limit.
    connects_per_second = 100: Int(0, 1_000_000), live;

    /// Channels that all clients of one address may join or watch in a second, ten seconds' worth at once.
    /// Above it, the join is answered with an error (rate_limited). 0 means no limit.
    joins_per_second = 1000: Int(0, 1_000_000), live;

    /// Of those, channels that no client of this server is on: each is work for the store.
    new_channels_per_second = 50: Int(0, 1_000_000), live;

    /// Channels that clients of one address were the first on and that are still there. Joining another that
    /// nobody is on is answered with an error (too_many_channels). 0 means no limit.
    channels_per_address = 5000: Int(0, 100_000_000), live;

    /// Messages a second from all clients of one address, ten seconds' worth at once. Above it, they are read
    /// more slowly; nothing is lost. 0 means no limit.
    messages_per_address = 1000: Int(0, 1_000_000), live;

    /// Tokens that all clients of one address may show in a second, ten seconds' worth at once: each has a
    /// signature to be checked. Above it, they get a 429 or an error (rate_limited). 0 means no limit.
    tokens_per_second = 100: Int(0, 1_000_000), live;

    /// Messages that one token (one sub) may publish in a second, ten seconds' worth at once. Above it, they
    /// get a 429 or an error (rate_limited). 0 means no limit.
    publishes_per_second = 100: Int(0, 1_000_000), live;

    /// Addresses that have none of the limits above that are an address's: by default this machine's own and
    /// private ones, which no stranger on the internet has and proxies and containers often do. The addresses
    /// in server.trusted_proxies never have these limits; the clients behind them do.
    exempt_addresses = ["127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"]: List, live;

    /// Channels that clients of this server may be on in all. Joining another is answered with an error
    /// (too_many_channels). Each takes about a kilobyte here, and some keys in the store.
    channels = 100000: Int(1, 100_000_000), live;

    /// Visitors that this server counts on one channel from one address, or from one IPv6 network of 64 bits,
    /// so that nobody can invent people. Further ones see everything and are counted when a place is free.
    /// Private addresses have no limit. 0 means no limit.
    visitors_per_address = 100: Int(0, 100_000_000), live;

    /// Bytes that may wait for one client that reads too slowly. On a channel that delivers every message,
    /// the client is then closed (4001); on one that delivers the latest, nothing piles up. A message
    /// longer than this is not relayed.
    /// Warning: a burst larger than this plus the kernel's own buffers also closes clients that read at an
    /// ordinary pace.
    client_buffer = "1MiB": Size(4 << 10, GIB), live;

    /// Bytes of one message from a client. Above it, the client is closed (1009). Of what a client has sent and
    /// is not done yet, the server holds twice this and 8 KiB at most.
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
