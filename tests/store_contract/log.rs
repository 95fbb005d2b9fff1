//! What was written is there again, in this store and in a real Redis.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headcount::store::{Fsync, Options, StoreError};

use super::servers::{Embedded, Redis};
use super::wire::{Connection, Value};

/// A folder that goes when the test does.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes an empty one.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headcount-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A store that is kept in it.
    pub fn options(&self) -> Options {
        Options { path: Some(self.0.clone()), fsync: Fsync::Always, ..Options::default() }
    }

    /// The log in it.
    pub fn log(&self) -> PathBuf {
        self.0.join("headcount.aof")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const WRITES: &[&[&str]] = &[
    &["SET", "text", "line\r\nline"],
    &["SET", "timed", "x", "EX", "1000"],
    &["INCRBY", "number", "41"],
    &["INCRBYFLOAT", "number", "1.5"],
    &["RPUSH", "list", "a", "b", "c"],
    &["LMOVE", "list", "other", "LEFT", "RIGHT"],
    &["HSET", "hash", "f", "v", "g", "w"],
    &["SADD", "set", "1", "2", "3", "4"],
    &["SPOP", "set"],
    &["ZADD", "zset", "1.5", "m", "-inf", "n"],
    &["ZPOPMAX", "zset"],
    &["XADD", "stream", "*", "f", "v"],
    &["XADD", "stream", "99999999999999-5", "f", "w", "g", "12"],
    &["XADD", "stream", "MAXLEN", "2", "99999999999999-*", "f", "x"],
    &["XGROUP", "CREATE", "stream", "group", "0"],
    &["XGROUP", "CREATE", "empty", "group", "$", "MKSTREAM"],
    &["XREADGROUP", "GROUP", "group", "ann", "COUNT", "1", "STREAMS", "stream", ">"],
    &["XREADGROUP", "GROUP", "group", "bob", "NOACK", "STREAMS", "stream", ">"],
    &["XADD", "stream", "99999999999999-8", "f", "y"],
    &["XADD", "stream", "99999999999999-9", "f", "z"],
    &["XREADGROUP", "GROUP", "group", "bob", "STREAMS", "stream", ">"],
    &["XDEL", "stream", "99999999999999-9"],
    &["XAUTOCLAIM", "stream", "group", "cat", "0", "0", "COUNT", "1"],
    &["XACK", "stream", "group", "99999999999999-9"],
    &["XCLAIM", "stream", "group", "dan", "0", "99999999999999-8", "RETRYCOUNT", "7"],
    &["SETBIT", "bits", "77", "1"],
    &["BITFIELD", "bits", "INCRBY", "u5", "3", "9"],
    &["BITOP", "NOT", "flipped", "bits"],
    &["PFADD", "estimate", "a", "b", "c"],
    &["PFCOUNT", "estimate"],
    &["PFMERGE", "merged", "estimate"],
    &["SORT", "set", "BY", "nosort", "GET", "#", "STORE", "sorted"],
    &["EVAL", "return redis.call('restore', 'restored', 0, redis.call('dump', 'stream'))", "0"],
    &["GEOADD", "places", "13.36", "38.11", "a", "15.08", "37.5", "b"],
    &["GEOSEARCHSTORE", "near", "places", "FROMMEMBER", "a", "BYRADIUS", "500", "km", "STOREDIST"],
    &["SELECT", "3"],
    &["SET", "elsewhere", "here"],
    &["EVAL", "redis.call('INCR','s') redis.call('SET','t',redis.call('TIME')[1])", "0"],
    &["SELECT", "0"],
    &["SET", "gone", "x", "PX", "1"],
    &["BLPOP", "list", "0"],
];

const READS: &[&[&str]] = &[
    &["GET", "text"],
    &["PEXPIRETIME", "timed"],
    &["GET", "number"],
    &["LRANGE", "list", "0", "-1"],
    &["LRANGE", "other", "0", "-1"],
    &["HGETALL", "hash"],
    &["SMEMBERS", "set"],
    &["ZRANGE", "zset", "0", "-1", "WITHSCORES"],
    &["XRANGE", "stream", "-", "+"],
    &["XINFO", "GROUPS", "stream"],
    &["XINFO", "GROUPS", "empty"],
    &["XPENDING", "stream", "group"],
    &["GET", "bits"],
    &["GET", "flipped"],
    &["PFCOUNT", "estimate"],
    &["PFCOUNT", "merged"],
    &["LRANGE", "sorted", "0", "-1"],
    &["XRANGE", "restored", "-", "+"],
    &["XINFO", "GROUPS", "restored"],
    &["ZRANGE", "places", "0", "-1", "WITHSCORES"],
    &["ZRANGE", "near", "0", "-1", "WITHSCORES"],
    &["SELECT", "3"],
    &["GET", "elsewhere"],
    &["GET", "s"],
    &["GET", "t"],
];

fn write(connection: &mut Connection) {
    for args in WRITES {
        let reply = connection.call(args);
        assert!(!format!("{reply:?}").starts_with('-'), "{args:?}: {reply:?}");
    }
}

fn read(address: std::net::SocketAddr) -> Vec<Value> {
    let mut connection = Connection::open(address);
    READS.iter().map(|args| connection.call(args).unordered()).collect()
}

#[test]
fn what_was_written_is_there_after_a_restart_and_after_a_rewrite() {
    let folder = Folder::new("restart");
    let store = Embedded::open(folder.options()).unwrap();
    write(&mut Connection::open(store.address));
    let before = read(store.address);
    store.stop();
    let store = Embedded::reopen(&folder.options());
    assert_eq!(read(store.address), before);
    assert_eq!(Connection::open(store.address).call(&["SAVE"]).text(), "OK");
    assert_eq!(Connection::open(store.address).call(&["INCR", "after"]).text(), "1");
    store.stop();
    let store = Embedded::reopen(&folder.options());
    assert_eq!(read(store.address), before);
    assert_eq!(Connection::open(store.address).call(&["GET", "after"]).text(), "1");
}

#[test]
fn the_log_loads_into_a_real_redis() {
    let (folder, redis) = (Folder::new("pipe"), Redis::start());
    let store = Embedded::open(folder.options()).unwrap();
    write(&mut Connection::open(store.address));
    let before = read(store.address);
    let loaded = Command::new("redis-cli")
        .args(["-p", &redis.address.port().to_string(), "--pipe"])
        .stdin(fs::File::open(folder.log()).unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(loaded.success());
    assert_eq!(read(redis.address), before);
}

#[test]
fn damage_in_the_middle_stops_the_start_and_names_the_byte() {
    let folder = Folder::new("damage");
    fs::write(folder.log(), b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*2\r\n$4\r\nINCRx\r\n$1\r\na\r\n").unwrap();
    match Embedded::open(folder.options()) {
        Err(StoreError::Damaged { offset, .. }) => assert_eq!(offset, 21),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it starts"),
    }
}

#[test]
fn one_process_at_a_time_may_use_a_folder() {
    let folder = Folder::new("lock");
    let store = Embedded::open(folder.options()).unwrap();
    let second = Embedded::open(folder.options());
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    store.stop();
    Embedded::reopen(&folder.options());
    assert!(Path::new(&folder.0).exists());
}

/// Runs `headcount store ACTION` on a folder; what it says and whether it succeeds.
fn look_after(action: &str, folder: &Folder) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_headcount")).args(["store", action]).arg(&folder.0).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

const ONE: &[u8] = b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n";

#[test]
fn zeros_at_the_end_are_cut_like_half_a_change() {
    let folder = Folder::new("zeros");
    for torn in [&b""[..], b"*2\r\n$4\r\nIN", b"*2\r\n$4\r\nINCR\r\n$9\r\nab"] {
        for zeros in [1, 4096, 3 << 20] {
            fs::write(folder.log(), [ONE, ONE, torn, &vec![0; zeros]].concat()).unwrap();
            let store = Embedded::reopen(&folder.options());
            assert_eq!(Connection::open(store.address).call(&["INCR", "a"]).text(), "3");
            store.stop();
        }
    }
}

#[test]
fn a_damaged_log_is_cut_where_it_is_damaged_and_a_copy_is_kept() {
    let folder = Folder::new("repair");
    let damaged = [ONE, ONE, b"*2\r\n$4\r\nINCRx\r\n$1\r\na\r\n", ONE].concat();
    fs::write(folder.log(), &damaged).unwrap();
    let Err(refusal) = Embedded::open(folder.options()) else { panic!("it starts") };
    assert!(refusal.to_string().contains("headcount store repair"), "{refusal}");
    let (said, well) = look_after("check", &folder);
    assert!(!well && said.contains("damaged at byte 42"), "{said}");
    assert_eq!(fs::read(folder.log()).unwrap(), damaged);
    // A program that another test starts has the lock of the attempt above until it has begun.
    let deadline = Instant::now() + Duration::from_secs(10);
    let (said, well) = loop {
        match look_after("repair", &folder) {
            (said, false) if said.contains("another process does") && Instant::now() < deadline => {}
            outcome => break outcome,
        }
    };
    assert!(well && said.contains("cut 43 bytes at byte 42"), "{said}");
    assert_eq!(fs::read(folder.log()).unwrap(), [ONE, ONE].concat());
    assert_eq!(fs::read(folder.log().with_extension("aof.damaged-1")).unwrap(), damaged);
    let (said, well) = look_after("check", &folder);
    assert!(well && said.contains("whole: 2 changes in 42 bytes"), "{said}");
    let store = Embedded::reopen(&folder.options());
    assert_eq!(Connection::open(store.address).call(&["INCR", "a"]).text(), "3");
    let (said, well) = look_after("repair", &folder);
    assert!(!well && said.contains("another process does"), "{said}");
}

#[test]
fn a_transaction_that_is_damaged_is_cut_as_a_whole() {
    let folder = Folder::new("transaction");
    let multi = b"*1\r\n$5\r\nMULTI\r\n";
    fs::write(folder.log(), [ONE, multi, ONE, b"garbage"].concat()).unwrap();
    let (said, well) = look_after("repair", &folder);
    assert!(well, "{said}");
    assert_eq!(fs::read(folder.log()).unwrap(), ONE);
}

#[test]
fn a_save_that_fails_is_not_answered_with_ok() {
    let folder = Folder::new("save");
    let store = Embedded::open(folder.options()).unwrap();
    let mut connection = Connection::open(store.address);
    connection.call(&["SET", "k", "v"]);
    // Where the new log is to be written there is a folder.
    let place = folder.log().with_extension("aof.new");
    fs::create_dir_all(place.join("full")).unwrap();
    for command in ["SAVE", "BGREWRITEAOF"] {
        let reply = connection.call(&[command]).text();
        assert!(reply.starts_with("ERR the log could not be rewritten"), "{command}: {reply}");
    }
    assert!(connection.call(&["INFO", "persistence"]).text().contains("aof_last_bgrewrite_status:err"));
    fs::remove_dir_all(place).unwrap();
    assert_eq!(connection.call(&["SAVE"]).text(), "OK");
    assert!(connection.call(&["INFO", "persistence"]).text().contains("aof_last_bgrewrite_status:ok"));
}
