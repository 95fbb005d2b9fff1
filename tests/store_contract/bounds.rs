//! What could grow without end does not, and what is bounded that way is still right.

use std::time::{Duration, Instant};

use headcount::store::Options;

use super::log::Folder;
use super::servers::Embedded;
use super::wire::{Connection, Value, request};

/// Asks until the answer is the wished one.
fn until(what: &str, deadline: Duration, mut wished: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !wished() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_leaves_without_fetching_its_replies_is_closed_in_the_end() {
    let store = Embedded::start();
    let mut watcher = Connection::open(store.address);
    watcher.call(&["SET", "large", &"x".repeat(300_000)]);
    let mut leaver = Connection::narrow(store.address);
    leaver.call(&["CLIENT", "SETNAME", "leaver"]);
    let line = |watcher: &mut Connection| {
        let list = watcher.call(&["CLIENT", "LIST"]).text();
        list.lines().find(|line| line.contains("name=leaver")).map(str::to_owned)
    };
    // It asks until the system takes no more for it, and something waits in the store.
    let waits = |watcher: &mut Connection| line(watcher).is_some_and(|line| !line.contains(" obl=0 "));
    while !(0..50).all(|_| waits(&mut watcher)) {
        let asked = Instant::now();
        leaver.send(&request(&["GET", "large"]));
        until("it is not asked", Duration::from_secs(10), || {
            waits(&mut watcher) || asked.elapsed() > Duration::from_millis(50)
        });
    }
    leaver.send(&request(&["QUIT"]));
    until("the client is still there", Duration::from_secs(30), || line(&mut watcher).is_none());
}

#[test]
fn a_subscriber_that_does_not_read_is_dropped_while_a_script_still_publishes() {
    let options = Options { max_pending_output: 1 << 20, ..Options::default() };
    let store = Embedded::open(options).unwrap();
    let (mut lazy, mut publisher) = (Connection::open(store.address), Connection::open(store.address));
    lazy.call(&["SUBSCRIBE", "news"]);
    let script = "for _ = 1, 200 do redis.call('PUBLISH', 'news', ARGV[1]) end";
    publisher.call(&["EVAL", script, "0", &"x".repeat(1 << 20)]);
    until("it is not dropped", Duration::from_secs(10), || {
        let stats = publisher.call(&["INFO", "stats"]).text();
        stats.contains("client_output_buffer_limit_disconnections:1\r\n")
    });
    assert_eq!(format!("{:?}", publisher.call(&["PUBSUB", "NUMSUB", "news"])), "*[$news, :0]");
    let much = "for _ = 1, 1000 do redis.call('PUBLISH', 'news', ARGV[1]) end";
    let mut lazy = Connection::open(store.address);
    lazy.call(&["SUBSCRIBE", "news"]);
    let reply = publisher.call(&["EVAL", much, "0", &"x".repeat(1 << 20)]).text();
    assert!(reply.starts_with("OOM"), "{reply}");
}

#[test]
fn a_script_cannot_change_more_than_fits_into_the_log_at_once() {
    let folder = Folder::new("script");
    let store = Embedded::open(folder.options()).unwrap();
    let mut client = Connection::open(store.address);
    let script = "for _ = 1, 1000 do redis.call('SET', 'k', ARGV[1]) end";
    let reply = client.call(&["EVAL", script, "0", &"x".repeat(1 << 20)]).text();
    assert!(reply.starts_with("OOM"), "{reply}");
    assert_eq!(client.call(&["SET", "k", "1"]).text(), "OK");
}

/// Every key of some databases with its type and contents.
fn contents(address: std::net::SocketAddr) -> Vec<String> {
    let mut connection = Connection::open(address);
    let mut all = Vec::new();
    for db in ["0", "1", "2"] {
        connection.call(&["SELECT", db]);
        let Value::Many(_, keys) = connection.call(&["KEYS", "*"]).unordered() else { panic!("no keys") };
        for key in keys.iter().map(Value::text) {
            let kind = connection.call(&["TYPE", &key]).text();
            let held = match &*kind {
                "string" => connection.call(&["GET", &key]),
                "list" => connection.call(&["LRANGE", &key, "0", "-1"]),
                "hash" => connection.call(&["HGETALL", &key]).unordered(),
                "set" => connection.call(&["SMEMBERS", &key]).unordered(),
                "stream" => Value::Many(
                    b'*',
                    vec![
                        connection.call(&["XRANGE", &key, "-", "+"]),
                        connection.call(&["XINFO", "GROUPS", &key]),
                        connection.call(&["XPENDING", &key, "group"]),
                    ],
                ),
                _ => connection.call(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]),
            };
            let ends = connection.call(&["PEXPIRETIME", &key]);
            all.push(format!("{db} {key} {kind} {held:?} {ends:?}"));
        }
    }
    all
}

