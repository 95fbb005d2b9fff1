//! What must hold: at once, at each quiet point, and when everybody has left.

use std::collections::BTreeSet;

use headcount::store::Slot;
use redis::Value;

use crate::plan::{CHANNELS, Key, NODES};
use crate::world::World;

/// How often a quiet world is looked at, and how long it must stay right, in microseconds.
const LOOK: u64 = 100_000;
const HOLD: u64 = 1_500_000;

/// The scripts that are watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Script {
    State,
    Repair,
    Other,
}

impl Script {
    fn of(source: &[u8]) -> Self {
        let says = |words: &[u8]| source.windows(words.len()).any(|part| part == words);
        if says(b"-- States what one node has on one channel") {
            Self::State
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
        let Ok(Value::Array(arguments)) = redis::parse_redis_value(request) else { return };
        let text = |value: &Value| match value {
            Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        let reply = out.iter().find(|(to, _)| Some(*to) == slot).map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        let [Value::BulkString(name), Value::BulkString(script), rest @ ..] = &arguments[..] else { return };
        self.note(|| {
            let script = name == b"EVALSHA" || name == b"EVAL";
            let shown: Vec<_> = arguments.iter().skip(if script { 3 } else { 0 }).map(text).collect();
            format!("node {node} {} -> {}", shown.join(" "), String::from_utf8_lossy(&reply).replace("\r\n", " "))
        });
        let script = match &name[..] {
            b"EVALSHA" => self.scripts.get(script).copied().unwrap_or(Script::Other),
            b"EVAL" => {
                let hash = redis::Script::new(&String::from_utf8_lossy(script)).get_hash().as_bytes().to_vec();
                *self.scripts.entry(hash).or_insert_with(|| Script::of(script))
            }
            _ => return,
        };
        let ok = reply.starts_with(b"*") && reply.get(4..).is_some_and(|rest| rest.starts_with(b"$2\r\nok"));
        let Some(keys) = rest.first().and_then(|count| text(count).parse::<usize>().ok()).filter(|_| ok) else {
            return;
        };
        let (keys, arguments) = rest[1..].split_at(keys);
        let arguments: Vec<String> = arguments.iter().map(text).collect();
        let now = self.store.millis(self.now);
        if script == Script::State {
            let end: i64 = arguments[2].parse().unwrap_or(0);
            if end < now {
                return self.fail(format!("something was stated {} ms after its lease had ended", now - end));
            }
            let shares = self.store.pairs(self.now, &["HGETALL", &text(&keys[1])]);
            if self.strict && self.old_ids[node].iter().any(|old| shares.contains_key(old)) {
                self.fail(format!("node {node} has shares under two ids on {}", text(&keys[0])));
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

    /// Ends every fault, waits until everything agrees, and then some more.
    pub fn calm_down(&mut self, limit: u64) {
        self.note(|| "the faults end".into());
        self.partitions = [(0, false); NODES];
        self.slow = [0; NODES];
        // A stall ends by itself: what waits in a connection must not be overtaken by what is sent after it.
        self.store.refuses = None;
        if !self.nodes.iter().flatten().any(|node| !node.stopping) {
            let free = self.nodes.iter().position(Option::is_none).unwrap_or(0);
            self.start_node(free);
        }
        let start = self.now.max(self.store.stalled);
        let mut since = None;
        loop {
            self.run_until(self.now + LOOK);
            if self.failure.is_some() {
                return;
            }
            self.free_totals();
            match self.disagreement() {
                None => {
                    let since = *since.get_or_insert(self.now);
                    if self.now - since >= HOLD {
                        self.stats.worst = self.stats.worst.max(since.saturating_sub(start));
                        break;
                    }
                }
                Some(why) => {
                    since = None;
                    if self.now.saturating_sub(start) > limit {
                        return self.fail(format!("{} s after the last fault: {why}", (self.now - start) / 1_000_000));
                    }
                }
            }
        }
        self.note(|| "everything agrees".into());
        self.hurt.clear();
        self.tainted.clear();
        let total = self.store.text(self.now, &["GET", CHANNELS[0]]).and_then(|total| total.parse::<i64>().ok());
        let foreign = total.unwrap_or(0) - self.here(0) as i64;
        self.foreign = (foreign, foreign);
    }

    /// An operator deletes keys that hold no count.
    fn free_totals(&mut self) {
        for (channel, name) in CHANNELS.into_iter().enumerate() {
            let kind = self.store.text(self.now, &["TYPE", name]).unwrap_or_default();
            let text = self.store.text(self.now, &["GET", name]);
            let number =
                text.as_ref().and_then(|text| text.parse::<i64>().ok()).filter(|number| number.abs() < 1 << 53);
            let canonical = number.is_some_and(|number| Some(number.to_string()) == text);
            let foreign = channel > 0 && self.tainted.contains(&channel) && kind != "none";
            if foreign || (kind != "none" && !canonical) {
                self.store.ask(self.now, &["DEL", name]);
                self.tainted.remove(&channel);
                if channel == 0 {
                    self.foreign = (0, 0);
                }
            }
        }
    }

    fn here(&self, channel: usize) -> u64 {
        self.nodes.iter().flatten().map(|node| node.here(channel)).sum()
    }

    /// What is not as the nodes' own memories say.
    pub fn disagreement(&mut self) -> Option<String> {
        if !self.store.is_up() {
            return Some("the store is down".into());
        }
        if self.nodes.iter().flatten().any(|node| node.stopping) {
            return Some("a node has not stopped".into());
        }
        let ids: BTreeSet<String> = self.nodes.iter().flatten().map(|node| node.state.id().to_string()).collect();
        let nodes: BTreeSet<String> =
            self.store.list(self.now, &["ZRANGE", "headcount:v1:nodes", "0", "-1"]).into_iter().collect();
        if ids != nodes {
            return Some(format!("the nodes are {nodes:?} in the store, but {ids:?}"));
        }
        let mut keys: BTreeSet<String> = nodes.iter().take(1).map(|_| "headcount:v1:nodes".to_owned()).collect();
        for (channel, name) in CHANNELS.into_iter().enumerate() {
            if let Some(why) = self.channel_disagrees(channel, &mut keys) {
                return Some(format!("{name}: {why}"));
            }
        }
        for index in 0..NODES {
            let Some(node) = &self.nodes[index] else { continue };
            let mine: BTreeSet<String> = (0..CHANNELS.len())
                .filter(|channel| node.here(*channel) > 0)
                .map(|channel| CHANNELS[channel].into())
                .collect();
            let Some(list) = self.name(Key::List(index)) else { continue };
            let listed: BTreeSet<String> = self.store.list(self.now, &["SMEMBERS", &list]).into_iter().collect();
            if listed != mine {
                return Some(format!("node {index} is listed on {listed:?}, but is on {mine:?}"));
            }
            if !mine.is_empty() {
                keys.insert(list);
            }
        }
        let ours: BTreeSet<String> = self.store.list(self.now, &["KEYS", "headcount:*"]).into_iter().collect();
        (ours != keys).then(|| format!("our keys are {ours:?}, but should be {keys:?}"))
    }

    fn channel_disagrees(&mut self, channel: usize, keys: &mut BTreeSet<String>) -> Option<String> {
        let name = CHANNELS[channel];
        let here = self.here(channel) as i64;
        let text = self.store.text(self.now, &["GET", name]);
        let total = text.as_ref().and_then(|text| text.parse::<i64>().ok());
        let (least, most) = if channel == 0 { (self.foreign.0.max(0), self.foreign.1.max(0)) } else { (0, 0) };
        match total {
            Some(total) if (least..=most).contains(&(total - here)) && (channel == 0 || here > 0) => {}
            None if text.is_none() && channel > 0 && here == 0 => {}
            _ => {
                return Some(format!(
                    "the total is {text:?}, but {here} are here and others put {least} to {most} there"
                ));
            }
        }
        let [tally, own] = ["tally", "own"].map(|what| format!("headcount:v1:{{{name}}}:{what}"));
        let shares = self.store.pairs(self.now, &["HGETALL", &tally]);
        let memory = self.nodes.iter().flatten().filter(|node| node.here(channel) > 0);
        let memory = memory.map(|node| (node.state.id().to_string(), node.here(channel).to_string())).collect();
        if shares != memory {
            return Some(format!("the shares are {shares:?}, but {memory:?} are here"));
        }
        let stored = self.store.text(self.now, &["GET", &own]);
        if stored != (here > 0).then(|| here.to_string()) {
            return Some(format!("own is {stored:?}, but {here} are here"));
        }
        if here > 0 {
            keys.extend([tally, own]);
        }
        let told = |node: &crate::node::Node| node.hubs.get(&channel).map(|hub| hub.total);
        let shown = self.nodes.iter().flatten().filter_map(told).find(|shown| *shown != Some(total.unwrap_or(0)));
        shown.map(|shown| format!("clients see {shown:?}, but the total is {total:?}"))
    }

    /// Everybody leaves, and the nodes stop one after the other: nothing of ours may be left.
    pub fn leave_all(&mut self, limit: u64) {
        for node in 0..NODES {
            for channel in 0..CHANNELS.len() {
                for watch in [false, true] {
                    let count = self.nodes[node].as_ref().and_then(|node| node.hubs.get(&channel));
                    let count = count.map_or(0, |hub| if watch { hub.watchers } else { hub.sockets });
                    for _ in 0..count {
                        let event = crate::world::Event::Retry { node, messages: true };
                        self.with(node, event, |node, now, asks| node.leave(channel, watch, now, asks));
                    }
                }
            }
        }
        self.calm_down(limit);
        for node in 0..NODES {
            if self.failure.is_none() && self.nodes[node].is_some() {
                self.stop_node(node);
                self.run_until(self.now + 3_000_000);
            }
        }
        let left = self.store.list(self.now, &["KEYS", "*"]);
        let ours: Vec<_> = left.iter().filter(|key| *key != CHANNELS[0]).collect();
        if self.failure.is_none() && !ours.is_empty() {
            self.fail(format!("everybody has left, and these keys have not: {ours:?}"));
        }
    }
}
