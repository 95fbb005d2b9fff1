//! Streams: reading new entries, with or without a consumer group, and waiting for them.

use crate::store::args::{int, is};
use crate::store::error::{Block, CommandError, Outcome, SYNTAX, TIMEOUT_NEGATIVE, WRONGTYPE};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::number::parse_int;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::small_bytes::SmallBytes;
use crate::store::stream::{Id, Pending, Stream};

use super::streams::{reply_entries, reply_entry, reply_id};

/// The most ids in one command of the log.
const BATCH: usize = 512;

/// The consumer that reads, and its group.
#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
}

/// Which entries of a stream are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The entries after an id.
    After(Id),
    /// The entries not yet delivered to the group.
    Undelivered,
    /// The entries after an id that the consumer has not acknowledged.
    Pending(Id),
}

/// The options of a read.
#[derive(Default)]
struct Request<'a> {
    reader: Option<Reader<'a>>,
    /// The most entries to return per stream; 0 means all.
    count: u64,
    no_ack: bool,
    /// Until when to wait, if at all; 0 means forever.
    block: Option<u64>,
    /// The index of the first stream name.
    streams: usize,
}

/// When a wait of this many milliseconds ends; 0 means never.
fn wait_until(text: &[u8], now: u64) -> Result<u64, CommandError> {
    let error = || CommandError::new("ERR timeout is not an integer or out of range");
    let milliseconds = parse_int(text).ok_or_else(error)?;
    if milliseconds < 0 {
        return Err(TIMEOUT_NEGATIVE);
    }
    if milliseconds == 0 {
        return Ok(0);
    }
    Ok(now.saturating_add(milliseconds as u64))
}

