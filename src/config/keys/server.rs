//! `[server]`: where and how this node listens.

use super::row::{HOUR, ValueType::*, section};

section! {
    [server]

    /// Where to listen. An address with a port, such as "0.0.0.0:3000" or "[::]:3000" ([::] takes IPv4
    /// too, unless 0.0.0.0 is listed beside it), or a path such as "unix:/run/headcount/web.sock", which
    /// only this server's user and group may open. With "tls:" in front, an address speaks TLS; see [tls].
    /// PORT and --port change the port of every plain address. Sockets that systemd holds
    /// (headcount.socket) replace this list; the one for TLS is named "tls" there.
    /// Warning: 0.0.0.0 is every IPv4 address of this machine. Behind a proxy, use 127.0.0.1.
    listen = ["0.0.0.0:3000"]: List, restart;

    /// Threads that carry sockets. 0 means one for each core. At most 64 are used.
    workers = 0: Int(0, 256), restart;

    /// How long a server that was told to stop keeps serving as before while /readyz answers 503, so that
    /// a load balancer stops sending clients before the address closes. Set it to the balancer's check
    /// interval times its number of tries, plus a second.
    /// Warning: with "0s", clients that a balancer still sends here meanwhile are refused.
    notice = "0s": Duration(0, HOUR), live;

    /// How long it then takes to close its sockets, spread out so that clients do not all come back at
    /// the same instant. The process exits within this time.
    /// Warning: whatever kills the process must wait longer than notice and drain together. The server asks
    /// systemd for the time; a container's grace period has to be set by hand.
    drain = "5s": Duration(0, HOUR), live;

    /// Origins whose pages may connect, such as ["https://example.com"]. ["*"] allows every site.
    /// Warning: only browsers send an origin. This keeps out other sites' pages, not programs.
    origins = ["*"]: List, live;

    /// Names by which this server may be called, such as ["example.com", "www.example.com"]. ["*"] allows
    /// any. A request with another name in its Host header gets a 421, except on /healthz and /readyz.
    /// Together with origins, this keeps out another site's pages that point a name of their own here.
    hosts = ["*"]: List, live;

    /// Where Prometheus finds /metrics (and /healthz and /readyz too): an address of its own, such as
    /// "127.0.0.1:9464" or "unix:/run/headcount/metrics.sock"; "public" for the addresses in listen; ""
    /// for nowhere. If the default address is taken, as by another server on this machine, this server
    /// goes on without it.
    /// Warning: metrics tell strangers how busy the server is. "public" shows them to everybody.
    metrics = "127.0.0.1:9464": Text, restart;

    /// Connections that the kernel holds until they are accepted. When the queue is full, a client waits
    /// a second or more.
    /// Warning: the kernel caps it at net.core.somaxconn.
    backlog = 16384: Int(16, 65_535), restart;

    /// Proxies that may say what a client's address is: addresses, ranges such as "10.0.0.0/8", and
    /// "unix:" for whatever connects through a unix socket. The address is used for
    /// limits.clients_per_address and in the debug log.
    /// Warning: list proxies only. Any other client on the list could claim any address.
    trusted_proxies = []: List, live;

    /// The header in which the proxies say it. The other header is ignored, since a client could have
    /// sent it.
    forwarded_header = "x-forwarded-for": Choice(&["x-forwarded-for", "forwarded"]), live;

    /// Whether the trusted proxies start every connection with a PROXY protocol header, version 2.
    /// Warning: a connection from a trusted proxy without that header is closed, health checks included.
    proxy_protocol = false: Bool, live;

    /// A folder for the one thing that this server remembers across restarts: whether it has seen another
    /// store at redis.url. (Remove the file other-store in it to let this server serve its own store there
    /// again.) "" means the folder that systemd provides (STATE_DIRECTORY); without one, nothing is
    /// remembered.
    state_dir = "": Text, restart;
}
