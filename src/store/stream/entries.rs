//! The entries of a stream, in the order of their ids.

use std::collections::VecDeque;

use crate::store::resp::Args;
use crate::store::undo::Recorder;

use super::changes::{Counters, EntriesChange, as_it_is, put_back};
use super::id::Id;
use super::node::{Entry, Node};
use super::radix;

/// The entries in their nodes, and what is kept about deleted ones.
#[derive(Debug, Default, Clone)]
pub struct Entries {
    nodes: VecDeque<Node>,
    len: u64,
    /// The highest id ever used.
    pub last: Id,
    /// The id of the first entry, if there is one.
    pub first: Id,
    /// The highest id that was deleted individually.
    pub max_deleted: Id,
    /// How many entries were ever added.
    pub added: u64,
    heap: usize,
    /// Records how to undo its changes.
    pub changes: Recorder<EntriesChange>,
}

/// How far to trim a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Down to this many entries.
    Length(u64),
    /// Up to, but not including, this id.
    From(Id),
}

/// How to trim a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// How far to trim.
    pub bound: Bound,
    /// Whether to remove whole nodes only.
    pub whole_nodes: bool,
    /// The most entries to remove; 0 means any number.
    pub limit: u64,
}

impl Entries {
    /// The number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The nodes.
    pub fn nodes(&self) -> &VecDeque<Node> {
        &self.nodes
    }

    /// The number of nodes that Redis's radix tree of these blocks would have.
    pub fn radix_nodes(&self) -> usize {
        radix::nodes(&self.nodes.iter().map(|node| node.first).collect::<Vec<_>>())
    }

    /// An estimate of the memory that the entries take, in bytes.
    pub fn footprint(&self) -> usize {
        self.heap + self.nodes.capacity() * size_of::<Node>()
    }

    /// Appends an entry, whose id must be higher than all earlier ones.
    pub fn append(&mut self, id: Id, fields: &Args) {
        let bytes = fields.iter().map(|text| text.len()).sum();
        if !self.nodes.back().is_some_and(|node| node.takes(bytes)) {
            if let Some(node) = self.nodes.back_mut() {
                self.heap -= node.heap();
                node.finish();
                self.heap += node.heap();
            }
            let node = Node::new(id, fields);
            self.heap += node.heap();
            self.nodes.push_back(node);
            self.changes.note(|| (EntriesChange::PopNode, 0));
        } else if let Some(node) = self.nodes.back() {
            self.changes.note(|| as_it_is(self.nodes.len() - 1, node));
        }
        if let Some(node) = self.nodes.back_mut() {
            self.heap -= node.heap();
            node.push(id, fields);
            self.heap += node.heap();
        }
        if self.len == 0 {
            self.first = id;
        }
        self.len += 1;
        self.added += 1;
        self.last = id;
    }

    /// Appends a block from outside the store as a node; returns whether it is valid and comes after the others.
    pub fn append_block(&mut self, first: Id, block: Vec<u8>) -> bool {
        let last = self.nodes.back().and_then(|node| node.places().last()).map(|place| place.entry.id);
        let Some(node) = Node::from_block(first, block, last) else { return false };
        self.len += node.live();
        self.heap += node.heap();
        self.nodes.push_back(node);
        self.find_first();
        true
    }