/// Sends many commands at once and reads their replies.
fn pipeline(connection: &mut Connection, commands: &[Vec<String>]) {
    for some in commands.chunks(500) {
        connection.send(&some.iter().flat_map(|args| request(args)).collect::<Vec<u8>>());
        for args in some {
            let reply = format!("{:?}", connection.read());
            assert!(!reply.starts_with('-'), "{args:?}: {reply}");
        }
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn what_changes_while_the_log_is_rewritten_is_in_the_new_log() {
    let folder = Folder::new("rewrite");
    let store = Embedded::open(folder.options()).unwrap();
    let mut connection = Connection::open(store.address);
    let fill = (0..6000).flat_map(|n| {
        let member = format!("m{}", n % 40);
        [
            words(&format!("HSET bighash f{n} {}", "v".repeat(60))),
            words(&format!("ZADD bigzset {n} {}{n}", "m".repeat(60))),
            words(&format!("RPUSH biglist {}", "l".repeat(60))),
            words(&format!("XADD bigstream {n}-1 number {n} text {}", "s".repeat(60))),
            words(&format!("SADD set{} {member}", n % 50)),
            words(&format!("ZADD zset{} {n} {member}", n % 50)),
            words(&format!("SET text{n} {}", "t".repeat(100))),
            words(&format!("PEXPIRE text{n} {}", 1_000_000 + n)),
        ]
    });
    pipeline(&mut connection, &fill.collect::<Vec<_>>());
    connection.call(&words("XGROUP CREATE bigstream group 0"));
    connection.call(&words("XGROUP CREATE bigstream another 5"));
    connection.call(&words("XREADGROUP GROUP group ann COUNT 3000 STREAMS bigstream >"));
    let text = "y".repeat(3 << 20);
    connection.call(&["SET", "bigtext", &text]);
    let rewriting = |connection: &mut Connection| {
        connection.call(&["INFO", "persistence"]).text().contains("aof_rewrite_in_progress:1")
    };
    let mut random = fastrand::Rng::with_seed(7);
    let mut met = 0;
    for round in 0..6 {
        connection.call(&["BGREWRITEAOF"]);
        while rewriting(&mut connection) {
            met += 1;
            let (n, m, k) = (random.u32(0..50), random.u32(0..50), random.u32(0..6000));
            let line = match random.u32(0..20) {
                0 => format!("SINTERSTORE joined{n} set{n} set{m}"),
                1 => format!("ZUNIONSTORE union{n} 2 zset{n} zset{m}"),
                2 => format!("COPY text{k} copied{n} REPLACE"),
                3 => format!("HINCRBY bighash count{n} {m}"),
                4 => format!("ZPOPMIN bigzset {n}"),
                5 => format!("LREM biglist {n} {}", "l".repeat(60)),
                6 => format!("ZRANGESTORE ranked{n} bigzset 0 {m}"),
                7 => format!("APPEND bigtext {n}"),
                8 => format!("RENAME zset{n} zset{m}").replace(&format!("zset{m}"), &format!("renamed{m}")),
                9 => "SWAPDB 0 1".to_owned(),
                10 => format!("MOVE text{k} 2"),
                11 => format!("UNLINK text{k} set{n}"),
                12 => format!("SMOVE set{n} set{m} m{n}"),
                13 if round == 3 => "FLUSHDB".to_owned(),
                14 => format!("COPY text{k} text{k} DB 2 REPLACE"),
                15 => format!("XACK bigstream group {k}-1"),
                16 => format!("XADD bigstream * number {n}"),
                17 => format!("XREADGROUP GROUP group bob COUNT {m} STREAMS bigstream >"),
                18 => format!("XCLAIM bigstream group cat 0 {k}-1"),
                _ => format!("INCR number{n}"),
            };
            // Some are refused, since what they name is gone; that is all right.
            connection.call(&words(&line));
        }
    }
    assert!(met > 20, "only {met} commands met a rewrite");
    let before = contents(store.address);
    store.stop();
    let store = Embedded::reopen(&folder.options());
    let after = contents(store.address);
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after, "{:.200}\n{:.200}", before, after);
    }
}
