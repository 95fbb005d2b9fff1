//! What `INFO` and `LATENCY` tell of commands, as dashboards read it: the same commands against both servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headcount::store::Options;

use super::servers::{Embedded, Redis};
use super::wire::{Connection, Value, request};

/// The lines of a section, by their names.
fn info(client: &mut Connection, section: &str) -> BTreeMap<String, String> {
    let text = client.call(&["INFO", section]).text();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn number(client: &mut Connection, section: &str, name: &str) -> f64 {
    let lines = info(client, section);
    lines.get(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {lines:?}"))
}

/// What became of commands, without how long they took.
fn counted(address: SocketAddr, commands: &[&str]) -> Vec<String> {
    let (mut client, mut other) = (Connection::open(address), Connection::open(address));
    client.call(&["FLUSHALL"]);
    client.call(&["CONFIG", "RESETSTAT"]);
    for line in commands {
        other.call(&super::split(line));
    }
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in info(&mut client, "commandstats") {
        let times = value.split(',').filter(|part| !part.starts_with("usec"));
        seen.push(format!("{name} {:?}", times.collect::<Vec<_>>()));
    }
    seen.extend(info(&mut client, "errorstats").iter().map(|(name, value)| format!("{name} {value}")));
    seen.push(info(&mut client, "stats")["total_error_replies"].clone());
    seen
}

const CASES: &[&[&str]] = &[
    &["SET str x", "GET str", "GET str", "INCR str", "GET", "LPUSH str a", "NOSUCH a", "CLIENT NOSUCH", "CONFIG GET"],
    &[
        "CLIENT GETNAME",
        "OBJECT HELP",
        "CONFIG GET maxmemory",
        "COMMAND COUNT",
        "XINFO HELP",
        "SCRIPT LOAD \"return 1\"",
    ],
    &["SET str x", "EVAL \"return redis.pcall('incr', 'str')\" 0"],
    &["SET str x", "EVAL \"redis.pcall('incr', 'str') return 1\" 0"],
    &["SET str x", "EVAL \"return redis.call('incr', 'str')\" 0"],
    &["EVAL \"return redis.call('nosuch')\" 0", "EVAL \"return redis.pcall('nosuch')\" 0"],
    &["EVAL \"return redis.call('get')\" 0", "EVAL \"redis.pcall('get') return 1\" 0"],
    &["EVAL \"return redis.error_reply('MY ERR')\" 0", "EVAL \"return {err='OTHER x'}\" 0", "EVAL \"error('x')\" 0"],
    &["EVAL \"syntax error (\" 0", "EVALSHA abc 0", "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0"],
    &["EVAL_RO \"return redis.call('set', 'a', 'b')\" 0", "EVAL \"return redis.call('subscribe', 'a')\" 0"],
    &["EVAL \"for i = 1, 20 do redis.call('incr', 'n') end return redis.call('get', 'n')\" 0"],
    &["MULTI", "SET a b", "GET", "INCR a", "EXEC"],
    &["MULTI", "SET a b", "INCR a", "EXEC"],
    &["MULTI", "DISCARD", "EXEC", "AUTH x", "HELLO 9", "BLPOP nolist 0.01", "RPUSH l a", "BLPOP l 0"],
];

#[test]
fn commands_and_errors_are_counted_as_in_redis() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    for case in CASES {
        assert_eq!(counted(ours.address, case), counted(theirs.address, case), "{case:?}");
    }
}

#[test]
fn whatever_redis_tells_in_info_is_told() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let [mut a, mut b] = [ours.address, theirs.address].map(Connection::open);
    for client in [&mut a, &mut b] {
        client.call(&["SET", "k", "v"]);
        client.call(&["INCR", "k"]);
    }
    let names = |client: &mut Connection, section: &str| info(client, section).into_keys().collect::<BTreeSet<_>>();
    let sections = ["server", "clients", "memory", "persistence", "stats", "replication", "cpu", "cluster", "keyspace"];
    for section in sections {
        let missing: Vec<String> = names(&mut b, section).difference(&names(&mut a, section)).cloned().collect();
        // What Redis was compiled with.
        let missing: Vec<String> =
            missing.into_iter().filter(|name| name != "atomicvar_api" && name != "gcc_version").collect();
        assert!(missing.is_empty(), "{section} lacks {missing:?}");
    }
    for words in [&["INFO"][..], &["INFO", "all"], &["INFO", "default"], &["INFO", "everything"], &["INFO", "nosuch"]] {
        let headings = [&mut a, &mut b].map(|client| {
            let text = client.call(words).text();
            text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(headings[0], headings[1], "{words:?}");
    }
}

#[test]
fn memory_and_processor_are_those_of_the_process() {
    let store = Embedded::start();
    let mut client = Connection::open(store.address);
    for n in 0..64 {
        client.call(&["SET", &format!("key{n}"), &"x".repeat(1 << 20)]);
    }
    let used = number(&mut client, "memory", "used_memory");
    assert!(used > f64::from(64 << 20));
    client.call(&["FLUSHALL"]);
    assert!(number(&mut client, "memory", "used_memory") < f64::from(32 << 20));
    assert!(number(&mut client, "memory", "used_memory_peak") >= used - f64::from(4 << 20));
    assert!(number(&mut client, "memory", "used_memory_rss") > f64::from(1 << 20));
    assert!(number(&mut client, "memory", "mem_fragmentation_ratio") > 0.0);
    let start = Instant::now();
    while number(&mut client, "cpu", "used_cpu_user_main_thread") == 0.0 {
        client.call(&["EVAL", "for _ = 1, 1e6 do end", "0"]);
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    assert!(number(&mut client, "cpu", "used_cpu_user") > 0.0);
}

#[test]
fn operations_a_second_are_those_of_the_last_seconds() {
    let store = Embedded::start();
    let mut client = Connection::open(store.address);
    let start = Instant::now();
    while number(&mut client, "stats", "instantaneous_ops_per_sec") < 100.0 {
        (0..1000).for_each(|_| drop(client.call(&["PING"])));
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    while number(&mut client, "stats", "instantaneous_ops_per_sec") > 20.0 {
        std::thread::sleep(Duration::from_millis(100));
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

/// What `LATENCY HISTOGRAM` tells of one command: the calls and the steps.
fn histogram(client: &mut Connection, command: &str) -> (String, Vec<(u64, u64)>) {
    let Value::Many(_, parts) = client.call(&["LATENCY", "HISTOGRAM", command]) else { panic!("no histogram") };
    assert_eq!(parts[0].text(), command);
    let Value::Many(_, fields) = &parts[1] else { panic!("no fields: {parts:?}") };
    assert_eq!([fields[0].text(), fields[2].text()], ["calls", "histogram_usec"]);
    let Value::Many(_, steps) = &fields[3] else { panic!("no steps: {fields:?}") };
    let numbers: Vec<u64> = steps.iter().map(|step| step.text().parse().unwrap()).collect();
    (fields[1].text(), numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect())
}

#[test]
fn durations_are_told_in_the_steps_of_redis() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let mut steps: Vec<BTreeSet<u64>> = Vec::new();
    for address in [ours.address, theirs.address] {
        let mut client = Connection::open(address);
        for loops in ["1", "1e3", "1e4", "1e5", "1e6"] {
            client.call(&["EVAL", "for _ = 1, tonumber(ARGV[1]) do end", "0", loops]);
        }
        let (calls, told) = histogram(&mut client, "eval");
        assert_eq!(calls, "5");
        assert!(told.is_sorted() && told.last().is_some_and(|(_, count)| *count == 5), "{told:?}");
        steps.push(told.into_iter().map(|(longest, _)| longest).collect());
        assert_eq!(format!("{:?}", client.call(&["LATENCY", "HISTOGRAM", "nosuch"])), "*[]");
        client.call(&["CONFIG", "GET", "maxmemory"]);
        assert_eq!(histogram(&mut client, "config|get").0, "1");
        client.call(&["CONFIG", "RESETSTAT"]);
        assert_eq!(format!("{:?}", client.call(&["LATENCY", "HISTOGRAM", "eval"])), "*[]");
    }
    // The servers are not equally fast; where both have a step, it is the same.
    let known: BTreeSet<u64> = (0..22).map(|power| (1024_u64 << power) + ((1024 << power) >> 7) - 1).collect();
    let known: BTreeSet<u64> = known.into_iter().map(|nanoseconds| nanoseconds / 1000).collect();
    for told in steps {
        assert!(told.is_subset(&known), "{told:?}");
    }
}

#[test]
fn what_others_do_while_a_script_runs_is_counted() {
    let store = Embedded::open(Options { busy_after: 10, script_time: 600_000, ..Options::default() }).unwrap();
    let (mut caller, mut other) = (Connection::open(store.address), Connection::open(store.address));
    caller.send(&request(&["EVAL", "while true do end", "0"]));
    while !other.call(&["GET", "x"]).text().starts_with("BUSY") {}
    other.call(&["SCRIPT", "KILL"]);
    caller.read();
    assert!(number(&mut other, "stats", "total_error_replies") >= 2.0);
    assert!(info(&mut other, "errorstats").contains_key("errorstat_BUSY"));
}

#[test]
fn latency_doctor_says_what_took_long() {
    let store = Embedded::start();
    let mut client = Connection::open(store.address);
    assert!(client.call(&["LATENCY", "DOCTOR"]).text().contains("latency-monitor-threshold"));
    // The slow log leaves out what the monitor still sees.
    client.call(&["CONFIG", "SET", "latency-monitor-threshold", "100", "slowlog-log-slower-than", "200000"]);
    assert!(client.call(&["LATENCY", "DOCTOR"]).text().starts_with("No command has taken 100 ms"));
    client.call(&["EVAL", "for _ = 1, 1e8 do end", "0"]);
    let text = client.call(&["LATENCY", "DOCTOR"]).text();
    assert!(
        text.starts_with("command: 1 seconds with delays") && text.contains("slowlog-log-slower-than 100000"),
        "{text}"
    );
}
