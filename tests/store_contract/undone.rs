//! A script that the limit of time ends leaves nothing behind: what it wrote is undone, and nobody was told of it,
//! neither a client nor the log.

use std::fs;
use std::time::{Duration, Instant};

use headcount::store::Options;

use super::log::Folder;
use super::servers::Embedded;
use super::wire::{Connection, Value, request};

const SETUP: &[&str] = &[
    "SET text one",
    "SET gone soon",
    "SET timed x PX 1000000",
    "RPUSH list a b c d",
    "HSET hash f v g w",
    "SADD set 1 2 3 four",
    "ZADD zset 1 a 2 b 3 c",
    "XADD stream 5-1 f v",
    "XADD stream 5-2 f w",
    "XGROUP CREATE stream group 0",
    "XREADGROUP GROUP group ann COUNT 1 STREAMS stream >",
    "SETRANGE bits 50 x",
];

/// Writes of every kind, and then no end.
const ENDLESS: &str = "
    for _, line in ipairs(ARGV) do
        local words = {}
        for word in line:gmatch('%S+') do words[#words + 1] = word end
        redis.call(unpack(words))
    end
    while true do pcall(function() while true do end end) end";

const WRITES: &[&str] = &[
    "SET text two",
    "INCR new",
    "DEL gone",
    "PERSIST timed",
    "LPUSH list z",
    "LTRIM list 1 2",
    "HSET hash f changed h new",
    "HDEL hash g",
    "SMOVE set other four",
    "ZINCRBY zset 10 a",
    "ZPOPMIN zset",
    "XADD stream 6-1 f x",
    "XACK stream group 5-1",
    "XREADGROUP GROUP group bob STREAMS stream >",
    "XTRIM stream MAXLEN 1",
    "SETBIT bits 3 1",
    "RENAME zset renamed",
    "RPUSH awaited x",
    "PUBLISH news scripted",
    "SWAPDB 0 1",
    "FLUSHALL",
    "SET after all",
];

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn fill(client: &mut Connection) {
    for line in SETUP {
        assert!(!client.call(&words(line)).text().starts_with("ERR"), "{line}");
    }
}

/// Everything in both databases, as a client can see it.
fn picture(client: &mut Connection) -> Vec<String> {
    let mut seen = Vec::new();
    for db in ["0", "1"] {
        client.call(&["SELECT", db]);
        let Value::Many(_, keys) = client.call(&["KEYS", "*"]) else { panic!("no keys") };
        let mut keys: Vec<String> = keys.iter().map(Value::text).collect();
        keys.sort();
        for key in keys {
            // When a consumer was seen is not in the log.
            let commands: &[&[&str]] = match key.as_str() {
                "stream" => {
                    &[&["XRANGE", "stream", "-", "+"], &["XINFO", "GROUPS", "stream"], &["XPENDING", "stream", "group"]]
                }
                key => &[&["DUMP", key], &["PEXPIRETIME", key], &["OBJECT", "ENCODING", key]],
            };
            let told: Vec<Value> = commands.iter().map(|command| client.call(command)).collect();
            seen.push(format!("{db} {key} {told:?}"));
        }
    }
    client.call(&["SELECT", "0"]);
    seen
}

fn endless() -> Vec<u8> {
    let arguments = WRITES.iter().map(|line| (*line).to_owned());
    let command: Vec<String> = ["EVAL", ENDLESS, "0"].into_iter().map(str::to_owned).chain(arguments).collect();
    request(&command)
}

/// A store on which a script may run for a moment only.
fn strict() -> Options {
    Options { script_time: 300, busy_after: 20, ..Options::default() }
}

const UNDONE: &str = "ERR Script ended: it ran for longer than script-time-limit allows. What it wrote was undone.";

#[test]
fn what_a_script_wrote_is_undone_when_it_takes_too_long() {
    let store = Embedded::open(strict()).unwrap();
    let mut client = Connection::open(store.address);
    fill(&mut client);
    let before = picture(&mut client);
    client.send(&endless());
    let reply = client.read().text();
    assert!(reply.starts_with(UNDONE), "{reply}");
    assert_eq!(picture(&mut client), before);
    // One that has only read has nothing to be undone.
    let reply = client.call(&["EVAL", "redis.call('GET', 'text') while true do end", "0"]).text();
    assert!(reply.starts_with("ERR Script ended: it ran for longer than script-time-limit allows. script:"), "{reply}");
    // One that fails keeps what it wrote, as in Redis.
    client.call(&["EVAL", "redis.call('SET', 'text', 'kept') error('no')", "0"]);
    assert_eq!(client.call(&["GET", "text"]).text(), "kept");
}

#[test]
fn nobody_is_told_of_what_was_undone() {
    let store = Embedded::open(strict()).unwrap();
    let [mut caller, mut listener, mut reader, mut broadcast, mut watcher, mut waiter] =
        std::array::from_fn(|_| Connection::open(store.address));
    fill(&mut caller);
    caller.call(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
    listener.call(&["PSUBSCRIBE", "*"]);
    for client in [&mut reader, &mut broadcast, &mut caller] {
        client.call(&["HELLO", "3"]);
    }
    caller.call(&["CLIENT", "TRACKING", "ON"]);
    reader.call(&["CLIENT", "TRACKING", "ON"]);
    broadcast.call(&["CLIENT", "TRACKING", "ON", "BCAST"]);
    for line in ["GET text", "HGETALL hash", "ZCARD zset", "GET absent"] {
        reader.call(&words(line));
    }
    watcher.call(&["WATCH", "text", "hash", "new", "after"]);
    let id = waiter.call(&["CLIENT", "ID"]).text();
    waiter.send(&request(&["BLPOP", "awaited", "0"]));
    while !caller.call(&["CLIENT", "LIST", "ID", &id]).text().contains("cmd=blpop") {}
    caller.send(&endless());
    let reply = caller.read().text();
    assert!(reply.starts_with(UNDONE), "{reply}");
    // Each gets what comes next, and nothing in front of it.
    for line in ["MULTI", "EXEC"] {
        assert_ne!(format!("{:?}", watcher.call(&words(line))), "*-1", "a watched key has changed");
    }
    caller.call(&["SET", "text", "three"]);
    assert_eq!(format!("{:?}", reader.read()), ">[$invalidate, *[$text]]");
    assert_eq!(format!("{:?}", broadcast.read()), ">[$invalidate, *[$text]]");
    let event = "*[$pmessage, $*, $__keyspace@0__:text, $set]";
    assert_eq!(format!("{:?}", listener.read()), event);
    // What was remembered for the reader is so still, and whoever waits still does.
    caller.call(&["SET", "absent", "no more"]);
    assert_eq!(format!("{:?}", reader.read()), ">[$invalidate, *[$absent]]");
    caller.call(&["RPUSH", "awaited", "y"]);
    assert_eq!(format!("{:?}", waiter.read()), "*[$awaited, $y]");
}

#[test]
fn what_else_a_transaction_does_stays() {
    let store = Embedded::open(strict()).unwrap();
    let mut client = Connection::open(store.address);
    client.call(&["MULTI"]);
    client.call(&["SET", "first", "1"]);
    client.call(&["EVAL", "redis.call('SET', 'first', '2') while true do end", "0"]);
    client.call(&["SET", "last", "1"]);
    let replies = format!("{:?}", client.call(&["EXEC"]));
    assert!(replies.starts_with(&format!("*[+OK, -{UNDONE}")), "{replies}");
    assert_eq!(format!("{:?}", client.call(&["MGET", "first", "last"])), "*[$1, $1]");
}

#[test]
fn what_was_undone_is_not_in_the_log_also_while_it_is_rewritten() {
    let folder = Folder::new("undone");
    let options = Options { script_time: 300, busy_after: 20, ..folder.options() };
    let store = Embedded::open(options.clone()).unwrap();
    let mut client = Connection::open(store.address);
    fill(&mut client);
    for n in 0..20_000 {
        client.send(&request(&["SET", &format!("key{n}"), "value"]));
    }
    (0..20_000).for_each(|_| drop(client.read()));
    let before = picture(&mut client);
    for rewrites in [false, true] {
        if rewrites {
            client.send(&request(&["BGREWRITEAOF"]));
        }
        let size = fs::metadata(folder.log()).unwrap().len();
        client.send(&endless());
        if rewrites {
            client.read();
        }
        let reply = client.read().text();
        assert!(reply.starts_with(UNDONE), "{reply}");
        if !rewrites {
            assert_eq!(fs::metadata(folder.log()).unwrap().len(), size);
        }
        assert_eq!(picture(&mut client), before);
    }
    while client.call(&["INFO", "persistence"]).text().contains("aof_rewrite_in_progress:1") {}
    drop(client);
    store.stop();
    let store = Embedded::reopen(&options);
    assert_eq!(picture(&mut Connection::open(store.address)), before);
}

#[test]
fn a_store_that_stops_does_not_wait_for_a_script_that_has_written() {
    let folder = Folder::new("undone-stop");
    let options = Options { script_time: 600_000, busy_after: 300, ..folder.options() };
    let store = Embedded::open(options.clone()).unwrap();
    let (mut client, mut other) = (Connection::open(store.address), Connection::open(store.address));
    fill(&mut client);
    let before = picture(&mut client);
    client.send(&endless());
    while !other.call(&["SCRIPT", "KILL"]).text().starts_with("UNKILLABLE") {}
    let asked = Instant::now();
    store.stop();
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    let store = Embedded::reopen(&options);
    assert_eq!(picture(&mut Connection::open(store.address)), before);
}

#[test]
fn a_script_may_not_fill_the_memory_with_what_it_would_have_to_undo() {
    let store = Embedded::open(Options::default()).unwrap();
    let mut client = Connection::open(store.address);
    client.call(&["SET", "large", &"x".repeat(8 << 20)]);
    let script = "
        local text = redis.call('GET', 'large')
        for n = 1, 1000 do
            local reply = redis.pcall('SET', 'key', text)
            if reply.err then return reply.err end
        end";
    let reply = client.call(&["EVAL", script, "0"]).text();
    assert_eq!(reply, "OOM one script or transaction may not change so much");
    // What it removes was there before.
    for n in 0..50 {
        client.call(&["SET", &format!("key{n}"), &"x".repeat(8 << 20)]);
    }
    let script = "for n = 0, 49 do redis.call('DEL', 'key' .. n) end redis.call('SET', 'a', 'b') return 'done'";
    assert_eq!(client.call(&["EVAL", script, "0"]).text(), "done");
}
