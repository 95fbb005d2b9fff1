//! The command flags that `COMMAND` reports. Some matter only to a Redis that is loading or is a replica, which
//! never applies here; clients look at them all the same.

use super::categories::is_fast;
use super::spec::{Flags, Spec};

const NAMES: [(Flags, &str); 11] = [
    (Flags::READ, "readonly"),
    (Flags::WRITE, "write"),
    (Flags::DENY_OOM, "denyoom"),
    (Flags::BLOCKING, "blocking"),
    (Flags::MOVABLE, "movablekeys"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NO_SCRIPT, "noscript"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::WHILE_BUSY, "allow_busy"),
    (Flags::ADMIN, "admin"),
    (Flags::SHOWN_FIRST, "skip_monitor"),
];

/// Commands that Redis also runs while it is loading its data.
#[rustfmt::skip]
const EARLY: &[&str] = &[
    "auth", "command", "discard", "echo", "exec", "hello", "info", "lastsave", "monitor", "multi", "psubscribe", "publish",
    "punsubscribe", "quit", "readonly", "readwrite", "reset", "role", "select", "spublish", "ssubscribe", "subscribe",
    "sunsubscribe", "time", "unsubscribe", "unwatch", "watch",
];

/// The names of a command's flags.
pub fn told_flags(spec: &Spec) -> Vec<&'static str> {
    let mut told: Vec<&str> = NAMES.iter().filter(|(flag, _)| spec.flags.has(*flag)).map(|(_, name)| *name).collect();
    if is_fast(spec.name) {
        told.push("fast");
    }
    if EARLY.contains(&spec.name) {
        told.extend(["loading", "stale"]);
    }
    match spec.name {
        "eval" | "eval_ro" | "evalsha" | "evalsha_ro" => told.extend(["stale", "no_mandatory_keys"]),
        "exec" => told.push("skip_slowlog"),
        "bgrewriteaof" | "bgsave" => told.push("no_async_loading"),
        "save" => told.extend(["no_async_loading", "no_multi"]),
        _ => {}
    }
    told
}
