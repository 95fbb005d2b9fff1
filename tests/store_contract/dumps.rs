//! What one store dumps, the other restores, whatever the type and however it is kept.

use std::net::SocketAddr;

use super::servers::{Embedded, Redis};
use super::split;
use super::wire::{Connection, Value};

const SETUP: &str = r#"
SET text hello
SET number 12
SET negative -70000
SET big 9223372036854775807
SET empty ""
EVAL "redis.call('set', KEYS[1], string.rep('abcabcabd', 5000))" 1 long
EVAL "redis.call('set', KEYS[1], string.char(0, 13, 10, 255, 128))" 1 bytes
SETBIT bits 1000 1
PFADD estimate a b c d
RPUSH list a b 3 -4 5.5
EVAL "for i = 1, 3000 do redis.call('rpush', KEYS[1], i * 7, 'element:' .. i) end" 1 longlist
EVAL "redis.call('rpush', KEYS[1], string.rep('x', 20000), 'y', string.rep('z', 9000))" 1 widelist
SADD ints 1 2 3 -70000 5000000000
SADD set a b c 1
EVAL "for i = 1, 2000 do redis.call('sadd', KEYS[1], i, 'm' .. i) end" 1 largeset
EVAL "for i = 1, 2000 do redis.call('sadd', KEYS[1], i * i * i * 1000) end" 1 largeints
HSET hash f v number 12 long-enough-to-be-compressed-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
EVAL "for i = 1, 2000 do redis.call('hset', KEYS[1], 'field' .. i, i) end" 1 largehash
ZADD zset 1 a 2.5 b -inf c inf d 1e300 e -0.1 f 3 7
EVAL "for i = 1, 2000 do redis.call('zadd', KEYS[1], i / 7, 'member' .. i) end" 1 largezset
XADD stream 1-1 a 1 b 2
XADD stream 1-2 a 3 b text
XADD stream 5-0 c 4
XDEL stream 1-2
XGROUP CREATE stream group 0
XGROUP CREATE stream other 1-1 ENTRIESREAD 1
XREADGROUP GROUP group ann COUNT 1 STREAMS stream >
XGROUP CREATECONSUMER stream group bob
XGROUP CREATE emptystream group 0 MKSTREAM
EVAL "for i = 1, 3000 do redis.call('xadd', KEYS[1], i, 'f', i, 'g', 'value ' .. i) end for i = 1, 3000, 7 do redis.call('xdel', KEYS[1], i) end" 1 largestream
XGROUP CREATE largestream group 5
XREADGROUP GROUP group ann COUNT 1000 STREAMS largestream >
XREADGROUP GROUP group bob COUNT 1000 STREAMS largestream >
"#;

const KEYS: [&str; 22] = [
    "text",
    "number",
    "negative",
    "big",
    "empty",
    "long",
    "bytes",
    "bits",
    "estimate",
    "list",
    "longlist",
    "widelist",
    "ints",
    "set",
    "largeset",
    "largeints",
    "hash",
    "largehash",
    "zset",
    "largezset",
    "stream",
    "emptystream",
];

fn contents(connection: &mut Connection, key: &str) -> Vec<Value> {
    let reads: &[&[&str]] = match &*connection.call(&["TYPE", key]).text() {
        "string" => &[&["GET", key]],
        "list" => &[&["LRANGE", key, "0", "-1"]],
        "set" => &[&["SMEMBERS", key]],
        "hash" => &[&["HGETALL", key]],
        "zset" => &[&["ZRANGE", key, "0", "-1", "WITHSCORES"]],
        "stream" => &[
            &["XRANGE", key, "-", "+"],
            &["XINFO", "STREAM", key],
            &["XINFO", "GROUPS", key],
            &["XPENDING", key, "group"],
        ],
        other => panic!("{key} is {other}"),
    };
    reads.iter().map(|args| connection.call(args).unordered()).collect()
}

fn carry(from: SocketAddr, to: SocketAddr) {
    let (mut from, mut to) = (Connection::open(from), Connection::open(to));
    for line in SETUP.lines().filter(|line| !line.is_empty()) {
        let reply = format!("{:?}", from.call(&split(line)));
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    for key in KEYS.into_iter().chain(["largestream"]) {
        let Value::Text(_, payload) = from.call(&["DUMP", key]) else { panic!("{key} is not dumped") };
        let reply = to.call(&[b"RESTORE", key.as_bytes(), b"0", &payload]);
        assert_eq!(reply.text(), "OK", "{key}");
        assert_eq!(contents(&mut to, key), contents(&mut from, key), "{key}");
        let Value::Text(_, again) = to.call(&["DUMP", key]) else { panic!("{key} is not dumped") };
        let reply = from.call(&[b"RESTORE", key.as_bytes(), b"0", &again, b"REPLACE"]);
        assert_eq!(reply.text(), "OK", "{key} on its way back");
        assert_eq!(contents(&mut to, key), contents(&mut from, key), "{key} on its way back");
    }
}

#[test]
fn what_one_store_dumps_the_other_restores() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    carry(ours.address, theirs.address);
    for address in [ours.address, theirs.address] {
        Connection::open(address).call(&["FLUSHALL"]);
    }
    carry(theirs.address, ours.address);
}
