//! Undoing a script leaves everything as it was, whatever commands it has run.

use proptest::prelude::*;

use crate::store::clock::Time;
use crate::store::command::{Flags, find};
use crate::store::data::Data;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::ArgList;

const KEYS: &[&str] =
    &["a", "b", "c", "a key whose name is longer than fits inline", "list", "hash", "set", "zset", "x"];
const VALUES: &[&str] =
    &["1", "2", "17", "-3", "x", "y", "", "longer than the twenty-two bytes that fit inline", "1.5", "field"];

/// `k` stands for a key, `v` for a value and `n` for a small number; everything else is literal.
#[rustfmt::skip]
const TEMPLATES: &[&str] = &[
    "SET k v", "SET k v PX 50", "SET k v KEEPTTL", "GETSET k v", "SETNX k v", "MSET k v k v", "APPEND k v",
    "SETRANGE k n v", "SETBIT k n 1", "BITFIELD k SET u8 n 200 INCRBY i16 9 n OVERFLOW FAIL SET u4 70 3",
    "BITOP XOR k k k", "INCRBY k n", "DECR k", "INCRBYFLOAT k 1.5", "GETDEL k", "GETEX k PX 70", "PFADD k v v",
    "PFMERGE k k k", "PFCOUNT k", "PFADD p v v v", "PFADD p v", "SETRANGE p 99 v",
    "DEL k", "UNLINK k k", "RENAME k k", "RENAMENX k k", "COPY k k REPLACE", "COPY k k DB 1", "MOVE k 1",
    "EXPIRE k 100", "PEXPIRE k 3", "PEXPIREAT k 1", "PERSIST k", "SELECT 0", "SELECT 1", "SWAPDB 0 1", "FLUSHDB", "FLUSHALL",
    "LPUSH k v v", "RPUSH k v v v", "LPUSHX k v", "LPOP k", "LPOP k n", "RPOP k n", "LSET k n v", "LSET k -1 v",
    "LINSERT k BEFORE v v", "LINSERT k AFTER v v", "LREM k n v", "LREM k -2 v", "LREM k 0 v", "LTRIM k n -2",
    "LTRIM k 0 n", "LMOVE k k LEFT RIGHT", "RPOPLPUSH k k", "LMPOP 2 k k LEFT COUNT n", "SORT k ALPHA STORE k",
    "SADD k v v v", "SREM k v v", "SPOP k", "SPOP k n", "SMOVE k k v", "SUNIONSTORE k k k", "SDIFFSTORE k k k",
    "HSET k v v", "HSET k v v v v v v", "HDEL k v v", "HSETNX k v v", "HINCRBY k v n", "HINCRBYFLOAT k v 0.5",
    "ZADD k n v", "ZADD k GT CH n v n v", "ZADD k n v n v n v", "ZREM k v v", "ZINCRBY k n v", "ZPOPMIN k", "ZPOPMAX k n",
    "ZREMRANGEBYRANK k 0 n", "ZREMRANGEBYSCORE k 1 n", "ZREMRANGEBYLEX k [1 [y", "ZUNIONSTORE k 2 k k",
    "ZRANGESTORE k k 0 n", "GEOADD k 13.3 38.1 v", "ZMPOP 2 k k MIN COUNT n",
    "XADD k * v v", "XADD k MAXLEN n * v v v v", "XADD k * v v v v", "XDEL k 1000-n 1000-n", "XTRIM k MAXLEN n",
    "XTRIM k MINID 1000-n", "XSETID k 5000-n", "XGROUP CREATE k g 0 MKSTREAM", "XGROUP CREATE k h 1000-n",
    "XGROUP CREATECONSUMER k g v", "XGROUP DELCONSUMER k g v", "XGROUP DESTROY k g", "XGROUP SETID k g 1000-n",
    "XREADGROUP GROUP g v COUNT n STREAMS k >", "XREADGROUP GROUP g v NOACK COUNT 1 STREAMS k >", "XACK k g 1000-n",
    "XCLAIM k g v 0 1000-n", "XCLAIM k g v 0 1000-n FORCE JUSTID", "XAUTOCLAIM k g v 0 0 COUNT n", "PUBLISH v v",
];

/// Keys whose values are large enough to take every internal form.
const LARGE: &[&str] = &["list", "hash", "set", "zset", "x"];