    /// The entries between two ids, both included, in ascending order.
    pub fn range(&self, from: Id, to: Id) -> Range<'_> {
        Range { entries: self, node: self.node_of(from).unwrap_or(0), at: 0, from, to }
    }

    /// The entries between two ids, both included, in descending order.
    pub fn range_down(&self, from: Id, to: Id) -> RangeDown<'_> {
        let node = self.node_of(to).map_or(0, |at| at + 1);
        RangeDown { entries: self, node, left: Vec::new(), from, to }
    }

    /// The entry with this id.
    pub fn get(&self, id: Id) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// The first entry after an id.
    pub fn after(&self, id: Id) -> Option<Entry<'_>> {
        if id >= self.last {
            return None;
        }
        self.range(id.next()?, Id::MAX).next()
    }

    /// The last entry.
    pub fn newest(&self) -> Option<Entry<'_>> {
        self.range_down(Id::MIN, Id::MAX).next()
    }

    /// Deletes an entry; returns whether it was there.
    pub fn delete(&mut self, id: Id) -> bool {
        let Some(at) = self.node_of(id) else { return false };
        let node = &mut self.nodes[at];
        let place = node.places().find(|place| place.entry.id >= id);
        let Some(place) = place.filter(|place| place.entry.id == id && !place.deleted).map(|place| place.at) else {
            return false;
        };
        self.heap -= node.heap();
        if node.live() <= 1 {
            if let Some(node) = self.nodes.remove(at) {
                self.changes.note(|| put_back(at, node));
            }
        } else {
            self.changes.note(|| as_it_is(at, node));
            node.delete(place);
            self.heap += node.heap();
        }
        self.len -= 1;
        self.max_deleted = self.max_deleted.max(id);
        if self.len == 0 || id == self.first {
            self.find_first();
        }
        true
    }

    /// Removes the oldest entries; returns how many.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let before = self.len;
        while let Some(node) = self.nodes.front_mut() {
            let live = node.live();
            if matches!(trim.bound, Bound::Length(length) if self.len <= length) {
                break;
            }
            if trim.limit > 0 && before - self.len + live > trim.limit {
                break;
            }
            let whole = match trim.bound {
                Bound::Length(length) => self.len - live >= length,
                Bound::From(id) => node.places().last().is_some_and(|place| place.entry.id < id),
            };
            if whole {
                self.heap -= node.heap();
                if let Some(node) = self.nodes.pop_front() {
                    self.changes.note(|| put_back(0, node));
                }
                self.len -= live;
                continue;
            }
            if !trim.whole_nodes {
                self.changes.note(|| as_it_is(0, node));
                self.heap -= node.heap();
                self.len -= trim_node(node, trim.bound, self.len);
                self.heap += node.heap();
            }
            break;
        }
        if self.len < before {
            self.find_first();
        }
        before - self.len
    }

    /// Whether an entry with this id or a higher one was deleted individually.
    pub fn has_holes_from(&self, id: Id) -> bool {
        self.len > 0 && self.max_deleted != Id::MIN && id <= self.max_deleted
    }

    /// How many entries were added up to an id, if that is known.
    pub fn added_up_to(&self, id: Id) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last || id == self.last {
            return Some(self.added);
        }
        if id > self.last || self.max_deleted != Id::MIN && self.max_deleted >= self.first {
            return None;
        }
        match id.cmp(&self.first) {
            std::cmp::Ordering::Less => Some(self.added - self.len.min(self.added)),
            std::cmp::Ordering::Equal => Some(self.added - self.len.min(self.added) + 1),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Records the counters, if changes are being recorded. Must be called before anything else changes.
    pub fn note_counters(&mut self) {
        let &mut Self { len, added, last, first, max_deleted, .. } = self;
        self.changes.note(|| (EntriesChange::Counters(Counters { len, added, last, first, max_deleted }), 0));
    }

    /// Undoes the last change.
    pub fn undo(&mut self, change: EntriesChange) {
        match change {
            EntriesChange::Counters(Counters { len, added, last, first, max_deleted }) => {
                (self.len, self.added, self.last) = (len, added, last);
                (self.first, self.max_deleted) = (first, max_deleted);
            }
            EntriesChange::Node(at, old) => {
                if let Some(node) = self.nodes.get_mut(at) {
                    self.heap = self.heap + old.heap() - node.heap();
                    *node = old;
                }
            }
            EntriesChange::PopNode => self.heap -= self.nodes.pop_back().map_or(0, |node| node.heap()),
            EntriesChange::PutNode(at, node) => {
                self.heap += node.heap();
                self.nodes.insert(at, node);
            }
        }
    }

    fn find_first(&mut self) {
        self.first = self.range(Id::MIN, Id::MAX).next().map_or(Id::MIN, |entry| entry.id);
    }

    /// The last node that begins at or before an id.
    fn node_of(&self, id: Id) -> Option<usize> {
        self.nodes.partition_point(|node| node.first <= id).checked_sub(1)
    }
}

/// Deletes the oldest entries of a node; returns how many.
fn trim_node(node: &mut Node, bound: Bound, len: u64) -> u64 {
    let mut gone = 0;
    let mut at = 0;
    while let Some(place) = node.place_at(at) {
        let over = match bound {
            Bound::Length(length) => len - gone <= length,
            Bound::From(id) => place.entry.id >= id,
        };
        if over {
            break;
        }
        let (deleted, next, here) = (place.deleted, place.next, place.at);
        at = next;
        if !deleted {
            let before = node.block().len();
            node.delete(here);
            // The header may have grown, because it holds the counts.
            at = next + node.block().len() - before;
            gone += 1;
        }
    }
    gone
}

/// Entries in ascending order; see [`Entries::range`].
pub struct Range<'a> {
    entries: &'a Entries,
    node: usize,
    at: usize,
    from: Id,
    to: Id,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let node = self.entries.nodes.get(self.node)?;
            let Some(place) = node.place_at(self.at) else {
                (self.node, self.at) = (self.node + 1, 0);
                continue;
            };
            self.at = place.next;
            if place.entry.id > self.to {
                self.node = self.entries.nodes.len();
                return None;
            }
            if !place.deleted && place.entry.id >= self.from {
                return Some(place.entry);
            }
        }
    }
}

/// Entries in descending order; see [`Entries::range_down`].
pub struct RangeDown<'a> {
    entries: &'a Entries,
    /// The nodes before this index are still to be read.
    node: usize,
    /// The remaining entries of the current node, to be popped from the end.
    left: Vec<Entry<'a>>,
    from: Id,
    to: Id,
}

impl<'a> Iterator for RangeDown<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(entry) = self.left.pop() {
                if entry.id < self.from {
                    (self.node, self.left) = (0, Vec::new());
                    return None;
                }
                return Some(entry);
            }
            self.node = self.node.checked_sub(1)?;
            let to = self.to;
            let places = self.entries.nodes.get(self.node)?.places();
            let within = places.take_while(|place| place.entry.id <= to).filter(|place| !place.deleted);
            self.left.extend(within.map(|place| place.entry));
        }
    }
}
