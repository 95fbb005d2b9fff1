//! What must hold at each call that the store carries out.

use std::cell::RefCell;
use std::collections::HashMap;

use headcount::store::Slot;
use redis::Value;

use crate::plan::CHANNELS;
use crate::wire;
use crate::world::World;

/// The scripts that are watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Script {
    State,
    Visit,
    Repair,
    Other,
}

/// The scripts that stores have been sent, by their hashes and by their sources.
#[derive(Default)]
struct Known {
    hashes: HashMap<Vec<u8>, Script>,
    sources: HashMap<Vec<u8>, Script>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Script {
    /// The one with this hash.
    fn with_hash(hash: &[u8]) -> Self {
        KNOWN.with_borrow(|known| known.hashes.get(hash).copied().unwrap_or(Self::Other))
    }

    /// The one with this source.
    fn with_source(source: &[u8]) -> Self {
        KNOWN.with_borrow_mut(|known| {
            if let Some(script) = known.sources.get(source) {
                return *script;
            }
            let script = Self::of(source);
            known.hashes.insert(redis::Script::new(&text(source)).get_hash().into(), script);
            known.sources.insert(source.into(), script);
            script
        })
    }

    fn of(source: &[u8]) -> Self {
        let says = |words: &[u8]| source.windows(words.len()).any(|part| part == words);
        if says(b"-- States what one node has on one channel") {
            Self::State
        } else if says(b"-- States which visitors a node has") {
            Self::Visit
        } else if says(b"-- Withdraws the shares of dead nodes") {
            Self::Repair
        } else {
            Self::Other
        }
    }
}

impl World {
    /// Looks at a call that the store has carried out: nothing is stated after its lease has ended, no
    /// share is counted under two ids of one node, and nobody is withdrawn whose lease stands.
    pub fn watch(&mut self, number: usize, request: &[u8], out: &[(Slot, Vec<u8>)]) {
        let Some(connection) = self.connections.get(&number) else { return };
        let (node, slot) = (connection.node, connection.slot);
        self.watch_published(out);
        let Some(words) = wire::words(request) else { return };
        let reply = out.iter().find(|(to, _)| Some(*to) == slot).map_or(&[][..], |(_, bytes)| bytes);
        let [name, script, rest @ ..] = &words[..] else { return };
        if *name == b"ZREM"
            && self.strict
            && let Some(id) = rest.first()
        {
            self.watch_struck(&text(id));
        }
        self.note(|| {
            let script = *name == b"EVALSHA" || *name == b"EVAL";
            let shown: Vec<_> = words.iter().skip(if script { 3 } else { 0 }).map(|word| text(word)).collect();
            format!("node {node} {} -> {}", shown.join(" "), text(reply).replace("\r\n", " "))
        });
        let script = match *name {
            b"EVALSHA" => Script::with_hash(script),
            b"EVAL" => Script::with_source(script),
            _ => return,
        };
        let ok = reply.starts_with(b"*") && reply.get(4..).is_some_and(|rest| rest.starts_with(b"$2\r\nok"));
        let count = rest.first().and_then(|count| text(count).parse::<usize>().ok());
        let Some(keys) = count.filter(|_| ok && script != Script::Other) else { return };
        let (keys, arguments) = rest[1..].split_at(keys);
        let keys: Vec<String> = keys.iter().map(|key| text(key)).collect();
        let arguments: Vec<String> = arguments.iter().map(|argument| text(argument)).collect();
        let now = self.store.millis(self.now);
        let end = match script {
            Script::State => &arguments[2],
            Script::Visit => &arguments[4],
            _ => "",
        };
        if let Some(late) = end.parse().ok().map(|end: i64| now - end).filter(|late| *late > 0) {
            return self.fail(format!("something was stated {late} ms after its lease had ended"));
        }
        if script == Script::State {
            let shares = self.store.pairs(self.now, &["HGETALL", &keys[1]]);
            if self.strict && self.old_ids[node].iter().any(|old| shares.contains_key(old)) {
                self.fail(format!("node {node} has shares under two ids on {}", keys[0]));
            }
            let list = format!("headcount:v1:node:{}", arguments[0]);
            let listed = self.store.text(self.now, &["SISMEMBER", &list, &keys[0]]);
            if self.strict && arguments[1] != "0" && listed.as_deref() != Some("1") {
                self.fail(format!("node {node} has a share on {}, which its list has not", keys[0]));
            }
        } else if script == Script::Repair && self.strict {
            // Behind the node, its share, exact, and its visitors' number and stamp.
            for dead in &arguments[5..] {
                let end = self.store.text(self.now, &["ZSCORE", "headcount:v1:nodes", dead]);
                if end.and_then(|end| end.parse::<f64>().ok()).is_some_and(|end| end as i64 > now) {
                    self.fail(format!("a share of {dead} was withdrawn, whose lease stands"));
                }
            }
        }
    }

    /// What is published is what the total is, so publishes never go back in time.
    fn watch_published(&mut self, out: &[(Slot, Vec<u8>)]) {
        for (_, bytes) in out.iter().filter(|(_, bytes)| bytes.starts_with(b">3\r\n$7\r\nmessage")) {
            let Some(Value::Push { data, .. }) = wire::parse(bytes) else { continue };
            let [Value::BulkString(channel), Value::BulkString(number)] = &data[..] else { continue };
            let [channel, number] = [channel, number].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let total = self.store.text(self.now, &["GET", &channel]).unwrap_or_else(|| "0".into());
            if total != number {
                self.fail(format!("{number} was published on {channel}, whose total is {total}"));
            }
        }
    }

    /// A node is struck after all that it had is withdrawn.
    fn watch_struck(&mut self, id: &str) {
        for channel in CHANNELS {
            let share = self.store.text(self.now, &["HGET", &format!("headcount:v1:{{{channel}}}:tally"), id]);
            if let Some(share) = share {
                self.fail(format!("{id} was struck, but has {share} on {channel}"));
            }
        }
    }
}
