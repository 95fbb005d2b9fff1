//! The state of a stream as commands: its entries, its counters and ids, and its groups.

use std::ops::Bound::{Excluded, Unbounded};

use crate::store::listpack::Element;
use crate::store::resp::{ArgList, encode};
use crate::store::small_bytes::SmallBytes;
use crate::store::stream::{Entry, Group, Id, Pending, Stream};

use super::position::Position;

/// The most pending entries in one command.
const BATCH: usize = 64;

/// Adds commands to `out` until it holds about `limit` bytes. Returns the position to resume from, if anything is
/// left of the stream.
pub fn snapshot(key: &[u8], stream: &Stream, from: Position, limit: usize, out: &mut Vec<u8>) -> Option<Position> {
    let mut place = match from {
        Position::Element(first) => {
            for (at, node) in stream.entries.nodes().range(first.min(stream.entries.nodes().len())..).enumerate() {
                if at > 0 && out.len() >= limit {
                    return Some(Position::Element(first + at));
                }
                let living = node.places().filter(|place| !place.deleted);
                living.for_each(|place| entry(key, place.entry, out));
            }
            properties(key, stream, out);
            None
        }
        Position::Group(name, after) => Some((name, after)),
    };
    loop {
        let (name, after) = match place.take() {
            Some((name, Some(after))) => (name, Some(after)),
            before => {
                let before = before.map(|(name, _)| name);
                let (name, group) = stream.group_after(before.as_ref())?;
                head(key, name, group, out);
                (name.clone(), None)
            }
        };
        let after = stream.group(&name).and_then(|group| pending(key, &name, group, after, out));
        place = Some((name, after));
        if out.len() >= limit {
            return place.map(|(name, after)| Position::Group(name, after));
        }
    }
}

fn entry(key: &[u8], entry: Entry, out: &mut Vec<u8>) {
    let id = entry.id.to_string();
    // Integers are stored as such, so their text must be created here.
    let elements: Vec<Element> = entry.pairs().flat_map(|(name, value)| [name, value]).collect();
    let texts: Vec<String> =
        elements.iter().map(|element| element.int().map_or_else(String::new, |number| number.to_string())).collect();
    let mut args: ArgList = [&b"XADD"[..], key, id.as_bytes()].into_iter().collect();
    args.extend(elements.iter().zip(&texts).map(|(element, text)| match element {
        Element::Int(_) => text.as_bytes(),
        Element::Text(bytes) => bytes,
    }));
    encode(&args, out);
}

fn properties(key: &[u8], stream: &Stream, out: &mut Vec<u8>) {
    let entries = &stream.entries;
    if entries.len() == 0 {
        // An empty stream is created by adding an entry that is trimmed at once.
        encode(&[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"], out);
    }
    let (last, deleted) = (entries.last.to_string(), entries.max_deleted.to_string());
    let added = entries.added.min(i64::MAX as u64).to_string();
    let tail: [&[u8]; 4] = [b"ENTRIESADDED", added.as_bytes(), b"MAXDELETEDID", deleted.as_bytes()];
    let head: [&[u8]; 3] = [b"XSETID", key, last.as_bytes()];
    encode(&[&head[..], &tail].concat(), out);
}

fn head(key: &[u8], name: &[u8], group: &Group, out: &mut Vec<u8>) {
    let (last, read) = (group.last.to_string(), group.read_text());
    encode(&[b"XGROUP", b"CREATE", key, name, last.as_bytes(), b"ENTRIESREAD", read.as_bytes()], out);
    for (_, consumer) in group.consumers() {
        encode(&[b"XGROUP", b"CREATECONSUMER", key, name, &consumer.name], out);
    }
}

/// Adds the pending entries after an id; returns the id of the last one, if there may be more.
fn pending(key: &[u8], name: &SmallBytes, group: &Group, after: Option<Id>, out: &mut Vec<u8>) -> Option<Id> {
    let from = after.map_or(Unbounded, Excluded);
    let some: Vec<(Id, Pending)> =
        group.pending().range((from, Unbounded)).take(BATCH).map(|(id, pending)| (*id, *pending)).collect();
    for alike in some.chunk_by(|(_, one), (_, other)| one == other) {
        let pending = alike[0].1;
        let Some(consumer) = group.consumer(pending.consumer) else { continue };
        let ids: Vec<String> = alike.iter().map(|(id, _)| id.to_string()).collect();
        let (delivered, count) = (pending.delivered.to_string(), pending.count.min(i64::MAX as u64).to_string());
        let mut args: ArgList = [&b"XCLAIM"[..], key, name, &consumer.name, b"0"].into_iter().collect();
        args.extend(ids.iter().map(|id| id.as_bytes()));
        let tail: [&[u8]; 6] = [b"TIME", delivered.as_bytes(), b"RETRYCOUNT", count.as_bytes(), b"FORCE", b"JUSTID"];
        args.extend(tail);
        encode(&args, out);
    }
    if some.len() == BATCH { some.last().map(|(id, _)| *id) } else { None }
}
