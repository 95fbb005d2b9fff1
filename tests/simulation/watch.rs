//! What must hold at each call that the store carries out.

use std::cell::RefCell;
use std::collections::HashMap;

use headcount::store::ClientSlot;
use redis::Value;

use crate::node::Node;
use crate::plan::{CHANNELS, LIST, ROOM, TOPICS};
use crate::wire;
use crate::world::World;

/// The scripts that are watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Script {
    State,
    Visit,
    Repair,
    Sweep,
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
        } else if says(b"-- Takes a dying number out of some of the people") {
            Self::Sweep
        } else {
            Self::Other
        }
    }
}

/// Whether a script answered with a 0 at a place.
fn is_zero(reply: &[u8], place: usize) -> bool {
    matches!(wire::parse(reply), Some(Value::Array(words)) if words.get(place) == Some(&Value::BulkString(b"0".to_vec())))
}

impl World {
    /// Looks at a call that the store has carried out: nothing is stated after its lease has ended, no
    /// share is counted under two ids of one node, and nobody is withdrawn whose lease stands.
    pub fn watch(&mut self, number: usize, request: &[u8], out: &[(ClientSlot, Vec<u8>)]) {
        let Some(connection) = self.connections.get(&number) else { return };
        let (node, slot) = (connection.node, connection.slot);
        self.watch_published(out);
        let Some(words) = wire::words(request) else { return };
        let reply = out.iter().find(|(to, _)| Some(*to) == slot).map_or(&[][..], |(_, bytes)| bytes);
        let [name, script, rest @ ..] = &words[..] else { return };
        self.watch_struck(node, name, script, rest);
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
        if reply.starts_with(b"-") && !reply.starts_with(b"-NOSCRIPT") {
            // Whatever the keys hold, a script checks it first.
            return self.fail(format!("a script ended with {}", text(reply).trim_end()));
        }
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
        match script {
            Script::State => self.watch_state(node, &keys, &arguments),
            Script::Visit => self.watch_visit(words[3 + keys.len() + 1], &arguments, reply),
            Script::Repair => self.watch_repair(node, &arguments, now),
            Script::Sweep => self.watch_sweep(words[3 + keys.len()], reply),
            Script::Other => {}
        }
    }

    /// No share is counted under two ids of one node, and each is in a list.
    fn watch_state(&mut self, node: usize, keys: &[String], arguments: &[String]) {
        if !self.strict {
            return;
        }
        let shares = self.store.pairs(self.now, &["HGETALL", &keys[1]]);
        // What came late is taken out right after this, when the list of the old id is reaped.
        if !self.late && self.old_ids[node].iter().any(|old| shares.contains_key(old)) {
            self.fail(format!("node {node} has shares under two ids on {}", keys[0]));
        }
        let list = format!("headcount:v1:node:{}", arguments[0]);
        let listed = self.store.text(self.now, &["SISMEMBER", &list, &keys[0]]);
        // What is late may come when the channel was left and is in no list any more.
        if !self.late && arguments[1] != "0" && listed.as_deref() != Some("1") {
            self.fail(format!("node {node} has a share on {}, which its list has not", keys[0]));
        }
    }

    /// A number is free after the last page of a sweep, and nobody knows any more what was stated under it.
    fn watch_sweep(&mut self, number: &[u8], reply: &[u8]) {
        if is_zero(reply, 4) {
            self.stamps.retain(|(_, swept), _| swept != number);
        }
    }

    /// No batch of visitors is carried out after a later one under the same number.
    fn watch_visit(&mut self, number: &[u8], arguments: &[String], reply: &[u8]) {
        let (key, stamp) = ((arguments[0].clone(), number.to_vec()), arguments[3].parse().unwrap_or(0));
        let before = self.stamps.insert(key.clone(), stamp).unwrap_or(0);
        if is_zero(reply, 4) {
            // The number is free again, and nobody knows any more what was stated under it.
            self.stamps.remove(&key);
        }
        if self.strict && before >= stamp {
            self.fail(format!("a batch of visitors with the stamp {stamp} was carried out after one with {before}"));
        }
    }

    /// Nobody is withdrawn whose lease stands, or who lives.
    fn watch_repair(&mut self, node: usize, arguments: &[String], now: i64) {
        // Behind what the node believes, how much is published, and what else the repair is to do.
        for dead in &arguments[11..] {
            let end = self.store.text(self.now, &["ZSCORE", "headcount:v1:nodes", dead]);
            let stands = end.and_then(|end| end.parse::<f64>().ok()).is_some_and(|end| end as i64 > now);
            if self.strict && stands {
                self.fail(format!("a share of {dead} was withdrawn, whose lease stands"));
            }
            self.watch_withdrawn(node, dead);
        }
    }

    /// What is published is what the total is, so publishes never go back in time.
    fn watch_published(&mut self, out: &[(ClientSlot, Vec<u8>)]) {
        for (_, bytes) in out.iter().filter(|(_, bytes)| bytes.starts_with(b">3\r\n$7\r\nmessage")) {
            let Some(Value::Push { data, .. }) = wire::parse(bytes) else { continue };
            let [Value::BulkString(channel), Value::BulkString(number)] = &data[..] else { continue };
            if channel == TOPICS[LIST].as_bytes() {
                continue;
            }
            let [channel, number] = [channel, number].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let total = self.store.text(self.now, &["GET", &channel]).unwrap_or_else(|| "0".into());
            if total != number {
                self.fail(format!("{number} was published on {channel}, whose total is {total}"));
            }
        }
    }

    /// A node is struck after all that it had is withdrawn, and not while it lives.
    fn watch_struck(&mut self, node: usize, name: &[u8], key: &[u8], rest: &[&[u8]]) {
        let id = match (name, key.strip_prefix(b"headcount:v1:node:"), rest.first()) {
            (b"ZREM", _, Some(id)) => text(id),
            (b"DEL", Some(id), _) => text(id),
            _ => return,
        };
        self.watch_withdrawn(node, &id);
        if !self.strict || self.late {
            return;
        }
        for channel in CHANNELS {
            let share = self.store.text(self.now, &["HGET", &format!("headcount:v1:{{{channel}}}:tally"), &id]);
            if let Some(share) = share {
                self.fail(format!("{id} was struck, but has {share} on {channel}"));
            }
        }
        let owners = self.store.list(self.now, &["HVALS", &format!("headcount:v1:{{{}}}:owner", CHANNELS[ROOM])]);
        if let Some(owner) = owners.iter().find(|owner| !owner.starts_with('!') && owner.ends_with(&id)) {
            self.fail(format!("{id} was struck, but has visitors: {owner}"));
        }
        self.watch_left(node, &id);
    }

    /// A node that stops strikes itself last: nothing is in the list of any id that it had before.
    fn watch_left(&mut self, node: usize, id: &str) {
        let leaves = |node: &Node| node.stopping && node.state.id().as_bytes() == id.as_bytes();
        if !self.nodes[node].as_ref().is_some_and(leaves) {
            return;
        }
        for old in self.old_ids[node].clone() {
            let list = format!("headcount:v1:node:{old}");
            if old != id && self.store.text(self.now, &["EXISTS", &list]).as_deref() == Some("1") {
                self.fail(format!("node {node} has stopped, and left the list of its earlier id {old}"));
            }
        }
    }
}
