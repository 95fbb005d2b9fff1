//! What took long is told as Redis tells it, and commands are in Redis's categories.

use std::net::SocketAddr;

use super::servers::{Embedded, Redis};
use super::wire::{Connection, Value};

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Many(_, items) => items,
        other => panic!("{other:?} is no list"),
    }
}

/// What `SLOWLOG` tells of some commands, without their times and addresses.
fn slow(address: SocketAddr) -> Vec<String> {
    let mut client = Connection::open(address);
    client.call(&["CLIENT", "SETNAME", "slow"]);
    client.call(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    client.call(&["SLOWLOG", "RESET"]);
    client.call(&["SET", "k", &"x".repeat(300)]);
    let many: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    client.call(&[vec!["RPUSH".to_owned(), "l".to_owned()], many].concat());
    for args in [&["MULTI"][..], &["GET", "k"], &["EXEC"], &["NOSUCH"], &["GET"], &["LPUSH", "k", "x"]] {
        client.call(args);
    }
    let told = items(client.call(&["SLOWLOG", "GET", "-1"]));
    let mut seen: Vec<String> = told.into_iter().map(|entry| format!("{:?}", items(entry).split_off(3)[0])).collect();
    client.call(&["CONFIG", "SET", "slowlog-max-len", "2"]);
    client.call(&["GET", "k"]);
    seen.push(format!("{:?}", client.call(&["SLOWLOG", "LEN"])));
    let last = items(items(client.call(&["SLOWLOG", "GET", "1"])).remove(0));
    seen.push(format!("{:?}", last[5]));
    client.call(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]);
    client.call(&["SLOWLOG", "RESET"]);
    client.call(&["GET", "k"]);
    seen.push(format!("{:?}", client.call(&["SLOWLOG", "LEN"])));
    seen
}

#[test]
fn slow_commands_are_told_as_in_redis() {
    assert_eq!(slow(Embedded::start().address), slow(Redis::start().address));
}

#[test]
fn what_took_long_is_told_by_seconds() {
    let store = Embedded::start();
    let mut client = Connection::open(store.address);
    // Long enough that nothing else takes as long, also where there is much else to do.
    client.call(&["CONFIG", "SET", "latency-monitor-threshold", "100"]);
    client.call(&["EVAL", "for _ = 1, 1e8 do end", "0"]);
    let latest = items(client.call(&["LATENCY", "LATEST"]));
    assert_eq!(items(latest[0].clone())[0].text(), "command");
    assert_eq!(items(client.call(&["LATENCY", "HISTORY", "command"])).len(), 1);
    assert_eq!(client.call(&["LATENCY", "RESET"]).text(), "1");
    assert!(items(client.call(&["LATENCY", "LATEST"])).is_empty());
}

/// Commands of which Redis knows each subcommand as a command of its own.
const PARENTS: [&str; 11] =
    ["acl", "client", "config", "latency", "memory", "object", "pubsub", "script", "slowlog", "xgroup", "xinfo"];

/// Commands that Redis 7.0 does not have.
const OWN: &[&str] = &[];

#[test]
fn commands_are_in_the_categories_of_redis() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let [mut ours, mut theirs] = [ours.address, theirs.address].map(Connection::open);
    let known: Vec<String> =
        items(ours.call(&["COMMAND", "LIST"])).iter().map(Value::text).filter(|name| !name.contains("|")).collect();
    for category in items(theirs.call(&["ACL", "CAT"])).iter().map(Value::text) {
        let [mut ours, mut theirs] = [&mut ours, &mut theirs]
            .map(|store| items(store.call(&["ACL", "CAT", &category])).iter().map(Value::text).collect::<Vec<_>>());
        // What is said of these commands here, Redis says of their subcommands.
        ours.retain(|name| !PARENTS.contains(&&**name) && !OWN.contains(&&**name));
        theirs.retain(|name| known.contains(name) && !PARENTS.contains(&&**name));
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{category}");
    }
}
