//! What people, operators, other programs and bad luck do.

use crate::plan::{Action, CHANNELS, Key, ROOM};
use crate::world::{Event, World};

impl World {
    pub fn act(&mut self, action: Action) {
        let fault = !matches!(
            action,
            Action::Join { .. }
                | Action::Leave { .. }
                | Action::Watch { .. }
                | Action::Unwatch { .. }
                | Action::Visit { .. }
                | Action::Part { .. }
                | Action::Describe { .. }
                | Action::Start { .. }
        );
        self.stats.faults += u64::from(fault);
        self.note(|| format!("{action:?}"));
        let now = self.now;
        let event = Event::Action(action);
        match action {
            Action::Join { node, channel } => {
                self.with(node, event, |node, now, asks| node.join(channel, false, now, asks))
            }
            Action::Watch { node, channel } => {
                self.with(node, event, |node, now, asks| node.join(channel, true, now, asks))
            }
            Action::Leave { node, channel } => {
                self.with(node, event, |node, now, asks| node.leave(channel, false, now, asks));
            }
            Action::Unwatch { node, channel } => {
                self.with(node, event, |node, now, asks| node.leave(channel, true, now, asks));
            }
            Action::Visit { node, who } => self.with(node, event, |node, now, asks| node.visit(who, now, asks)),
            Action::Part { node, who } => self.with(node, event, |node, now, asks| node.part(who, now, asks)),
            Action::Describe { node, who, made } => {
                let newest = self.made.entry(who).or_default();
                *newest = made.max(*newest);
                self.with(node, event, |node, now, _| node.describe(who, made, now));
            }
            Action::Start { node } => self.start_node(node),
            Action::Crash { node } => {
                let arrives = self.random.bool();
                self.end_node(node, arrives);
            }
            Action::Stop { node } => self.stop_node(node),
            Action::Upgrade { node } => {
                if let Some(node) = &mut self.nodes[node] {
                    node.upgrade = true;
                }
                self.stop_node(node);
            }
            Action::Suspend { node, ms } => {
                if let Some(node) = self.nodes[node].as_mut().filter(|node| node.paused <= now) {
                    node.paused = now + ms * 1000;
                    node.ahead -= ms as i64 * 1000;
                }
                self.disturb(node, now + ms * 1000);
            }
            Action::Leap { node, ms } => {
                if let Some(node) = &mut self.nodes[node] {
                    node.ahead += ms as i64 * 1000;
                }
                self.disturb(node, now);
                self.disturbed[node].leapt = Some(now);
            }
            Action::Pause { node, ms } => {
                if let Some(node) = &mut self.nodes[node] {
                    node.paused = node.paused.max(now + ms * 1000);
                }
                self.disturb(node, now + ms * 1000);
            }
            Action::Cut { node, messages, arrives } => self.cut(node, messages, arrives),
            Action::Straggle { node, ms } => self.straggle(node, now + ms * 1000),
            Action::Partition { node, ms, lost } => {
                self.partitions[node] = (now + ms * 1000, lost);
                self.disturb(node, now + ms * 1000);
            }
            Action::Slow { node, ms } => {
                self.slow[node] = now + ms * 1000;
                self.disturb(node, now + ms * 1000);
            }
            Action::Kill { ms, empty } => {
                if self.store.is_up() {
                    let data = if empty { Vec::new() } else { self.store.snapshot(now) };
                    let foreign = if empty { (0, 0) } else { self.foreign };
                    if empty {
                        self.hurt.clear();
                    }
                    self.kill_store();
                    self.after(ms * 1000, Event::StoreUp { data, foreign });
                }
            }
            Action::Rollback { ms } => {
                if self.store.is_up() {
                    let data = self.store.snapshot(now);
                    self.after(ms * 1000, Event::StoreBack { data, foreign: self.foreign });
                    // What is lost after this may be back, and the other way round.
                    self.hurt.extend(0..CHANNELS.len());
                }
            }
            Action::Stall { ms } => {
                self.store.stalled = self.store.stalled.max(now + ms * 1000);
                self.disturb_all(now + ms * 1000);
            }
            Action::Clock { ms } => {
                self.store.ahead += ms;
                self.disturb_all(now);
            }
            Action::Refuse { error, percent, ms } => {
                self.store.refuses = Some((error, percent, now + ms * 1000));
                self.disturb_all(now + ms * 1000);
            }
            Action::FlushAll => {
                if self.store.ask(now, &["FLUSHALL"]).is_some() {
                    self.foreign = (0, 0);
                    self.hurt.clear();
                }
            }
            Action::ScriptFlush => drop(self.store.ask(now, &["SCRIPT", "FLUSH"])),
            Action::Lose { key } => self.lose_key(key),
            Action::Damage { key, how } => self.damage(key, how),
            Action::Foreign { by } => self.foreign_adds(by),
            Action::ForeignSet { to } => self.foreign_sets(to),
            Action::ForeignPublish { channel, number } => self.foreign_publishes(channel, number),
        }
    }

