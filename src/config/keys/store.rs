//! `[store]`: the store that this node may serve itself.

use super::row::{GIB, HOUR, ValueType::*, section};

section! {
    /// The embedded Redis-compatible store.
    [store]

    /// Who serves the store at redis.url.
    ///   "auto"    Whoever answers there is used. If nobody does, the address is this machine's own, and
    ///             no other store has ever been seen there, this server serves its own store there.
    ///             redis-cli and every other server on this machine can use it.
    ///   "always"  This server serves it, or does not start.
    ///   "never"   Something else must. This server waits for it.
    embedded = "auto": Choice(&["auto", "always", "never"]), restart;

    /// A folder to keep the store in, such as "/var/lib/headcount" for the installed service. "" keeps it
    /// in memory only: after a restart the counts come back by themselves, other keys do not. Only one
    /// process can use a folder at a time.
    /// Warning: a folder elsewhere needs ReadWritePaths= in the unit (systemctl edit headcount).
    path = "": Text, restart;

    /// When writes are forced to disk: "always" before they are acknowledged, "everysec" once a second,
    /// "no" whenever the system decides.
    fsync = "everysec": Choice(&["always", "everysec", "no"]), restart;

    /// The password that clients of the store must give, as with requirepass in Redis. It is required for
    /// any address other than this machine's own. On a machine with several users set it there too:
    /// without it, every one of them can read and change the store. "" means the password of redis.url or
    /// redis.password_file, if there is one without a user name. This server uses it as well, unless
    /// redis.url has a password of its own.
    password = "": Secret, restart;

    /// A file that contains that password; see redis.password_file.
    password_file = "": SecretFile, restart;

    /// Memory for keys and values. Beyond it, keys go as store.eviction says, or commands that need more are
    /// refused. 0 means no limit.
    max_memory = 0: Size(0, 1 << 50), restart;

    /// Which keys go when max_memory is reached: "noeviction" none, "allkeys-…" any, "volatile-…" those that
    /// expire; of these "lru" what was not used for longest, "lfu" what is used least often, "random" any,
    /// "ttl" what expires first. The keys of the count never go.
    eviction = "noeviction": Choice(&["noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru",
        "volatile-lfu", "volatile-random", "volatile-ttl"]), restart;

    /// Clients of the store. They take at most an eighth of the files that the system lets this process
    /// open (LimitNOFILE).
    max_clients = 10000: Int(1, 1_000_000), restart;

    /// The longest argument of a command.
    max_bulk = "64MiB": Size(1 << 10, GIB), restart;

    /// The longest command.
    max_query_buffer = "128MiB": Size(1 << 10, 4 * GIB), restart;

    /// How much output may wait for a client of the store that reads too slowly. Beyond it, that client is
    /// disconnected.
    max_pending_output = "32MiB": Size(1 << 10, 4 * GIB), restart;

    /// How much memory all clients of the store may take together: for commands that have not arrived
    /// in full, transactions, subscriptions, and replies they have not read. Beyond it, the clients
    /// that take most are disconnected.
    max_client_memory = "1GiB": Size(1 << 20, 1 << 50), restart;

    /// How long a Lua script runs before other clients of the store are answered BUSY and may end it
    /// with SCRIPT KILL. While a script runs, nothing is counted and no message arrives.
    busy_after = "5s": Duration(1, HOUR), restart;

    /// How long a Lua script may run at all. One that takes longer is ended, and what it wrote is undone.
    script_time = "10s": Duration(1, HOUR), restart;
}
