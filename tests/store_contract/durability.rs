//! Nothing acknowledged is lost: not by a cut, not by a kill, and the disk has it before the client
//! hears of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::log::Folder;
use super::node::Node;
use super::servers::Embedded;
use super::wire::{Connection, Value};

/// Prints past the capture of a test's output.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n{text}");
}

const CHANGES: &[&[&str]] = &[
    &["SET", "a", "line\r\nline"],
    &["RPUSH", "l", "1", "2", "3"],
    &["INCR", "n"],
    &["HSET", "h", "f", "v"],
    &["SADD", "s", "x", "y"],
    &["ZADD", "z", "1", "m", "2", "n"],
    &["EVAL", "redis.call('INCR','n') redis.call('APPEND','a','!')", "0"],
    &["LMOVE", "l", "k", "LEFT", "RIGHT"],
    &["SPOP", "s"],
    &["EXPIRE", "h", "1000"],
    &["MULTI"],
    &["INCR", "n"],
    &["SELECT", "1"],
    &["SET", "b", "elsewhere"],
    &["EXEC"],
    &["INCRBYFLOAT", "f", "1.5"],
    &["SELECT", "0"],
    &["ZPOPMIN", "z"],
    &["RENAME", "a", "c"],
    &["COPY", "c", "a"],
    &["SETRANGE", "a", "3", "xyz"],
    &["DEL", "c"],
    &["ZUNIONSTORE", "u", "2", "z", "s"],
    &["LREM", "l", "1", "2"],
    &["PERSIST", "h"],
    &["HINCRBY", "h", "g", "4"],
    &["SMOVE", "s", "t", "x"],
    &["GETDEL", "f"],
    &["LPOP", "k"],
    &["FLUSHDB"],
    &["MSET", "a", "1", "n", "2"],
    &["SWAPDB", "0", "1"],
    &["INCR", "n"],
];

/// The two databases that the changes use, whole.
fn state(connection: &mut Connection) -> Vec<Value> {
    const READS: [&[&str]; 11] = [
        &["MGET", "a", "b", "c", "f", "n"],
        &["LRANGE", "l", "0", "-1"],
        &["LRANGE", "k", "0", "-1"],
        &["HGETALL", "h"],
        &["PEXPIRETIME", "h"],
        &["SMEMBERS", "s"],
        &["SMEMBERS", "t"],
        &["ZRANGE", "z", "0", "-1", "WITHSCORES"],
        &["ZRANGE", "u", "0", "-1", "WITHSCORES"],
        &["DBSIZE"],
        &["KEYS", "*"],
    ];
    let mut all = Vec::new();
    for db in ["0", "1"] {
        connection.call(&["SELECT", db]);
        all.extend(READS.iter().map(|args| connection.call(args).unordered()));
    }
    all
}

#[test]
fn a_log_cut_at_any_byte_replays_to_a_prefix_of_what_was_written() {
    let folder = Folder::new("cut");
    let store = Embedded::open(folder.options()).unwrap();
    let [mut writer, mut reader] = [(); 2].map(|()| Connection::open(store.address));
    let mut states = vec![state(&mut reader)];
    for args in CHANGES {
        let reply = format!("{:?}", writer.call(args));
        assert!(!reply.starts_with('-'), "{args:?}: {reply}");
        let next = state(&mut reader);
        if states.last() != Some(&next) {
            states.push(next);
        }
    }
    store.stop();
    let whole = fs::read(folder.log()).unwrap();
    let mut reached = 0;
    for end in 0..=whole.len() {
        fs::write(folder.log(), &whole[..end]).unwrap();
        let store = Embedded::reopen(&folder.options());
        let found = state(&mut Connection::open(store.address));
        if found != states[reached] {
            reached += 1;
            assert_eq!(Some(&found), states.get(reached), "cut at byte {end}");
        }
    }
    assert_eq!(reached + 1, states.len(), "the whole log is the whole story");
}

const WRITERS: usize = 4;

