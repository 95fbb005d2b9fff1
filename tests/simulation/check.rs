//! What must hold at each quiet point, and when everybody has left.

use std::collections::{BTreeMap, BTreeSet};

use headcount::presence::VisitorId;

use crate::node::Node;
use crate::plan::{CHANNELS, Key, NODES, ROOM};
use crate::world::World;

/// How often a quiet world is looked at, and how long it must stay right, in microseconds.
const LOOK: u64 = 100_000;
const LOOK_AGAIN: u64 = 500_000;
const HOLD: u64 = 1_500_000;

impl World {
    /// Ends every fault, waits until everything agrees, and then some more.
    pub fn calm_down(&mut self, limit: u64) {
        self.note(|| "the faults end".into());
        self.partitions = [(0, false); NODES];
        self.slow = [0; NODES];
        // A stall ends by itself: what waits in a connection must not be overtaken by what is sent after it.
        self.store.refuses = None;
        let start = self.now.max(self.store.stalled);
        let mut since = None;
        loop {
            // Somebody must be there to heal.
            if !self.nodes.iter().flatten().any(|node| !node.stopping)
                && let Some(free) = self.nodes.iter().position(Option::is_none)
            {
                self.start_node(free);
            }
            self.run_until(self.now + if since.is_some() { LOOK_AGAIN } else { LOOK });
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
        if !self.store.is_up() {
            return;
        }
        for (channel, name) in CHANNELS.into_iter().enumerate() {
            let kind = self.store.text(self.now, &["TYPE", name]).unwrap_or_default();
            let text = self.store.text(self.now, &["GET", name]);
            let number =
                text.as_ref().and_then(|text| text.parse::<i64>().ok()).filter(|number| number.abs() < 1 << 53);
            let canonical = number.is_some_and(|number| Some(number.to_string()) == text);
            let foreign = channel > 0 && self.tainted.contains(&channel) && kind != "none";
            if foreign || (kind != "none" && !canonical) {
                self.store.ask(self.now, &["DEL", name]);
                if self.tainted.remove(&channel) {
                    self.freed.insert(channel, self.now);
                }
                if channel == 0 {
                    self.foreign = (0, 0);
                }
            }
        }
    }

    fn here(&self, channel: usize) -> u64 {
        if channel == ROOM {
            let everybody: BTreeSet<VisitorId> = self.nodes.iter().flatten().flat_map(Node::counted).collect();
            return everybody.len() as u64;
        }
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
        let memory = self.nodes.iter().flatten().filter(|node| channel != ROOM && node.here(channel) > 0);
        let memory = memory.map(|node| (node.state.id().to_string(), node.here(channel).to_string())).collect();
        if shares != memory {
            return Some(format!("the shares are {shares:?}, but {memory:?} are here"));
        }
        let stored = self.store.text(self.now, &["GET", &own]);
        if stored != (here > 0).then(|| here.to_string()) {
            return Some(format!("own is {stored:?}, but {here} are here"));
        }
        if channel == ROOM {
            if let Some(why) = self.people_disagree(keys) {
                return Some(why);
            }
        } else if here > 0 {
            keys.insert(tally);
        }
        if here > 0 {
            keys.insert(own);
        }
        let told = |node: &Node| node.hubs.get(&channel).map(|hub| hub.total);
        let shown = self.nodes.iter().flatten().filter_map(told).find(|shown| *shown != Some(total.unwrap_or(0)));
        shown.map(|shown| format!("clients see {shown:?}, but the total is {total:?}"))
    }

    /// Who visits, and on which nodes, is what these say.
    fn people_disagree(&mut self, keys: &mut BTreeSet<String>) -> Option<String> {
        let [people, owner] = ["people", "owner"].map(|what| format!("headcount:v1:{{{}}}:{what}", CHANNELS[ROOM]));
        let mut memory: BTreeSet<(String, Vec<u8>)> = BTreeSet::new();
        let mut counts: BTreeSet<(String, u64)> = BTreeSet::new();
        for node in self.nodes.iter().flatten().filter(|node| node.here(ROOM) > 0) {
            let id = node.state.id().to_string();
            memory.extend(node.counted().into_iter().map(|visitor| (id.clone(), visitor.0.to_vec())));
            counts.insert((id, node.here(ROOM)));
        }
        let mut ids = BTreeMap::new();
        let mut stated: BTreeSet<(String, u64)> = BTreeSet::new();
        for (number, entry) in self.store.byte_pairs(self.now, &["HGETALL", &owner]) {
            let entry = String::from_utf8_lossy(&entry).into_owned();
            let mut words = entry.split(' ');
            let count = words.next().and_then(|count| count.parse().ok()).unwrap_or(0);
            let id = words.nth(1).unwrap_or_default().to_owned();
            stated.insert((id.clone(), count));
            ids.insert(number, id);
        }
        if stated != counts {
            return Some(format!("the owners are {stated:?}, but {counts:?} are here"));
        }
        let mut there: BTreeSet<(String, Vec<u8>)> = BTreeSet::new();
        for (visitor, numbers) in self.store.byte_pairs(self.now, &["HGETALL", &people]) {
            for number in numbers.chunks(2) {
                there.insert((ids.get(number).cloned().unwrap_or_default(), visitor.clone()));
            }
        }
        if !memory.is_empty() {
            keys.extend([people, owner]);
        }
        if there != memory {
            return Some(format!("the people are {there:?}, but {memory:?} are here"));
        }
        self.list_disagrees(keys)
    }

    /// Everybody leaves, and the nodes stop one after the other: nothing of ours may be left.
    pub fn leave_all(&mut self, limit: u64) {
        self.nodes.iter_mut().flatten().for_each(|node| node.upgrade = false);
        for node in 0..NODES {
            for channel in 0..CHANNELS.len() {
                for watch in [false, true] {
                    let event = crate::world::Event::Retry { node, messages: true };
                    self.with(node, event, |node, now, asks| node.leave_all(channel, watch, now, asks));
                }
            }
        }
        // Whoever cannot reach the store has nobody to take its leave of, and what comes late is mended by others.
        let most = self.now + limit;
        while !self.is_over() && self.now < most {
            self.run_until(self.now + LOOK);
        }
        self.calm_down(limit);
        for node in 0..NODES {
            if self.failure.is_none() && self.nodes[node].is_some() {
                self.stop_node(node);
                // The next one stops as soon as this one is gone: what that leaves, nobody has time to mend.
                self.run_while(self.now + 3_000_000, |world| world.nodes[node].is_some());
            }
        }
        // What is late still arrives.
        self.run_until(self.now + 3_000_000);
        let left = self.store.list(self.now, &["KEYS", "*"]);
        let ours: Vec<_> = left.iter().filter(|key| *key != CHANNELS[0]).collect();
        if self.failure.is_none() && !ours.is_empty() {
            self.fail(format!("everybody has left, and these keys have not: {ours:?}"));
        }
    }
}
