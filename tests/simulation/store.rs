//! The store: the product's own core, with its scripts, on virtual time. It can be killed, stalled,
//! set back and made to refuse, and somebody looks into it without a connection.

use std::cell::Cell;
use std::collections::BTreeMap;

use headcount::store::{ClientSlot, Core, Endpoints, Engine, Options, Time};
use redis::Value;

use crate::plan::ERRORS;
use crate::wire;

/// The store's clock at the virtual time 0, in milliseconds.
const EPOCH: i64 = 1_700_000_000_000;
/// In milliseconds.
const A_DAY: u64 = 86_400_000;

thread_local! {
    /// The engine of the last store. Whatever a script may see of it is made anew by each run.
    static ENGINE: Cell<Engine> = Cell::default();
}

pub struct Store {
    core: Option<Core>,
    admin: ClientSlot,
    /// What the store's clock is ahead, in milliseconds.
    pub ahead: i64,
    /// Until when nothing is answered, in virtual microseconds.
    pub stalled: u64,
    /// Which error it answers with, to how many of a hundred, until when.
    pub refuses: Option<(usize, u8, u64)>,
}

/// Data as the commands that make it.
pub type Snapshot = Vec<Vec<Vec<u8>>>;

impl Drop for Store {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Store {
    pub fn new() -> Self {
        let mut store = Self { core: None, admin: 0, ahead: 0, stalled: 0, refuses: None };
        store.start(0, &Snapshot::new());
        store
    }

    pub fn is_up(&self) -> bool {
        self.core.is_some()
    }

    /// The store's time in milliseconds.
    pub fn millis(&self, now: u64) -> i64 {
        EPOCH + (now / 1000) as i64 + self.ahead
    }

    fn time(&self, now: u64) -> Time {
        Time::from_micros(self.millis(now) as u64 * 1000 + now % 1000)
    }

    pub fn kill(&mut self) {
        if let Some(core) = self.core.take() {
            ENGINE.set(core.into_engine());
        }
    }

    pub fn start(&mut self, now: u64, data: &Snapshot) {
        // Scripts are timed by the system's clock, which must not decide anything here.
        let options = Options { busy_after: A_DAY, script_time: A_DAY, ..Options::default() };
        let mut core = Core::open(options, self.time(now)).unwrap();
        core.take_engine(ENGINE.take());
        self.admin = core.connect(Endpoints::in_process()).unwrap();
        self.core = Some(core);
        for command in data {
            self.ask(now, command);
        }
    }

    pub fn connect(&mut self) -> Option<ClientSlot> {
        self.core.as_mut()?.connect(Endpoints::in_process()).ok()
    }

    pub fn close(&mut self, slot: ClientSlot) {
        if let Some(core) = &mut self.core {
            core.close(slot);
        }
    }

    /// Runs what a client has sent; returns what all clients get from that.
    pub fn feed(&mut self, now: u64, slot: ClientSlot, bytes: &[u8]) -> Vec<(ClientSlot, Vec<u8>)> {
        let time = self.time(now);
        let Some(core) = &mut self.core else { return Vec::new() };
        core.set_time(time);
        core.feed(slot, bytes);
        core.end_round();
        let mut out = Vec::new();
        while let Some(slot) = core.next_scheduled() {
            out.push((slot, core.take_output(slot)));
        }
        out
    }

    /// The error that it refuses a call with, if it does.
    pub fn refusal(&self, now: u64, draw: u8) -> Option<&'static str> {
        let (error, percent, until) = self.refuses?;
        (now < until && draw < percent).then_some(ERRORS[error])
    }

    /// Asks the store, past every fault. What that makes it publish is lost, so this does not publish.
    pub fn ask<A: AsRef<[u8]>>(&mut self, now: u64, command: &[A]) -> Option<Value> {
        let slot = self.admin;
        let (time, bytes) = (self.time(now), wire::command(command));
        let core = self.core.as_mut()?;
        core.set_time(time);
        core.feed(slot, &bytes);
        core.end_round();
        wire::parse(&core.take_output(slot))
    }

    pub fn text(&mut self, now: u64, command: &[&str]) -> Option<String> {
        match self.ask(now, command)? {
            Value::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Value::SimpleString(text) => Some(text),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }

    pub fn list(&mut self, now: u64, command: &[&str]) -> Vec<String> {
        self.bytes(now, command).iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    fn bytes<A: AsRef<[u8]>>(&mut self, now: u64, command: &[A]) -> Vec<Vec<u8>> {
        let Some(Value::Array(items)) = self.ask(now, command) else { return Vec::new() };
        let bytes = |item| if let Value::BulkString(bytes) = item { Some(bytes) } else { None };
        items.into_iter().filter_map(bytes).collect()
    }

    pub fn pairs(&mut self, now: u64, command: &[&str]) -> BTreeMap<String, String> {
        let flat = self.list(now, command);
        flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    pub fn byte_pairs(&mut self, now: u64, command: &[&str]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let flat = self.bytes(now, command);
        flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    /// Everything that the store has, by the commands that make it.
    pub fn snapshot(&mut self, now: u64) -> Snapshot {
        let mut keys = self.bytes(now, &["KEYS", "*"]);
        keys.sort();
        let mut all = Snapshot::new();
        for key in keys {
            let (read, write): (&[&str], _) = match self.ask(now, &[&b"TYPE"[..], &key]) {
                Some(Value::SimpleString(kind)) => match kind.as_str() {
                    "string" => (&["GET"], "SET"),
                    "hash" => (&["HGETALL"], "HSET"),
                    "set" => (&["SMEMBERS"], "SADD"),
                    "zset" => (&["ZRANGE", "0", "-1", "WITHSCORES"], "ZADD"),
                    _ => (&["LRANGE", "0", "-1"], "RPUSH"),
                },
                _ => continue,
            };
            let mut command: Vec<Vec<u8>> = vec![read[0].into(), key.clone()];
            command.extend(read[1..].iter().map(|word| word.as_bytes().to_vec()));
            let values = match self.ask(now, &command) {
                Some(Value::BulkString(text)) => vec![text],
                _ => self.bytes(now, &command),
            };
            let mut make = vec![write.as_bytes().to_vec(), key];
            if write == "ZADD" {
                make.extend(values.chunks_exact(2).flat_map(|pair| [pair[1].clone(), pair[0].clone()]));
            } else {
                make.extend(values);
            }
            all.push(make);
        }
        all
    }
}
