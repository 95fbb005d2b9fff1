//! No script ends, corrupts or pins the store: each of `hostile.lua` gets an answer in time, and the
//! store serves on.

use headcount::store::Options;

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
