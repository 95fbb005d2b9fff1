//! Clients that cache what they read, unmodified, against this store and against real Redis.
//! `.ci/setup` installs them.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::servers::{Embedded, Redis};

/// Runs a program with each server's address, which must be content with both.
fn is_content(program: impl Fn(SocketAddr) -> Command) {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    for address in [theirs.address, ours.address] {
        let mut command = program(address);
        let output = command.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|why| panic!("{command:?}: {why}; .ci/setup installs it"));
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
}

const PYTHON: &str = r#"
import sys, time, redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection
# It turns its cache off before Redis 7.4, though 7.0 has all that it needs.
CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"
port = int(sys.argv[1])
reader = redis.Redis(port=port, protocol=3, decode_responses=True, cache_config=CacheConfig(max_size=100))
writer = redis.Redis(port=port, protocol=3, decode_responses=True)

def becomes(expected, read):
    end = time.time() + 10
    while read() != expected:
        assert time.time() < end, (expected, read())

writer.flushall()
writer.set("text", "one")
assert reader.get("text") == "one"
cached = reader.get_cache().size
assert cached == 1, cached
assert reader.get("text") == "one"
writer.set("text", "two")
becomes("two", lambda: reader.get("text"))
assert reader.zrange("z", 0, -1) == []
writer.zadd("z", {"ann": 1})
becomes(["ann"], lambda: reader.zrange("z", 0, -1))
writer.rename("z", "other")
becomes([], lambda: reader.zrange("z", 0, -1))
with writer.pipeline() as pipe:
    pipe.set("text", "three").hset("h", "f", "v").execute()
becomes("three", lambda: reader.get("text"))
writer.flushdb()
becomes(None, lambda: reader.get("text"))

# Events, as somebody who waits for keys to expire subscribes to them.
writer.config_set("notify-keyspace-events", "Ex")
assert writer.config_get("notify-keyspace-events") == {"notify-keyspace-events": "xE"}, "shown as Redis shows it"
listener = writer.pubsub()
listener.psubscribe("__keyevent@*__:expired")
assert listener.get_message(timeout=5)["type"] == "psubscribe"
writer.set("short", "lived", px=20)
message = listener.get_message(timeout=10)
assert (message["channel"], message["data"]) == ("__keyevent@0__:expired", "short"), message
"#;

#[test]
fn redis_py_with_a_cache_is_content() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tests-python/bin/python");
    is_content(|address| {
        let mut command = Command::new(python);
        command.args(["-c", PYTHON, &address.port().to_string()]);
        command
    });
}

#[test]
fn node_redis_with_a_cache_is_content() {
    is_content(|address| {
        let mut command = Command::new("node");
        command.args(["caching.js", &format!("redis://{address}")]);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/article"));
        command
    });
}
