//! A list: strings in a sequence with two ends.

use std::collections::VecDeque;
use std::ops::Range;

use crate::store::small_bytes::SmallBytes;
use crate::store::undo::Recorder;

/// A sequence of strings with two ends.
#[derive(Debug, Default, Clone)]
pub struct List {
    /// The elements in order.
    pub items: VecDeque<SmallBytes>,
    heap: usize,
    /// Records how to undo its changes.
    pub changes: Recorder<ListChange>,
}

/// A step that undoes a change to a list.
#[derive(Debug)]
pub enum ListChange {
    /// Removes the first element (`true`) or the last.
    Pop(bool),
    /// Adds an element at the front (`true`) or at the end.
    Push(bool, SmallBytes),
    /// Replaces the element at a position.
    Set(usize, SmallBytes),
    /// Removes the element at a position.
    Remove(usize),
    /// Adds elements at the front and at the end.
    Extend(VecDeque<SmallBytes>, VecDeque<SmallBytes>),
    /// Puts elements back at their old positions, which are in ascending order.
    PutBack(Vec<(usize, SmallBytes)>),
}

fn heap_of<'a>(items: impl Iterator<Item = &'a SmallBytes>) -> usize {
    items.map(SmallBytes::heap_size).sum()
}

impl List {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Adds an element at the front or at the end.
    pub fn push(&mut self, front: bool, item: SmallBytes) {
        self.heap += item.heap_size();
        if front {
            self.items.push_front(item);
        } else {
            self.items.push_back(item);
        }
        self.changes.note(|| (ListChange::Pop(front), 0));
    }

    /// Removes the first or the last element, and returns it.
    pub fn pop(&mut self, front: bool) -> Option<SmallBytes> {
        let item = if front { self.items.pop_front() } else { self.items.pop_back() }?;
        self.heap -= item.heap_size();
        self.changes.note(|| (ListChange::Push(front, item.clone()), item.heap_size()));
        Some(item)
    }

    /// Replaces the element at a position, which must exist.
    pub fn set(&mut self, index: usize, item: SmallBytes) {
        self.heap = self.heap + item.heap_size() - self.items[index].heap_size();
        let old = std::mem::replace(&mut self.items[index], item);
        self.changes.note(|| (ListChange::Set(index, old.clone()), old.heap_size()));
    }

    /// Inserts an element before a position.
    pub fn insert(&mut self, index: usize, item: SmallBytes) {
        self.heap += item.heap_size();
        self.items.insert(index, item);
        self.changes.note(|| (ListChange::Remove(index), 0));
    }

    /// Keeps only the elements in a range.
    pub fn trim(&mut self, range: Range<usize>) {
        let freed = heap_of(self.items.range(range.end..).chain(self.items.range(..range.start)));
        self.heap -= freed;
        if !self.changes.is_on() {
            self.items.truncate(range.end);
            self.items.drain(..range.start);
            return;
        }
        let tail = self.items.split_off(range.end);
        let head: VecDeque<SmallBytes> = self.items.drain(..range.start).collect();
        let held = freed + (head.len() + tail.len()) * size_of::<SmallBytes>();
        self.changes.note(|| (ListChange::Extend(head, tail), held));
    }

    /// Removes up to `left` elements that equal `wanted`, from the front or from the end; returns how many.
    pub fn remove_equal(&mut self, wanted: &[u8], left: u64, front: bool) -> usize {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let found = self.items.iter().enumerate().filter(|(_, item)| ***item == *wanted).map(|(at, _)| at);
        let mut found: Vec<usize> = if front { found.take(most).collect() } else { found.collect() };
        found.drain(..found.len().saturating_sub(most));
        let mut removed = Vec::new();
        let (mut at, mut next) = (0, found.iter().peekable());
        self.items.retain_mut(|item| {
            let hit = next.next_if_eq(&&at).is_some();
            if hit {
                removed.push((at, std::mem::replace(item, SmallBytes::new(b""))));
            }
            at += 1;
            !hit
        });
        let freed = heap_of(removed.iter().map(|(_, item)| item));
        self.heap -= freed;
        let held = freed + size_of_val(&removed[..]);
        self.changes.note(|| (ListChange::PutBack(removed), held));
        found.len()
    }

    /// Undoes the last change.
    pub fn undo(&mut self, change: ListChange) {
        match change {
            ListChange::Pop(front) => drop(self.pop(front)),
            ListChange::Push(front, item) => self.push(front, item),
            ListChange::Set(index, item) => self.set(index, item),
            ListChange::Remove(index) => {
                if let Some(item) = self.items.remove(index) {
                    self.heap -= item.heap_size();
                }
            }
            ListChange::Extend(mut head, mut tail) => {
                self.heap += heap_of(head.iter().chain(&tail));
                head.append(&mut self.items);
                head.append(&mut tail);
                self.items = head;
            }
            ListChange::PutBack(removed) => {
                self.heap += heap_of(removed.iter().map(|(_, item)| item));
                let mut rest = std::mem::take(&mut self.items).into_iter();
                for (at, item) in removed {
                    let before = at - self.items.len();
                    self.items.extend(rest.by_ref().take(before));
                    self.items.push_back(item);
                }
                self.items.extend(rest);
            }
        }
    }

    /// An estimate of the memory that the list takes, in bytes.
    pub fn footprint(&self) -> usize {
        64 + self.items.capacity() * 24 + self.heap
    }
}