impl<'a> Request<'a> {
    fn parse(args: &Args<'a>, of_group: bool, now: u64) -> Result<Self, CommandError> {
        let mut request = Self::default();
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let more = args.len() - at - 1;
            match () {
                () if is(word, "BLOCK") && more > 0 => {
                    request.block = Some(wait_until(args[at + 1], now)?);
                    at += 1;
                }
                () if is(word, "COUNT") && more > 0 => {
                    request.count = int(args[at + 1])?.max(0) as u64;
                    at += 1;
                }
                () if is(word, "STREAMS") && more > 0 => {
                    request.streams = at + 1;
                    break;
                }
                () if is(word, "GROUP") && more > 1 => {
                    request.reader = Some(Reader { group: args[at + 1], consumer: args[at + 2] });
                    at += 2;
                    Self::only_of_group("GROUP", of_group)?;
                }
                () if is(word, "NOACK") => {
                    request.no_ack = true;
                    Self::only_of_group("NOACK", of_group)?;
                }
                () => return Err(SYNTAX),
            }
            at += 1;
        }
        if request.streams == 0 {
            return Err(SYNTAX);
        }
        if !(args.len() - request.streams).is_multiple_of(2) {
            return Err(CommandError::new(
                "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
            ));
        }
        if of_group && request.reader.is_none() {
            return Err(CommandError::new("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(request)
    }

    fn only_of_group(option: &str, of_group: bool) -> Result<(), CommandError> {
        if of_group {
            return Ok(());
        }
        let text = "option is only supported by XREADGROUP. You called XREAD instead.";
        Err(CommandError::new(format!("ERR The {option} {text}")))
    }

    /// Parses the id given for a stream, which may not exist.
    fn what(&self, stream: Option<&Stream>, key: &[u8], id: &[u8]) -> Result<What, CommandError> {
        if let Some(reader) = self.reader
            && stream.is_none_or(|stream| stream.group(reader.group).is_none())
        {
            return Err(CommandError::new(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(reader.group)
            )));
        }
        match (id, self.reader.is_some()) {
            (b"$", true) => Err(CommandError::new(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                 consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
                 return an empty result set.",
            )),
            (b"$", false) => Ok(What::After(stream.map_or(Id::MIN, |stream| stream.entries.last))),
            (b">", false) => Err(CommandError::new(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            )),
            (b">", true) => Ok(What::Undelivered),
            (_, true) => match Id::parse_strict(id, 0)? {
                // Redis represents `>` as the highest id.
                Id::MAX => Ok(What::Undelivered),
                id => Ok(What::Pending(id)),
            },
            (_, false) => Id::parse_strict(id, 0).map(What::After),
        }
    }
}

/// Whether a stream has anything to return.
fn is_served(stream: Option<&Stream>, what: What, reader: Option<Reader>) -> bool {
    let Some(stream) = stream else { return false };
    match (what, reader) {
        (What::After(id), _) => stream.entries.after(id).is_some(),
        (What::Pending(_), _) => true,
        (What::Undelivered, Some(reader)) => {
            stream.group(reader.group).is_some_and(|group| stream.entries.after(group.last).is_some())
        }
        (What::Undelivered, None) => false,
    }
}

pub fn xread(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    read(keys, args, out, false)
}

pub fn xreadgroup(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    read(keys, args, out, true)
}

fn read(keys: &mut Keyspace, args: &Args, out: &mut Reply, of_group: bool) -> Outcome {
    let request = Request::parse(args, of_group, keys.now)?;
    let (names, ids) = args[request.streams..].split_at((args.len() - request.streams) / 2);
    let mut wanted = Vec::with_capacity(names.len());
    for (name, id) in names.iter().zip(ids) {
        wanted.push(request.what(keys.read::<Stream>(name)?, name, id)?);
    }
    let mut served = Vec::new();
    for (name, what) in names.iter().zip(&wanted) {
        if is_served(keys.read::<Stream>(name)?, *what, request.reader) {
            served.push((*name, *what));
        }
    }
    if served.is_empty() {
        return wait(&request, args, names, &wanted, out);
    }
    if out.resp3 {
        out.map(served.len());
    } else {
        out.array(served.len());
    }
    for (name, what) in served {
        if !out.resp3 {
            out.array(2);
        }
        out.bulk(name);
        match (what, request.reader) {
            (What::After(id), _) => {
                let stream = keys.read::<Stream>(name)?.ok_or(WRONGTYPE)?;
                reply_entries(stream.entries.range(id.next().unwrap_or(Id::MAX), Id::MAX), request.count, out);
            }
            (What::Pending(id), Some(reader)) => reread(keys, name, reader, id, request.count, out)?,
            (_, Some(reader)) => deliver(keys, name, reader, &request, out)?,
            (_, None) => {}
        }
    }
    Ok(())
}

/// Makes the client wait, if it asked to.
fn wait(request: &Request, args: &Args, names: &Args, wanted: &[What], out: &mut Reply) -> Outcome {
    let Some(until) = request.block else {
        out.null_array();
        return Ok(());
    };
    // `$` means the end of the stream now, not when the client wakes up.
    let ids = wanted.iter().zip(&args[request.streams + names.len()..]).map(|(what, text)| match what {
        What::After(id) => SmallBytes::from(id.to_string().into_bytes()),
        _ => SmallBytes::new(text),
    });
    let head = args[..request.streams + names.len()].iter().map(|arg| SmallBytes::new(arg));
    Err(CommandError::Block(Box::new(Block {
        keys: names.iter().map(|name| SmallBytes::new(name)).collect(),
        type_name: "stream",
        until: (until > 0).then_some(until),
        null_array: true,
        instead: Some(head.chain(ids).collect()),
        needs_key: request.reader.is_some(),
    })))
}

/// Finds or adds a group's consumer; returns its number and whether it is new.
pub fn consumer_of(stream: &mut Stream, group: &[u8], name: &[u8], now: u64) -> Option<(usize, bool)> {
    stream.with_group(group, |group, _| match group.find(name) {
        Some(number) => {
            group.see(number, now);
            Some((number, false))
        }
        None => group.add_consumer(name, now).map(|number| (number, true)),
    })?
}

/// Reports a new consumer of a group, and records it for the log.
pub fn note_consumer(keys: &mut Keyspace, key: &[u8], group: &[u8], consumer: &[u8]) {
    keys.changes += 1;
    keys.tell(Classes::STREAM, "xgroup-createconsumer", key);
    keys.journal.instead(keys.selected, &[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
}

/// Delivers a consumer's unacknowledged entries once more.
fn reread(keys: &mut Keyspace, key: &[u8], reader: Reader, after: Id, count: u64, out: &mut Reply) -> Outcome {
    let now = keys.now;
    let mut stream = keys.write::<Stream>(key)?.ok_or(WRONGTYPE)?;
    let Some((number, is_new)) = consumer_of(&mut stream, reader.group, reader.consumer, now) else {
        out.array(0);
        return Ok(());
    };
    stream.with_group(reader.group, |group, entries| {
        let (mark, mut replied) = (out.buf.len(), 0);
        let limit = if count == 0 { usize::MAX } else { count as usize };
        let ids: Vec<Id> = match (group.consumer(number), after.next()) {
            (Some(consumer), Some(from)) => consumer.pending.range(from..).take(limit).copied().collect(),
            _ => Vec::new(),
        };
        for id in ids {
            replied += 1;
            match (entries.get(id), group.pending().get(&id)) {
                (Some(entry), Some(pending)) => {
                    let again = Pending { delivered: now, count: pending.count.saturating_add(1), ..*pending };
                    reply_entry(entry, out);
                    group.give(id, again);
                }
                _ => {
                    out.array(2);
                    reply_id(id, out);
                    out.null_array();
                }
            }
        }
        out.array_from(mark, replied);
    });
    drop(stream);
    if is_new {
        note_consumer(keys, key, reader.group, reader.consumer);
    }
    Ok(())
}

/// Delivers to a consumer the entries that are new to its group.
fn deliver(keys: &mut Keyspace, key: &[u8], reader: Reader, request: &Request, out: &mut Reply) -> Outcome {
    let (now, noting) = (keys.now, keys.journal.enabled && !request.no_ack);
    let mut stream = keys.write::<Stream>(key)?.ok_or(WRONGTYPE)?;
    let consumer = consumer_of(&mut stream, reader.group, reader.consumer, now);
    let (number, is_new) = consumer.ok_or(WRONGTYPE)?;
    let mut given = Vec::new();
    let end = stream.with_group(reader.group, |group, entries| {
        let (mark, mut replied) = (out.buf.len(), 0);
        let from = group.last.next().unwrap_or(Id::MAX);
        for entry in entries.range(from, Id::MAX) {
            group.advance(entries, entry.id);
            reply_entry(entry, out);
            if !request.no_ack {
                group.give(entry.id, Pending { consumer: number, delivered: now, count: 1 });
                given.extend(noting.then_some(entry.id));
            }
            replied += 1;
            if replied as u64 == request.count || out.is_too_large() {
                break;
            }
        }
        out.array_from(mark, replied);
        (group.last, group.read_text())
    });
    drop(stream);
    let Some((last, read)) = end else { return Ok(()) };
    if is_new {
        note_consumer(keys, key, reader.group, reader.consumer);
    }
    for ids in given.chunks(BATCH) {
        note_given(keys, key, reader.group, reader.consumer, ids, now, 1);
    }
    keys.changes += 1;
    let last = last.to_string();
    let noted: [&[u8]; 7] = [b"XGROUP", b"SETID", key, reader.group, last.as_bytes(), b"ENTRIESREAD", read.as_bytes()];
    keys.journal.instead(keys.selected, &noted);
    Ok(())
}

/// Records for the log that entries are pending for a consumer.
pub fn note_given(
    keys: &mut Keyspace,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    ids: &[Id],
    delivered: u64,
    count: u64,
) {
    if !keys.journal.enabled {
        return;
    }
    let ids: Vec<String> = ids.iter().map(Id::to_string).collect();
    let (delivered, count) = (delivered.to_string(), count.to_string());
    let mut noted: ArgList = [&b"XCLAIM"[..], key, group, consumer, b"0"].into_iter().collect();
    noted.extend(ids.iter().map(|id| id.as_bytes()));
    let tail: [&[u8]; 6] = [b"TIME", delivered.as_bytes(), b"RETRYCOUNT", count.as_bytes(), b"FORCE", b"JUSTID"];
    noted.extend(tail);
    keys.journal.instead(keys.selected, &noted);
}
