//! `XINFO`: details of a stream, its groups and their consumers.

use crate::store::args::{int, is};
use crate::store::error::{CommandError, NO_SUCH_KEY, Outcome, wrong_arity};
use crate::store::keyspace::Keyspace;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::small_bytes::SmallBytes;
use crate::store::stream::{Consumer, Group, Id, Stream};

use super::other_subcommand;
use super::stream_groups::no_group_for;
use super::streams::{reply_entries, reply_entry, reply_id};

/// How many entries of each kind `FULL` reports by default.
const FEW: u64 = 10;

pub fn xinfo(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let now = keys.now;
    let (least, most, name) = match () {
        () if is(args[1], "STREAM") => (3, usize::MAX, "stream"),
        () if is(args[1], "GROUPS") => (3, 3, "groups"),
        () if is(args[1], "CONSUMERS") => (4, 4, "consumers"),
        () => return other_subcommand("XINFO", args, out),
    };
    if !(least..=most).contains(&args.len()) {
        return Err(wrong_arity(&format!("xinfo|{name}")));
    }
    let stream = keys.read::<Stream>(args[2])?.ok_or(NO_SUCH_KEY)?;
    match name {
        "stream" => match full(args)? {
            Some(count) => tell_all(stream, count, out),
            None => tell(stream, out),
        },
        "groups" => {
            out.array(stream.groups().len());
            for (name, group) in stream.groups() {
                tell_group(stream, name, group, out);
            }
        }
        _ => {
            let group = stream.group(args[3]).ok_or_else(|| no_group_for(args[2], args[3]))?;
            let consumers = group.consumers();
            out.array(consumers.len());
            consumers.for_each(|(_, consumer)| tell_consumer(consumer, now, out));
        }
    }
    Ok(())
}

/// How many entries of each kind to report, if `FULL` is given; 0 means all.
fn full(args: &Args) -> Result<Option<u64>, CommandError> {
    let [_, _, _, options @ ..] = args else { return Ok(None) };
    match options {
        [] => Ok(None),
        [word] if is(word, "FULL") => Ok(Some(FEW)),
        [word, count, number] if is(word, "FULL") && is(count, "COUNT") => {
            Ok(Some(u64::try_from(int(number)?).unwrap_or(FEW)))
        }
        _ => {
            let given = String::from_utf8_lossy(args[1]).into_owned();
            Err(CommandError::new(format!(
                "ERR unknown subcommand or wrong number of arguments for '{given}'. Try XINFO HELP."
            )))
        }
    }
}

/// Writes the fields that both forms of `XINFO STREAM` begin with, after the map header.
fn tell_head(stream: &Stream, out: &mut Reply) {
    let entries = &stream.entries;
    out.bulk(b"length");
    out.int(entries.len() as i64);
    out.bulk(b"radix-tree-keys");
    out.len(entries.nodes().len());
    out.bulk(b"radix-tree-nodes");
    out.len(entries.radix_nodes());
    out.bulk(b"last-generated-id");
    reply_id(entries.last, out);
    out.bulk(b"max-deleted-entry-id");
    reply_id(entries.max_deleted, out);
    out.bulk(b"entries-added");
    out.int(entries.added as i64);
    out.bulk(b"recorded-first-entry-id");
    reply_id(entries.first, out);
}

fn tell(stream: &Stream, out: &mut Reply) {
    out.map(10);
    tell_head(stream, out);
    out.bulk(b"groups");
    out.len(stream.groups().len());
    let first = stream.entries.range(Id::MIN, Id::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", stream.entries.newest())] {
        out.bulk(name.as_bytes());
        match entry {
            Some(entry) => reply_entry(entry, out),
            None => out.null(),
        }
    }
}

fn tell_all(stream: &Stream, count: u64, out: &mut Reply) {
    out.map(9);
    tell_head(stream, out);
    out.bulk(b"entries");
    reply_entries(stream.entries.range(Id::MIN, Id::MAX), count, out);
    out.bulk(b"groups");
    out.array(stream.groups().len());
    let limit = if count == 0 { usize::MAX } else { count as usize };
    for (name, group) in stream.groups() {
        out.map(7);
        out.bulk(b"name");
        out.bulk(name);
        tell_progress(stream, group, out);
        out.bulk(b"pel-count");
        out.len(group.pending().len());
        out.bulk(b"pending");
        out.array(group.pending().len().min(limit));
        for (id, pending) in group.pending().iter().take(limit) {
            out.array(4);
            reply_id(*id, out);
            out.bulk(group.consumer(pending.consumer).map_or(&b""[..], |consumer| &consumer.name));
            out.int(pending.delivered as i64);
            out.int(pending.count as i64);
        }
        out.bulk(b"consumers");
        let consumers = group.consumers();
        out.array(consumers.len());
        consumers.for_each(|(_, consumer)| tell_all_of_consumer(group, consumer, limit, out));
    }
}

fn tell_all_of_consumer(group: &Group, consumer: &Consumer, limit: usize, out: &mut Reply) {
    out.map(4);
    out.bulk(b"name");
    out.bulk(&consumer.name);
    out.bulk(b"seen-time");
    out.int(consumer.seen as i64);
    out.bulk(b"pel-count");
    out.len(consumer.pending.len());
    out.bulk(b"pending");
    out.array(consumer.pending.len().min(limit));
    for id in consumer.pending.iter().take(limit) {
        let pending = group.pending().get(id);
        out.array(3);
        reply_id(*id, out);
        out.int(pending.map_or(0, |pending| pending.delivered as i64));
        out.int(pending.map_or(0, |pending| pending.count as i64));
    }
}

/// Writes how far a group has read.
fn tell_progress(stream: &Stream, group: &Group, out: &mut Reply) {
    out.bulk(b"last-delivered-id");
    reply_id(group.last, out);
    out.bulk(b"entries-read");
    match group.read {
        Some(read) => out.int(read as i64),
        None => out.null(),
    }
    out.bulk(b"lag");
    match group.lag(&stream.entries) {
        Some(lag) => out.int(lag),
        None => out.null(),
    }
}

fn tell_group(stream: &Stream, name: &SmallBytes, group: &Group, out: &mut Reply) {
    out.map(6);
    out.bulk(b"name");
    out.bulk(name);
    out.bulk(b"consumers");
    out.len(group.consumers().len());
    out.bulk(b"pending");
    out.len(group.pending().len());
    tell_progress(stream, group, out);
}

fn tell_consumer(consumer: &Consumer, now: u64, out: &mut Reply) {
    out.map(3);
    out.bulk(b"name");
    out.bulk(&consumer.name);
    out.bulk(b"pending");
    out.len(consumer.pending.len());
    out.bulk(b"idle");
    // For a consumer from before a restart, it is unknown when it was last seen.
    out.int(if consumer.seen == 0 { 0 } else { now.saturating_sub(consumer.seen) as i64 });
}
