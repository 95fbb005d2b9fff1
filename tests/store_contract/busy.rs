//! While a script takes long, others are told so and can end it, as with Redis: the same commands
//! against both, the same bytes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headcount::store::Options;

use super::servers::{Embedded, Redis};
use super::wire::{Connection, request};
use crate::support::ends;

const SOON: Duration = Duration::from_secs(30);

/// Asks until the store is busy, and is busy for this client too.
fn until_busy(client: &mut Connection) {
    let end = Instant::now() + SOON;
    while !format!("{:?}", client.call(&["GET", "x"])).starts_with("-BUSY") {
        assert!(Instant::now() < end, "the store does not become busy");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What two clients see of a script that runs until it is killed, and of one that has written.
fn seen(address: SocketAddr) -> Vec<String> {
    let mut seen = Vec::new();
    let (mut caller, mut other) = (Connection::open(address), Connection::open(address));
    other.call(&["CONFIG", "SET", "lua-time-limit", "50"]);
    caller.send(&request(&["EVAL", "while true do pcall(function() while true do end end) end", "0"]));
    until_busy(&mut other);
    let mut late = Connection::open(address);
    for (client, line) in [
        (0, "PING"),
        (1, "PING"),
        (1, "SUBSCRIBE c"),
        (1, "SCRIPT EXISTS x"),
        (1, "SCRIPT FLUSH"),
        (1, "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0"),
        (1, "NOSUCH"),
        (1, "GET"),
        (1, "AUTH"),
        (1, "HELLO 4"),
        (1, "MULTI"),
        (1, "SET a b"),
        (1, "EXEC"),
        (1, "WATCH w w2"),
        (1, "UNWATCH"),
        (1, "WATCH w"),
        (1, "MULTI"),
        (1, "WATCH w"),
        (1, "DISCARD"),
        (1, "DISCARD"),
        (1, "WATCH quiet"),
        (1, "UNWATCH x"),
        (1, "MULTI"),
        (1, "RESET"),
        (0, "SCRIPT KILL"),
    ] {
        let client = if client == 0 { &mut other } else { &mut late };
        let words: Vec<&str> = line.split(' ').collect();
        seen.push(format!("{line}: {:?}", client.call(&words)));
    }
    seen.push(format!("the caller: {:?}", caller.read()));
    for client in [&mut caller, &mut other, &mut late] {
        seen.push(format!("afterwards: {:?}", client.call(&["PING"])));
    }
    for line in ["MULTI", "GET quiet", "EXEC"] {
        seen.push(format!("{line} of a watcher: {:?}", late.call(&line.split(' ').collect::<Vec<_>>())));
    }
    seen.push(format!("{:?}", other.call(&["SCRIPT", "KILL"])));
    let loops = "redis.call('SET', 'x', 1) for i = 1, 3e8 do end redis.call('SET', 'written', 1) \
                 return redis.call('GET', 'x')";
    caller.send(&request(&["EVAL", loops, "0"]));
    until_busy(&mut other);
    late.call(&["WATCH", "written"]);
    seen.push(format!("{:?}", other.call(&["SCRIPT", "KILL"])));
    seen.push(format!("the caller: {:?}", caller.read()));
    seen.push(format!("{:?}", other.call(&["GET", "x"])));
    for line in ["MULTI", "GET written", "EXEC"] {
        seen.push(format!("{line} of a watcher: {:?}", late.call(&line.split(' ').collect::<Vec<_>>())));
    }
    seen
}

#[test]
fn a_script_that_takes_long_is_busy_to_others_and_killed_by_them_as_in_redis() {
    let options = Options { script_time: 600_000, ..Options::default() };
    let (ours, theirs) = (Embedded::open(options).unwrap(), Redis::start());
    assert_eq!(seen(ours.address), seen(theirs.address));
}

#[test]
fn a_client_that_leaves_while_a_script_runs_leaves_nothing_behind() {
    let store = Embedded::open(Options { busy_after: 10, script_time: 600_000, ..Options::default() }).unwrap();
    let (mut caller, mut other) = (Connection::open(store.address), Connection::open(store.address));
    let mut leaver = Connection::open(store.address);
    leaver.call(&["SUBSCRIBE", "news"]);
    let mut watcher = Connection::open(store.address);
    watcher.call(&["WATCH", "k"]);
    let mut piper = Connection::open(store.address);
    caller.send(&request(&["EVAL", "while true do end", "0"]));
    until_busy(&mut other);
    drop((leaver, watcher));
    piper.send(&[request(&["PING"]), request(&["MULTI"]), request(&["PING"]), request(&["EXEC"])].concat());
    let mut newcomer = Connection::open(store.address);
    until_busy(&mut newcomer);
    for expected in ["-BUSY", "+OK", "-BUSY", "-EXECABORT"] {
        let reply = format!("{:?}", piper.read());
        assert!(reply.starts_with(expected), "{reply}");
    }
    assert_eq!(other.call(&["SCRIPT", "KILL"]).text(), "OK");
    assert!(caller.read().text().starts_with("ERR Script killed"), "the script was not killed");
    assert_eq!(format!("{:?}", other.call(&["PUBSUB", "NUMSUB", "news"])), "*[$news, :0]");
    let clients = other.call(&["CLIENT", "LIST"]).text();
    assert_eq!(clients.lines().count(), 4, "{clients}");
}

#[test]
fn a_store_that_is_told_to_stop_does_not_wait_for_a_script() {
    let store = Embedded::open(Options { busy_after: 10, script_time: 600_000, ..Options::default() }).unwrap();
    let (mut caller, mut other) = (Connection::open(store.address), Connection::open(store.address));
    caller.send(&request(&["EVAL", "while true do end", "0"]));
    until_busy(&mut other);
    ends("it stops", SOON, || store.stop());
}
