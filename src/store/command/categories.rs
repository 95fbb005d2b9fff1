//! The categories into which `ACL` and `COMMAND` sort commands.

use super::spec::{Flags, Spec};

/// All categories, in the order in which they are listed.
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Commands whose running time hardly grows with the amount of data.
#[rustfmt::skip]
const FAST: &[&str] = &[
    "append", "auth", "bitfield_ro", "bzpopmax", "bzpopmin", "dbsize", "decr", "decrby", "discard", "echo", "exists",
    "expire", "expireat", "expiretime", "get", "getbit", "getdel", "getex", "getset", "hdel", "hello", "hexists", "hget",
    "hincrby", "hincrbyfloat", "hlen", "hmget", "hmset", "hset", "hsetnx", "hstrlen", "incr", "incrby", "incrbyfloat",
    "lastsave", "llen", "lolwut", "lpop", "lpush", "lpushx", "mget", "move", "multi", "persist", "pexpire", "pexpireat",
    "pexpiretime", "pfadd", "ping", "pttl", "publish", "quit", "readonly", "readwrite", "renamenx", "reset", "role",
    "rpop", "rpush", "rpushx", "sadd", "scard", "select", "setnx", "sismember", "smismember", "smove", "spop",
    "spublish", "srem", "strlen", "swapdb", "time", "touch", "ttl", "type", "unlink", "unwatch", "watch", "xack",
    "xadd", "xautoclaim", "xclaim", "xdel", "xlen", "xsetid", "zadd", "zcard", "zcount", "zincrby", "zlexcount",
    "zmscore", "zpopmax", "zpopmin", "zrank", "zrem", "zrevrank", "zscore",
];

/// Commands, besides those for administrators, that can do harm or block everyone for long.
const DANGEROUS: &[&str] =
    &["flushall", "flushdb", "info", "keys", "lastsave", "restore", "role", "sort", "sort_ro", "swapdb"];

/// Whether a command is in the category `fast`.
pub fn is_fast(name: &str) -> bool {
    FAST.contains(&name)
}

/// Whether a command is in a category.
pub fn is_in(spec: &Spec, category: &str) -> bool {
    let group = spec.group;
    let is_sort = spec.name == "sort" || spec.name == "sort_ro";
    match category {
        "read" => spec.flags.has(Flags::READ) && group != "scripting",
        "write" => spec.flags.has(Flags::WRITE),
        "admin" => spec.flags.has(Flags::ADMIN) || matches!(spec.name, "lastsave" | "role"),
        "blocking" => spec.flags.has(Flags::BLOCKING),
        "fast" => is_fast(spec.name),
        "slow" => !is_fast(spec.name),
        "dangerous" => spec.flags.has(Flags::ADMIN) || DANGEROUS.contains(&spec.name),
        "keyspace" => is_of_keyspace(spec),
        "sortedset" => group == "sorted-set" || is_sort,
        "set" | "list" => group == category || is_sort,
        "connection" => group == category || matches!(spec.name, "command" | "readonly" | "readwrite" | "wait"),
        "transaction" => group == "transactions",
        _ => group == category,
    }
}

fn is_of_keyspace(spec: &Spec) -> bool {
    const ELSEWHERE: [&str; 5] = ["memory", "object", "sort", "sort_ro", "wait"];
    matches!(spec.name, "flushall" | "flushdb" | "dbsize" | "swapdb")
        || spec.group == "generic" && !ELSEWHERE.contains(&spec.name)
}
