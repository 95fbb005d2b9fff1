//! What the store says of its own commands, beside what Redis says of them.

use std::collections::{BTreeMap, BTreeSet};

use super::servers::{Embedded, Redis};
use super::wire::{Connection, Value};

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Many(_, items) => items,
        other => panic!("no list: {other:?}"),
    }
}

fn texts(value: Value) -> Vec<String> {
    items(value).iter().map(Value::text).collect()
}

/// The names of commands, and those of subcommands such as `client|id`.
fn names(connection: &mut Connection) -> BTreeSet<String> {
    texts(connection.call(&["COMMAND", "LIST"])).into_iter().collect()
}

/// A command as it is described, without what only people read.
fn described(connection: &mut Connection, name: &str) -> String {
    let mut parts = items(items(connection.call(&["COMMAND", "INFO", name])).remove(0));
    // Tips, and the descriptions of subcommands.
    parts.remove(9);
    parts.remove(7);
    let specs = items(parts.remove(7)).into_iter().map(|spec| {
        let fields = items(spec);
        let pairs = fields.chunks(2).filter(|pair| pair[0].text() != "notes");
        format!("{:?}", pairs.map(|pair| (pair[0].clone(), pair[1].clone().unordered())).collect::<Vec<_>>())
    });
    let specs: Vec<String> = specs.collect();
    let parts: Vec<Value> = parts.into_iter().map(Value::unordered).collect();
    format!("{parts:?} {specs:?}")
}

/// Commands of which Redis describes each subcommand for itself.
const PARENTS: [&str; 11] =
    ["acl", "client", "config", "latency", "memory", "object", "pubsub", "script", "slowlog", "xgroup", "xinfo"];

/// Commands that take an argument more, as in Redis from 7.2 on.
const NEWER: [&str; 2] = ["zrank", "zrevrank"];

#[test]
fn every_command_is_described_as_redis_describes_it() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    for protocol in ["2", "3"] {
        let mut pair = [ours.address, theirs.address].map(Connection::open);
        pair.iter_mut().for_each(|connection| drop(connection.call(&["HELLO", protocol])));
        let [a, b] = &mut pair;
        let known = names(b);
        let own = names(a).into_iter().filter(|name| !name.contains('|') && !PARENTS.contains(&name.as_str()));
        let shared = own.filter(|name| known.contains(name) && !NEWER.contains(&name.as_str()));
        let described: Vec<(String, String)> =
            shared.map(|name| (described(a, &name), described(b, &name))).filter(|(one, other)| one != other).collect();
        let shown: Vec<String> = described.iter().map(|(one, other)| format!("ours  {one}\nRedis {other}")).collect();
        assert!(shown.is_empty(), "{}", shown.join("\n"));
    }
}

/// Subcommands of Redis that the store does not have; tests/RESULTS.md says why.
#[rustfmt::skip]
const MISSING: [(&str, &[&str]); 3] = [
    ("ACL", &["DELUSER", "LOAD", "LOG", "SAVE", "SETUSER"]),
    ("LATENCY", &["GRAPH"]),
    ("MEMORY", &["MALLOC-STATS"]),
];

/// The names of a command's subcommands, as its help has them.
fn helped(connection: &mut Connection, command: &str) -> BTreeMap<String, String> {
    let lines = texts(connection.call(&[command, "HELP"]));
    assert_eq!(lines[0], format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    let usages = lines[1..].iter().filter(|line| !line.starts_with(' '));
    let usages = usages.map(|usage| (usage.split(' ').next().unwrap_or_default().to_owned(), usage.clone()));
    usages.filter(|(name, _)| !name.starts_with('(')).collect()
}

#[test]
fn every_command_with_subcommands_helps_and_knows_those_of_redis() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let [mut a, mut b] = [ours.address, theirs.address].map(Connection::open);
    let containers: BTreeSet<String> =
        names(&mut a).iter().filter_map(|name| name.split_once('|')).map(|(name, _)| name.to_uppercase()).collect();
    assert!(containers.len() > 10, "{containers:?}");
    for command in containers {
        let (own, known) = (helped(&mut a, &command), helped(&mut b, &command));
        let missing = MISSING.iter().find(|(of, _)| *of == command).map_or(&[][..], |(_, names)| names);
        for name in known.keys().filter(|name| !missing.contains(&name.as_str())) {
            assert!(own.contains_key(name), "{command} {name} is missing");
        }
        for name in own.keys() {
            // Whatever is in the help, the command does not deny that it knows it.
            let reply = a.call(&[command.as_str(), name, "a", "b", "c", "d", "e", "f", "g"]).text();
            assert!(!reply.contains("unknown subcommand '"), "{command} {name}: {reply}");
        }
    }
}

#[test]
fn a_command_that_is_left_out_on_purpose_is_refused_with_a_sentence() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let [mut a, mut b] = [ours.address, theirs.address].map(Connection::open);
    let own = names(&mut a);
    let missing: Vec<String> =
        names(&mut b).into_iter().filter(|name| !name.contains('|') && !own.contains(name)).collect();
    assert!(missing.iter().any(|name| name == "fcall"), "{missing:?}");
    for name in missing {
        let reply = a.call(&[name.as_str(), "a", "b", "c"]).text();
        assert!(reply.starts_with("ERR ") && !reply.contains("unknown command"), "{name}: {reply}");
    }
    assert_eq!(a.call(&["CLUSTER", "INFO"]), b.call(&["CLUSTER", "INFO"]));
}

#[test]
fn passwords_are_drawn_at_random_and_are_as_long_as_those_of_redis() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let [mut a, mut b] = [ours.address, theirs.address].map(Connection::open);
    let mut drawn = BTreeSet::new();
    for bits in ["", "1", "4", "5", "8", "9", "127", "4096"] {
        let args: Vec<&str> = ["ACL", "GENPASS", bits].into_iter().filter(|arg| !arg.is_empty()).collect();
        let password = a.call(&args).text();
        assert_eq!(password.len(), b.call(&args).text().len(), "{bits}");
        assert!(password.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{password}");
        assert!(password.len() < 16 || drawn.insert(password) && drawn.insert(a.call(&args).text()), "{bits}");
    }
}