fn call(data: &mut Data, words: &[String]) {
    let args: ArgList = words.iter().map(|word| word.as_bytes()).collect();
    let command = find(args[0]).unwrap_or_else(|| panic!("{words:?}"));
    let _ = command.call(data, &args, &mut Reply::default());
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn fill(data: &mut Data) {
    call(data, &words(&format!("HSET hash {} x", "long".repeat(20))));
    for n in 0..220 {
        call(data, &words(&format!("HSET hash field{n} {n}")));
        call(data, &words(&format!("SADD set {n}")));
        call(data, &words(&format!("RPUSH list {}", n % 7)));
        call(data, &words(&format!("ZADD zset {} member{n}", n % 11)));
        call(data, &words(&format!("XADD x 900-{} f {n}", n + 1)));
    }
    call(data, &words("XGROUP CREATE x g 0"));
    call(data, &words("XREADGROUP GROUP g ann COUNT 20 STREAMS x >"));
    data.keys.journal.commit();
}

/// Returns everything in the store, in order.
fn picture(data: &mut Data) -> (Vec<u8>, Vec<String>) {
    let mut shown = Vec::new();
    let selected = data.keys.selected;
    for db in 0..2 {
        data.keys.selected = db;
        for position in 0..data.keys.len() {
            if let Some((key, value, _)) = data.keys.key_at(position) {
                shown.push(format!("{db} {} {}", key.escape_ascii(), value.encoding()));
            }
        }
    }
    data.keys.selected = selected;
    data.keys.journal.begin_snapshot();
    data.keys.begin_rewrite();
    while data.keys.continue_rewrite(usize::MAX) {}
    let saved = std::mem::take(&mut data.keys.journal.saved);
    (saved, shown)
}

fn command() -> impl Strategy<Value = Vec<String>> {
    let key = prop::sample::select(KEYS);
    let value = prop::sample::select(VALUES);
    let picks = (prop::collection::vec(key, 3), prop::collection::vec(value, 6), prop::collection::vec(0..6u8, 4));
    (prop::sample::select(TEMPLATES), picks).prop_map(|(template, (keys, values, numbers))| {
        let (mut keys, mut values) = (keys.into_iter(), values.into_iter());
        let mut numbers = numbers.into_iter();
        let fill = |word: &str| match word {
            "k" => keys.next().unwrap_or("a").to_owned(),
            "v" => values.next().unwrap_or("1").to_owned(),
            _ if word.ends_with('n') => {
                word.trim_end_matches('n').to_owned() + &numbers.next().unwrap_or(1).to_string()
            }
            _ => word.to_owned(),
        };
        template.split(' ').map(fill).collect()
    })
}

fn undo(before: &[Vec<String>], script: &[Vec<String>], large: bool) -> Result<(), TestCaseError> {
    let mut data = Data::new();
    data.keys.set_time(Time::from_millis(1000));
    data.keys.journal.enabled = true;
    data.keys.events.wanted = Classes::parse("KEA").unwrap_or_default();
    if large {
        fill(&mut data);
    }
    before.iter().for_each(|words| call(&mut data, words));
    data.keys.journal.commit();
    data.keys.journal.ready.clear();
    data.keys.selected = 0;
    let (saved, shown) = picture(&mut data);
    let watched: Vec<(&str, u64)> = KEYS.iter().map(|key| (*key, data.keys.watch(key.as_bytes()))).collect();
    data.begin_script();
    script.iter().for_each(|words| call(&mut data, words));
    data.undo_changes();
    data.keys.selected = 0;
    for (key, version) in watched {
        prop_assert!(!data.keys.unwatch(0, key.as_bytes(), version), "{} has changed", key);
    }
    data.keys.journal.commit();
    prop_assert!(data.keys.journal.ready.is_empty(), "{}", data.keys.journal.ready.escape_ascii());
    prop_assert!(data.keys.events.is_empty() && data.pubsub.outbox.is_empty());
    let after = picture(&mut data);
    prop_assert_eq!(after.1, shown);
    prop_assert_eq!(after.0.escape_ascii().to_string(), saved.escape_ascii().to_string());
    prop_assert_eq!(data.keys.used(), data.keys.counted());
    Ok(())
}

#[test]
fn the_templates_are_commands() {
    for template in TEMPLATES {
        let name = template.split(' ').next().unwrap_or_default();
        assert!(find(name.as_bytes()).is_some(), "{template}");
    }
    let missing: Vec<&str> = crate::store::command::COMMANDS
        .rows
        .iter()
        .filter(|row| row.spec.flags.has(Flags::WRITE))
        .map(|row| row.spec.name)
        .filter(|name| !TEMPLATES.iter().any(|template| template.to_lowercase().starts_with(name)))
        .collect();
    assert_eq!(missing, ALIKE, "commands that nothing here undoes");
    assert!(LARGE.iter().all(|key| KEYS.contains(key)));
}

/// Commands that are not tried because their bodies change keys in the same way as others do.
#[rustfmt::skip]
const ALIKE: &[&str] = &[
    "blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin", "decrby", "expireat", "georadius",
    "georadiusbymember", "geosearchstore", "hmset", "msetnx", "psetex", "restore", "rpushx", "setex", "sinterstore",
    "zdiffstore", "zinterstore",
];

proptest! {
    #[test]
    fn what_a_script_has_changed_can_be_undone(
        before in prop::collection::vec(command(), 0..40),
        script in prop::collection::vec(command(), 1..30),
    ) {
        undo(&before, &script, false)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn what_a_script_has_changed_in_large_values_can_be_undone(script in prop::collection::vec(command(), 1..30)) {
        undo(&[], &script, true)?;
    }
}