    pub fn stop_node(&mut self, index: usize) {
        self.with(index, Event::Action(Action::Stop { node: index }), |node, now, asks| {
            node.state.stay();
            for channel in 0..CHANNELS.len() {
                node.leave_all(channel, false, now, asks);
                node.leave_all(channel, true, now, asks);
            }
            node.close(now);
        });
    }

    /// Whether a channel's own key may be lost: one at a time, since each is what the others heal from.
    fn may_hurt(&mut self, channel: usize) -> bool {
        self.hurt.insert(channel)
    }

    pub fn name(&self, key: Key) -> Option<String> {
        let of = |channel: usize, what: &str| format!("headcount:v1:{{{}}}:{what}", CHANNELS[channel]);
        Some(match key {
            Key::Total(channel) => CHANNELS[channel].to_owned(),
            Key::Tally(channel) => of(channel, "tally"),
            Key::Own(channel) => of(channel, "own"),
            Key::People => of(ROOM, "people"),
            Key::Owner => of(ROOM, "owner"),
            Key::Members => of(ROOM, "members"),
            Key::Nodes => "headcount:v1:nodes".to_owned(),
            Key::List(node) => format!("headcount:v1:node:{}", self.nodes[node].as_ref()?.state.id()),
        })
    }

    fn may_lose(&mut self, key: Key) -> bool {
        match key {
            Key::Total(_) => true,
            Key::Tally(channel) | Key::Own(channel) => self.may_hurt(channel),
            Key::People | Key::Owner => self.may_hurt(ROOM),
            // Nothing else is healed from it.
            Key::Members => true,
            Key::Nodes | Key::List(_) => true,
        }
    }

    fn lose_key(&mut self, key: Key) {
        let Some(name) = self.name(key).filter(|_| self.store.is_up()) else { return };
        if self.may_lose(key) {
            self.store.ask(self.now, &["DEL", &name]);
            if key == Key::Total(0) {
                self.foreign = (0, 0);
            }
        }
    }

