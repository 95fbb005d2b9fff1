//! No script ends, corrupts or pins the store: each of `hostile.lua` gets an answer in time, and the
//! store serves on.

use headcount::store::Options;

use super::log::Folder;
use super::node::Node;
use super::servers::Embedded;
use super::wire::{Connection, Value};

/// How long a script may run in these tests.
const LIMIT: u64 = 300;

fn scripts() -> impl Iterator<Item = &'static str> {
    include_str!("hostile.lua").split("\n----\n")
}

fn store() -> Embedded {
    let options = Options { script_time: LIMIT, max_query_buffer: 32 << 20, ..Options::default() };
    Embedded::open(options).unwrap()
}

#[test]
fn no_script_ends_the_store_or_keeps_it_for_longer_than_its_time() {
    let store = store();
    let mut client = Connection::open(store.address);
    let mut other = Connection::open(store.address);
    for body in scripts() {
        let reply = client.call(&["EVAL", body, "0"]);
        assert_ne!(reply, Value::Silent, "no answer to {body}");
        if std::env::var_os("SHOW").is_some() {
            eprintln!("{body}\n  {:.200}", format!("{reply:?}"));
        }
        assert_eq!(other.call(&["PING"]).text(), "PONG", "after {body}");
        client = Connection::open(store.address);
        other.call(&["FLUSHALL"]);
    }
}

#[test]
fn what_one_script_does_to_the_world_of_scripts_no_other_sees() {
    let store = store();
    let mut client = Connection::open(store.address);
    for body in scripts() {
        if body.contains("while true") || body.len() > 200 {
            continue;
        }
        client.call(&["EVAL", body, "0"]);
        client = Connection::open(store.address);
        let seen = "return {('a'):upper(), tostring(rawget(_G, 'x')), type(redis.call), #math, tostring(getmetatable('').__add)}";
        let reply = client.call(&["EVAL", seen, "0"]);
        assert_eq!(format!("{reply:?}"), "*[$A, $nil, $function, :0, $nil]", "after {body}");
        assert_eq!(client.call(&["FLUSHALL"]).text(), "OK");
    }
}

/// What a process has in memory, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_scripts_throw_away_at_the_bottom_of_the_stack_is_freed() {
    let folder = Folder::new("bottom");
    let node = Node::start(&folder.0);
    let mut client = Connection::open(node.address);
    let mut throw_away_at = |depth: usize| {
        let body = "local function deep(n) if n > 0 then return pcall(deep, n - 1) end \
            for i = 1, 10000 do pcall(redis.call, 'nosuch') end end deep(tonumber(ARGV[1]))";
        client.call(&["EVAL", body, "0", &depth.to_string()]);
    };
    throw_away_at(10);
    let before = resident(node.pid());
    // Somewhere among these a script may still call something, and the engine may not.
    (190..200).for_each(&mut throw_away_at);
    let grown = resident(node.pid()).saturating_sub(before);
    assert!(grown < 3 << 10, "{grown} KiB");
}