#[test]
fn under_fsync_always_no_change_is_acknowledged_before_the_disk_has_it() {
    let folder = Folder::new("strace");
    let node = Node::start(&folder.0);
    let trace = folder.0.join("trace");
    let mut tracer = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fdatasync,write,writev,sendto", "-p", &node.pid().to_string(), "-o"])
        .arg(&trace)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace, which .ci/setup installs");
    // Kept open to the end: strace tells of each new thread there, and dies if nobody can read it.
    let mut words = BufReader::new(tracer.stderr.take().unwrap());
    let mut told = String::new();
    let _ = words.read_line(&mut told);
    assert!(told.contains("attached"), "strace cannot watch: {told}");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut connection = Connection::open(node.address);
                for n in 0..50 {
                    let reply = connection.call(&["SET", &format!("key{writer}"), &n.to_string()]);
                    assert_eq!(reply.text(), "OK");
                }
            });
        }
    });
    drop(node);
    let status = tracer.wait().unwrap();
    assert!(status.success(), "strace: {status}");
    let (mut unsynced, mut acknowledged, mut synced) = (false, 0, 0);
    for line in fs::read_to_string(trace).unwrap().lines() {
        if line.contains("write(") && line.contains("headcount.aof>") {
            unsynced = true;
        } else if line.contains("fdatasync") && line.trim_end().ends_with("= 0") {
            (unsynced, synced) = (false, synced + 1);
        } else if line.contains(r#""+OK\r\n"#) {
            assert!(!unsynced, "acknowledged before it was on the disk: {line}");
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, WRITERS * 50);
    // Each writer waits for its own, so each of its changes needs a sync.
    assert!(synced >= 50, "{synced} syncs");
}

/// How far one writer has come: what it has sent, and what was acknowledged.
#[derive(Default)]
struct Progress {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

fn write_until_killed(address: std::net::SocketAddr, writer: usize, progress: &Progress, over: &AtomicBool) {
    let Some(mut connection) = Connection::try_open(address) else { return };
    while !over.load(Ordering::Relaxed) {
        let next = progress.sent.fetch_add(1, Ordering::Relaxed) + 1;
        // Both keys in one step, so that half a change would show.
        let script = "redis.call('INCR', KEYS[1]) return redis.call('RPUSH', KEYS[2], ARGV[1])";
        let keys = [format!("count{writer}"), format!("list{writer}")];
        let reply = connection.call(&["EVAL", script, "2", &keys[0], &keys[1], &next.to_string()]);
        if reply == Value::Closed {
            return;
        }
        assert_eq!(reply.text(), next.to_string());
        progress.acknowledged.store(next, Ordering::Relaxed);
    }
}

/// After a restart: each writer's keys hold all that was acknowledged, and at most what was sent.
fn check(connection: &mut Connection, writers: &[Progress], story: &str) {
    for (writer, progress) in writers.iter().enumerate() {
        let text = connection.call(&["GET", &format!("count{writer}")]).text();
        let found: u64 = text.parse().unwrap_or(0);
        let (acknowledged, sent) =
            (progress.acknowledged.load(Ordering::Relaxed), progress.sent.load(Ordering::Relaxed));
        assert!(
            (acknowledged..=sent).contains(&found),
            "{story}: {acknowledged} acknowledged, {sent} sent, {found} found"
        );
        let length = connection.call(&["LLEN", &format!("list{writer}")]).text();
        assert_eq!(length, found.to_string(), "{story}: half a change");
        let last = connection.call(&["LINDEX", &format!("list{writer}"), "-1"]).text();
        assert!(found == 0 || last == found.to_string(), "{story}: {last} is last, not {found}");
        progress.sent.store(found, Ordering::Relaxed);
        progress.acknowledged.store(found, Ordering::Relaxed);
    }
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let (wanted, started) = (number("TEST_KILLS"), Instant::now());
    say(&format!("kills during writes: TEST_SEED={seed} repeats this run; TEST_KILLS sets how many"));
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = Folder::new("kill");
    let mut node = Node::start(&folder.0);
    let mut connection = Connection::open(node.address);
    // Enough for a rewrite to take several rounds, so that kills meet it at every stage.
    for key in 0..40 {
        connection.call(&["SET", &format!("filler{key}"), &"x".repeat(100_000)]);
    }
    let writers: Vec<Progress> = (0..WRITERS).map(|_| Progress::default()).collect();
    let mut kills = 0;
    while wanted.map_or(started.elapsed() < Duration::from_secs(15), |wanted| kills < wanted) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (number, progress) in writers.iter().enumerate() {
                let (address, over) = (node.address, &over);
                scope.spawn(move || write_until_killed(address, number, progress, over));
            }
            // The moment of the kill is what the seed decides, not something to be waited for.
            std::thread::sleep(Duration::from_micros(random.u64(1_000..80_000)));
            if random.bool() {
                Connection::open(node.address).call(&["BGREWRITEAOF"]);
                std::thread::sleep(Duration::from_micros(random.u64(0..40_000)));
            }
            node.kill();
            over.store(true, Ordering::Relaxed);
        });
        kills += 1;
        node = Node::start_at(node.address, &folder.0);
        check(&mut Connection::open(node.address), &writers, &format!("seed {seed}, kill {kills}"));
    }
    say(&format!("{kills} kills in {:.0?}, nothing acknowledged was lost", started.elapsed()));
}
