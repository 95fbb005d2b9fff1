//! Clients that were made for Redis and know nothing of this store. `.ci/setup` installs them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use super::log::Folder;
use super::servers::{Embedded, Redis};
use super::wire::{Connection, request};

/// What a program says.
fn run(program: &str, store: &Embedded, args: &[&str]) -> Output {
    let port = store.address.port().to_string();
    output(Command::new(program).args(["-p", &port]).args(args).stdin(Stdio::null()))
}

/// What a command says, which must be installed and succeed.
fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}; .ci/setup installs it"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn redis_cli_scans_and_loads_a_file_of_commands() {
    let (store, folder) = (Embedded::start(), Folder::new("cli"));
    let file = folder.0.join("commands");
    let commands = (0..1000).flat_map(|n| request(&["SET", &format!("key{n}"), "value"]));
    fs::write(&file, commands.collect::<Vec<u8>>()).unwrap();
    let port = store.address.port().to_string();
    let piped = output(Command::new("redis-cli").args(["-p", &port, "--pipe"]).stdin(fs::File::open(&file).unwrap()));
    assert!(text(&piped).contains("errors: 0, replies: 1000"), "{piped:?}");
    let scanned = run("redis-cli", &store, &["--scan", "--pattern", "key*"]);
    let mut keys: Vec<String> = text(&scanned).lines().map(str::to_owned).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 1000);
    let reply = run("redis-cli", &store, &["-3", "HGETALL", "nothing"]);
    assert_eq!(text(&reply).trim(), "");
}

#[test]
fn redis_cli_monitors_what_others_do() {
    let store = Embedded::start();
    let monitor = Command::new("redis-cli")
        .args(["-p", &store.address.port().to_string(), "MONITOR"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut monitor = monitor.expect("redis-cli is there; .ci/setup installs it");
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("OK"));
    Connection::open(store.address).call(&["SET", "a", "line\n"]);
    let line = lines.next().unwrap();
    assert!(line.ends_with(r#"] "SET" "a" "line\n""#), "{line}");
    monitor.kill().unwrap();
    monitor.wait().unwrap();
}

#[test]
fn redis_benchmark_runs_to_its_end() {
    let store = Embedded::start();
    let output = run("redis-benchmark", &store, &["-q", "-n", "500", "-c", "10", "-P", "4"]);
    let shown = text(&output);
    for test in [
        "PING_MBULK",
        "SET",
        "GET",
        "INCR",
        "LPUSH",
        "SADD",
        "HSET",
        "ZADD",
        "LRANGE_600 (first 600 elements)",
        "MSET (10 keys)",
    ] {
        assert!(shown.contains(&format!("{test}: ")), "{test} is missing in {shown}");
    }
}

#[test]
fn ioredis_is_content() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/article");
    for address in [theirs.address, ours.address] {
        let url = format!("redis://{address}");
        output(Command::new("node").args(["ioredis.js", &url]).current_dir(folder));
    }
}

const PYTHON: &str = r#"
import sys, redis
for protocol in (2, 3):
    r = redis.Redis(port=int(sys.argv[1]), protocol=protocol, decode_responses=True)
    r.flushall()
    assert r.set("text", "value", ex=100) and r.get("text") == "value" and r.ttl("text") > 90
    with r.pipeline() as pipe:
        assert pipe.incr("n").incr("n").execute() == [1, 2]
    r.zadd("z", {"a": 1, "b": 2.5})
    pairs = [tuple(pair) for pair in r.zrange("z", 0, -1, withscores=True)]
    assert pairs == [("a", 1.0), ("b", 2.5)], pairs
    r.hset("h", mapping={"f": "v"})
    assert r.hgetall("h") == {"f": "v"}
    assert int(r.register_script("return redis.call('GET', KEYS[1]) * 2")(keys=["n"])) == 4
    assert sorted(r.scan_iter()) == ["h", "n", "text", "z"]
    with r.lock("lock", timeout=5):
        assert r.exists("lock")
    listener = r.pubsub()
    listener.subscribe("news")
    assert listener.get_message(timeout=5)["type"] == "subscribe"
    assert r.publish("news", "hello") == 1
    assert listener.get_message(timeout=5)["data"] == "hello"
    assert r.info("server")["redis_version"]
    try:
        r.incr("text")
        raise SystemExit("no error")
    except redis.ResponseError as error:
        assert "not an integer" in str(error)
"#;

#[test]
fn redis_py_is_content() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tests-python/bin/python");
    for address in [theirs.address, ours.address] {
        output(Command::new(python).args(["-c", PYTHON, &address.port().to_string()]));
    }
}
