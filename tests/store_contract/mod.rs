//! The embedded store answers as Redis 7 does: the same cases against both, the same bytes back.
//!
//! A case is a list of commands, one a line; `cases/*.txt` hold them by topic, with a blank line
//! between cases. Each runs on fresh connections to empty servers, in RESP2 and again in RESP3, and
//! every reply must be the same, type and error text included. A `~` in front of a command says that
//! the order of its reply's elements is nobody's promise.

mod acl;
mod advisories;
mod bounds;
mod busy;
mod caching;
mod clients;
mod descriptions;
mod dialogs;
mod dumps;
mod durability;
mod eviction;
mod extreme;
mod extremes;
mod hostile;
mod in_process;
mod log;
mod lua_grammar;
mod node;
mod programs;
mod random;
mod scripts_at_random;
mod servers;
mod slow;
mod statistics;
mod turns;
mod undone;
mod unmodified;
mod wire;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use servers::{Embedded, Redis};
use wire::{Connection, Value};

const CASES: [(&str, &str); 13] = [
    ("keys", include_str!("cases/keys.txt")),
    ("strings", include_str!("cases/strings.txt")),
    ("hashes", include_str!("cases/hashes.txt")),
    ("lists", include_str!("cases/lists.txt")),
    ("sets", include_str!("cases/sets.txt")),
    ("zsets", include_str!("cases/zsets.txt")),
    ("streams", include_str!("cases/streams.txt")),
    ("bits", include_str!("cases/bits.txt")),
    ("sorting", include_str!("cases/sorting.txt")),
    ("places", include_str!("cases/places.txt")),
    ("scripts", include_str!("cases/scripts.txt")),
    ("libraries", include_str!("cases/libraries.txt")),
    ("server", include_str!("cases/server.txt")),
];

/// Commands that are followed by messages, which have to be waited for.
const TALKATIVE: [&str; 3] = ["UNSUBSCRIBE", "SUBSCRIBE", "PUBLISH"];

#[test]
fn every_reply_is_the_one_that_redis_gives() {
    let (ours, theirs) = (Embedded::start(), Redis::start());
    let mut differences = Vec::new();
    for (topic, text) in CASES {
        for (protocol, case) in ["2", "3"].iter().flat_map(|p| text.split("\n\n").map(move |c| (p, c))) {
            // Times to live are told in whole seconds, rounded: a case that took nearly half of one is tried again.
            for tries in 1.. {
                let start = Instant::now();
                let found = differences_in(case, protocol, [ours.address, theirs.address]);
                if found.is_empty() || start.elapsed() < Duration::from_millis(400) || tries == 3 {
                    differences.extend(found.into_iter().map(|found| format!("{topic}, RESP{protocol}: {found}")));
                    break;
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Which replies of the two servers to the commands of a case are not the same.
fn differences_in(case: &str, protocol: &str, servers: [SocketAddr; 2]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut pair = servers.map(Connection::open);
    for setup in [&["FLUSHALL"][..], &["SCRIPT", "FLUSH"], &["HELLO", protocol]] {
        for connection in &mut pair {
            connection.call(setup);
        }
    }
    for line in case.lines().filter(|line| !line.is_empty()) {
        let args = split(line.trim_start_matches('~'));
        let args: Vec<&[u8]> = args.iter().map(|arg| &**arg).collect();
        let name = String::from_utf8_lossy(args[0]).to_uppercase();
        let [a, b] = pair.each_mut().map(|connection| {
            let mut replies = vec![connection.call(&args)];
            if TALKATIVE.iter().any(|talkative| name.ends_with(talkative)) {
                // What came of its own accord stands in front of the answer to this.
                replies.push(connection.call(&["PING"]));
            }
            if line.starts_with('~') { replies.into_iter().map(Value::unordered).collect() } else { replies }
        });
        let [a, b] = [a, b].map(|replies| replies.into_iter().map(Value::without_times).collect::<Vec<_>>());
        if a != b {
            differences.push(format!("{line}\n  ours  {a:?}\n  Redis {b:?}"));
        }
    }
    differences
}

/// Splits a line into words; `"` quotes, with `\"`, `\\` and `\n` inside.
fn split(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut chars) = (Vec::new(), None::<String>, line.chars());
    let mut quoted = false;
    while let Some(next) = chars.next() {
        match next {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => {
                let escaped = chars.next().unwrap();
                word.get_or_insert_default().push(if escaped == 'n' { '\n' } else { escaped });
            }
            ' ' if !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words.into_iter().map(String::into_bytes).collect()
}