    fn damage(&mut self, key: Key, how: usize) {
        let Some(name) = self.name(key).filter(|_| self.store.is_up()) else { return };
        // What somebody writes where nothing of ours is would be nobody's to mend.
        let there = match name.strip_prefix("headcount:v1:node:") {
            Some(id) => self.store.text(self.now, &["ZRANK", "headcount:v1:nodes", id]).is_some(),
            None => self.store.text(self.now, &["EXISTS", &name]).as_deref() == Some("1"),
        };
        if (!there && !matches!(key, Key::Total(_) | Key::Nodes)) || !self.may_lose(key) {
            return;
        }
        let huge = "9223372036854775807";
        let bytes = b"\x1f\x8b\x08\xff".as_slice();
        let now = self.now;
        let mut put = |command: &[&[u8]]| drop(self.store.ask(now, command));
        let key_name = name.as_bytes();
        match (key, how) {
            (Key::Tally(_), 0..=4) => {
                let values: [(&[u8], &[u8]); 5] =
                    [(b"bogus", b"abc"), (b"bogus", huge.as_bytes()), (b"bogus", b"-5"), (bytes, bytes), (bytes, b"7")];
                put(&[b"HSET", key_name, values[how].0, values[how].1]);
            }
            (Key::Owner, 0) => put(&[b"HSET", key_name, b"xx", b"3 5 nobody"]),
            (Key::Owner, 1) => put(&[b"HSET", key_name, b"xx", bytes]),
            (Key::Members, 0) => put(&[b"HSET", key_name, b"0123456789abcdef", b"17 1 3 bad"]),
            (Key::Members, 1) => put(&[b"HSET", key_name, b"", bytes]),
            (Key::Members, 2) => put(&[b"HDEL", key_name, b""]),
            (Key::Nodes, 0..=3) => put(&[b"ZADD", key_name, b"5", bytes]),
            (Key::List(_), 0..=3) => put(&[b"SADD", key_name, b"page:/bogus"]),
            (_, 0..=4) => {
                let values: [&[u8]; 5] = [b"abc", huge.as_bytes(), b"-0", bytes, b""];
                put(&[b"SET", key_name, values[how]]);
            }
            (Key::Total(_) | Key::Own(_) | Key::Nodes | Key::List(_), 5) => {
                put(&[b"DEL", key_name]);
                put(&[b"HSET", key_name, b"a", b"b"]);
            }
            _ => {
                put(&[b"DEL", key_name]);
                put(&[b"RPUSH", key_name, b"precious"]);
            }
        }
        if let Key::Total(channel) = key {
            self.tainted.insert(channel);
            if channel == 0 {
                self.foreign = (0, 0);
            }
        }
    }

    /// What the store holds of ours in the exactly named channel, as the next script will see it; None
    /// if its total is no integer just now.
    fn ours(&mut self) -> Option<(i64, i64)> {
        let now = self.now;
        let total = self.store.text(now, &["GET", CHANNELS[0]])?.parse().ok()?;
        let key = |what| format!("headcount:v1:{{{}}}:{what}", CHANNELS[0]);
        let canonical = |text: &String| text.parse::<i64>().ok().filter(|number| number.to_string() == *text);
        let own = self.store.text(now, &["GET", &key("own")]).as_ref().and_then(canonical);
        let share = |text: &String| text.parse::<i64>().ok().filter(|share| (1..=1_000_000_000).contains(share));
        let tally = self.store.list(now, &["HVALS", &key("tally")]);
        let own = own.filter(|own| *own >= 0 && *own < 1 << 53).unwrap_or_else(|| tally.iter().filter_map(share).sum());
        Some((total, own))
    }

    fn foreign_adds(&mut self, by: i64) {
        if self.tainted.contains(&0) || !self.store.is_up() {
            return;
        }
        let there = self.ours();
        let Some(after) = self.store.text(self.now, &["INCRBY", CHANNELS[0], &by.to_string()]) else { return };
        let (least, most) = self.foreign;
        self.foreign = match there {
            // A repair may have lifted what others took out.
            Some((total, own)) if (least..=most.max(0)).contains(&(total - own)) => (least + by, most.max(0) + by),
            // The total was lost: what this leaves of it depends on who comes first.
            _ => (least.min(0), most.max(0) + by.max(0)),
        };
        if let (Ok(number), true) = (after.parse(), self.random.bool()) {
            self.foreign_publishes(0, number);
        }
    }

    fn foreign_sets(&mut self, to: i64) {
        if !self.store.is_up() {
            return;
        }
        self.store.ask(self.now, &["SET", CHANNELS[0], &to.to_string()]);
        if let Some((total, own)) = self.ours() {
            self.foreign = (total - own, total - own);
        }
        self.foreign_publishes(0, to);
    }

    /// A publish that is nobody's of ours reaches the subscribers, too.
    fn foreign_publishes(&mut self, channel: usize, number: i64) {
        self.publish(&["PUBLISH", CHANNELS[channel], &number.to_string()]);
    }
}
