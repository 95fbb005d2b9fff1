//! Random commands, the same to both servers: the same replies, and the same data in the end.

use proptest::prelude::*;

use super::servers::{Embedded, Redis};
use super::wire::{Connection, Value};

/// Commands by what they take: `k` a key, `v` a value, `n` a small number, `f` a score, `r` a range
/// of scores, `i` an index, `e` an entry of a stream, `g` a group, `b` a bit. Replies whose order is nobody's promise start with `~`.
const COMMANDS: &[&str] = &[
    "SET k v",
    "GET k",
    "SETNX k v",
    "GETSET k v",
    "APPEND k v",
    "STRLEN k",
    "INCR k",
    "DECRBY k n",
    "INCRBY k n",
    "GETRANGE k i i",
    "SETRANGE k n v",
    "DEL k",
    "EXISTS k k",
    "TYPE k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k",
    "PERSIST k",
    "EXPIRE k 1000 NX",
    "EXPIRE k 2000 GT",
    "OBJECT ENCODING k",
    "HSET k v v",
    "HGET k v",
    "HDEL k v v",
    "HINCRBY k v n",
    "HLEN k",
    "HEXISTS k v",
    "~HGETALL k",
    "RPUSH k v v",
    "LPUSH k v",
    "LPOP k",
    "RPOP k n",
    "LRANGE k i i",
    "LTRIM k i i",
    "LINDEX k i",
    "LSET k i v",
    "LREM k i v",
    "LINSERT k BEFORE v v",
    "LPOS k v",
    "LMOVE k k LEFT RIGHT",
    "RPOPLPUSH k k",
    "SADD k v v",
    "SREM k v",
    "SISMEMBER k v",
    "SCARD k",
    "~SMEMBERS k",
    "~SINTER k k",
    "~SUNION k k",
    "~SDIFF k k",
    "SINTERSTORE k k k",
    "SUNIONSTORE k k k",
    "SDIFFSTORE k k k",
    "SMOVE k k v",
    "ZADD k f v",
    "ZADD k GT CH f v f v",
    "ZADD k NX f v",
    "ZADD k XX INCR f v",
    "ZINCRBY k f v",
    "ZREM k v",
    "ZSCORE k v",
    "ZRANK k v",
    "ZREVRANK k v",
    "ZCARD k",
    "ZRANGE k i i WITHSCORES",
    "ZRANGE k i i REV",
    "ZRANGEBYSCORE k r r",
    "ZRANGE k r r BYSCORE LIMIT n n",
    "ZREVRANGEBYSCORE k r r WITHSCORES",
    "ZCOUNT k r r",
    "ZREMRANGEBYRANK k i i",
    "ZREMRANGEBYSCORE k r r",
    "ZPOPMIN k",
    "ZPOPMAX k n",
    "ZUNIONSTORE k 2 k k",
    "ZINTERSTORE k 2 k k WEIGHTS f f",
    "ZDIFFSTORE k 2 k k",
    "ZRANGESTORE k k i i",
    // Among members of different scores a range of names means nothing, so these have a key of their own.
    "ZADD names 0 v 0 v",
    "ZREM names v",
    "ZRANGEBYLEX names [v (v",
    "ZLEXCOUNT names - [v",
    "ZREMRANGEBYLEX names [v (v",
    "LMPOP 2 k k LEFT COUNT n",
    "ZMPOP 2 k k MAX COUNT n",
    "XADD k e v v",
    "XADD k MAXLEN ~ n e v v",
    "XADD k NOMKSTREAM MINID e e v v v v",
    "XLEN k",
    "XRANGE k e e",
    "XREVRANGE k + e COUNT n",
    "XDEL k e e",
    "XTRIM k MAXLEN n",
    "XSETID k e",
    "XREAD COUNT n STREAMS k k e e",
    "XGROUP CREATE k g e",
    "XGROUP CREATE k g $ MKSTREAM",
    "XGROUP SETID k g e",
    "XGROUP DESTROY k g",
    "XGROUP CREATECONSUMER k g v",
    "XGROUP DELCONSUMER k g v",
    "XREADGROUP GROUP g v COUNT n STREAMS k >",
    "XREADGROUP GROUP g v NOACK STREAMS k >",
    "XREADGROUP GROUP g v STREAMS k e",
    "XACK k g e e",
    "XPENDING k g",
    "XCLAIM k g v 0 e e JUSTID",
    "XCLAIM k g v 0 e FORCE RETRYCOUNT n",
    "XAUTOCLAIM k g v 0 e COUNT 2",
    "XINFO STREAM k",
    "XINFO GROUPS k",
    "SETBIT k b 1",
    "SETBIT k b 0",
    "GETBIT k b",
    "BITCOUNT k",
    "BITCOUNT k i i BIT",
    "BITPOS k 1 i i",
    "BITPOS k 0 i",
    "BITOP AND k k k",
    "BITOP NOT k k",
    "BITFIELD k GET u7 b SET i9 b n INCRBY u3 #2 n",
    "PFADD k v v",
    "PFCOUNT k",
    "PFCOUNT k k",
    "PFMERGE k k k",
    "SORT k ALPHA LIMIT n n",
    "SORT k BY nosort ALPHA STORE k",
    "LCS k k IDX",
    "MGET k k k",
    "MSET k v k v",
];

fn word(kind: &str) -> BoxedStrategy<String> {
    match kind {
        "k" => (0..6).prop_map(|n: i32| format!("key{n}")).boxed(),
        "v" => prop_oneof![
            (0..12).prop_map(|n: i32| n.to_string()),
            "[a-d]{1,3}",
            Just("x".repeat(70)),
            Just("é\r\n".to_owned()),
        ]
        .boxed(),
        "b" => (0..300).prop_map(|n: i32| n.to_string()).boxed(),
        "g" => (0..2).prop_map(|n: i32| format!("group{n}")).boxed(),
        "e" => prop_oneof![
            (0..9, 0..3).prop_map(|(ms, seq)| format!("{ms}-{seq}")),
            (1..9).prop_map(|ms: i32| ms.to_string()),
            (1..9).prop_map(|ms: i32| format!("{ms}-*")),
        ]
        .boxed(),
        "n" => (0..5).prop_map(|n: i32| n.to_string()).boxed(),
        "i" => (-4..6).prop_map(|n: i32| n.to_string()).boxed(),
        "f" => (-8..8).prop_map(|n| (f64::from(n) / 2.0).to_string()).boxed(),
        "r" => prop_oneof![
            (-8..8).prop_map(|n: i32| n.to_string()),
            (-8..8).prop_map(|n: i32| format!("({n}")),
            Just("-inf".to_owned()),
            Just("+inf".to_owned()),
        ]
        .boxed(),
        "[v" | "(v" => {
            let sign = kind[..1].to_owned();
            word("v").prop_map(move |value| format!("{sign}{value}")).boxed()
        }
        other => Just(other.to_owned()).boxed(),
    }
}

fn command() -> impl Strategy<Value = Vec<String>> {
    prop::sample::select(COMMANDS).prop_flat_map(|shape| shape.split(' ').map(word).collect::<Vec<_>>())
}

/// Everything in a server, by key, in one order.
fn state(connection: &mut Connection) -> Vec<Value> {
    let mut found = Vec::new();
    for key in (0..6).map(|n| format!("key{n}")) {
        let kind = connection.call(&["TYPE", &key]).text();
        let content: &[&str] = match kind.as_str() {
            "string" => &["GET", &key],
            "list" => &["LRANGE", &key, "0", "-1"],
            "hash" => &["HGETALL", &key],
            "set" => &["SMEMBERS", &key],
            "zset" => &["ZRANGE", &key, "0", "-1", "WITHSCORES"],
            "stream" => &["XRANGE", &key, "-", "+"],
            _ => &["TTL", &key],
        };
        let content = connection.call(content);
        let ordered = kind == "list" || kind == "zset" || kind == "stream";
        found.push(if ordered { content } else { content.unordered() });
    }
    found
}

#[test]
fn random_commands_get_the_same_replies_and_leave_the_same_data() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(commands in prop::collection::vec(command(), 1..60))| {
        let mut pair = [ours.address, theirs.address].map(Connection::open);
        for connection in &mut pair {
            connection.call(&["FLUSHALL"]);
        }
        for mut args in commands.clone() {
            let unordered = args[0].starts_with('~');
            args[0] = args[0].trim_start_matches('~').to_owned();
            let [a, b] = pair.each_mut().map(|connection| {
                let reply = connection.call(&args);
                if unordered { reply.unordered() } else { reply }
            });
            prop_assert_eq!(a, b, "{:?}", args);
        }
        let [a, b] = pair.each_mut().map(state);
        prop_assert_eq!(a, b);
    });
}
