//! Streams: claiming entries that another consumer has not acknowledged.

use crate::store::args::{at_least, is};
use crate::store::error::{CommandError, Outcome, SYNTAX};
use crate::store::keyspace::Keyspace;
use crate::store::number::parse_int;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::stream::{Entries, Group, Id, Pending, Stream};

use super::stream_groups::no_group;
use super::stream_reads::{note_consumer, note_given};
use super::streams::{reply_entry, reply_id};

/// How many entries are examined for each one requested.
const LOOKS: u64 = 10;

/// The options of a claim.
#[derive(Default)]
struct Claim {
    min_idle: u64,
    /// The delivery time to set.
    delivered: u64,
    /// The delivery count to set. By default the count is incremented, or kept if only ids are requested.
    count: Option<u64>,
    /// Whether to claim entries that are not pending.
    force: bool,
    /// Whether to reply with ids only.
    only_ids: bool,
    /// The id to which the group's last delivered id is raised.
    last: Option<Id>,
}

/// The outcome of claiming an entry.
enum Taken {
    /// The consumer now has it, with this delivery count.
    Claimed(u64),
    /// It was deleted from the stream and is no longer pending.
    Gone,
    /// It is unchanged.
    Left,
}

fn min_idle(arg: &[u8], command: &str) -> Result<u64, CommandError> {
    let error = || CommandError::new(format!("ERR Invalid min-idle-time argument for {command}"));
    Ok(parse_int(arg).ok_or_else(error)?.max(0) as u64)
}

impl Claim {
    /// Parses the ids and the options.
    fn parse(args: &Args, now: u64) -> Result<(Vec<Id>, Self), CommandError> {
        let mut claim = Self { min_idle: min_idle(args[4], "XCLAIM")?, delivered: now, ..Self::default() };
        let ids: Vec<Id> = args[5..].iter().map_while(|arg| Id::parse_strict(arg, 0).ok()).collect();
        let mut rest = &args[5 + ids.len()..];
        while let [word, tail @ ..] = rest {
            rest = tail;
            if is(word, "FORCE") {
                claim.force = true;
            } else if is(word, "JUSTID") {
                claim.only_ids = true;
            } else if let [value, tail @ ..] = tail {
                claim.option(word, value, now)?;
                rest = tail;
            } else {
                return Err(unrecognized(word));
            }
        }
        if ids.is_empty() {
            Id::parse_strict(args[5], 0)?;
        }
        Ok((ids, claim))
    }

    fn option(&mut self, word: &[u8], value: &[u8], now: u64) -> Result<(), CommandError> {
        let number = |name: &str| {
            parse_int(value).ok_or_else(|| CommandError::new(format!("ERR Invalid {name} option argument for XCLAIM")))
        };
        // Nothing can have been delivered in the future, so a future time becomes the current time.
        let past = |time: i64| u64::try_from(time).ok().filter(|time| *time <= now || now == 0).unwrap_or(now);
        match () {
            () if is(word, "IDLE") => self.delivered = past((now as i64).saturating_sub(number("IDLE")?)),
            () if is(word, "TIME") => self.delivered = past(number("TIME")?),
            () if is(word, "RETRYCOUNT") => self.count = u64::try_from(number("RETRYCOUNT")?).ok(),
            () if is(word, "LASTID") => self.last = Some(Id::parse_strict(value, 0)?),
            () => return Err(unrecognized(word)),
        }
        Ok(())
    }

    /// Claims an entry for a consumer. A new consumer is added once it gets an entry.
    fn take(&self, group: &mut Group, entries: &Entries, id: Id, consumer: &mut Claimer, now: u64) -> Taken {
        let old = group.pending().get(&id).copied();
        if entries.get(id).is_none() {
            return if group.forget(id) { Taken::Gone } else { Taken::Left };
        }
        let count = match old {
            Some(old) if now.saturating_sub(old.delivered) < self.min_idle => return Taken::Left,
            Some(old) => old.count,
            None if self.force => 0,
            None => return Taken::Left,
        };
        let again = if self.only_ids { count } else { count.saturating_add(1) };
        let count = self.count.unwrap_or(again);
        let Some(consumer) = consumer.number(group, now) else { return Taken::Left };
        group.give(id, Pending { consumer, delivered: self.delivered, count });
        Taken::Claimed(count)
    }
}

/// The consumer that claims entries.
struct Claimer<'a> {
    name: &'a [u8],
    number: Option<usize>,
    is_new: bool,
}

impl<'a> Claimer<'a> {
    /// Looks up the consumer with this name, and marks it as seen if it exists.
    fn find(group: &mut Group, name: &'a [u8], now: u64) -> Self {
        let number = group.find(name);
        number.into_iter().for_each(|number| group.see(number, now));
        Self { name, number, is_new: false }
    }

    fn number(&mut self, group: &mut Group, now: u64) -> Option<usize> {
        if self.number.is_none() {
            self.number = group.add_consumer(self.name, now);
            self.is_new = true;
        }
        self.number
    }
}

fn unrecognized(word: &[u8]) -> CommandError {
    CommandError::new(format!("ERR Unrecognized XCLAIM option '{}'", String::from_utf8_lossy(word)))
}

/// Replies with an entry that was claimed.
fn reply_claimed(entries: &Entries, id: Id, only_ids: bool, out: &mut Reply) {
    match entries.get(id) {
        Some(entry) if !only_ids => reply_entry(entry, out),
        _ => reply_id(id, out),
    }
}

/// The entries that were claimed or found deleted, for the log.
#[derive(Default)]
struct Done {
    new_consumer: bool,
    claimed: Vec<(Id, u64)>,
    gone: Vec<Id>,
}

impl Done {
    /// Records these entries for the log; returns whether there are any.
    fn note(&self, keys: &mut Keyspace, names: [&[u8]; 3], delivered: u64) -> bool {
        let [key, group, consumer] = names;
        if self.new_consumer {
            note_consumer(keys, key, group, consumer);
        }
        for (id, count) in &self.claimed {
            note_given(keys, key, group, consumer, &[*id], delivered, *count);
        }
        if !self.gone.is_empty() {
            let ids: Vec<String> = self.gone.iter().map(Id::to_string).collect();
            let mut noted: ArgList = [&b"XACK"[..], key, group].into_iter().collect();
            noted.extend(ids.iter().map(|id| id.as_bytes()));
            keys.journal.instead(keys.selected, &noted);
        }
        !self.claimed.is_empty() || !self.gone.is_empty()
    }
}

/// Fails if the group does not exist.
fn check_group(keys: &mut Keyspace, key: &[u8], group: &[u8]) -> Outcome {
    match keys.read::<Stream>(key)?.and_then(|stream| stream.group(group)) {
        Some(_) => Ok(()),
        None => Err(no_group(key, group)),
    }
}

pub fn xclaim(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (key, group, consumer, now) = (args[1], args[2], args[3], keys.now);
    check_group(keys, key, group)?;
    let (ids, claim) = Claim::parse(args, now)?;
    let Some(mut stream) = keys.write::<Stream>(key)? else { return Ok(()) };
    let mut done = Done::default();
    let moved = stream.with_group(group, |group, entries| {
        let mut claimer = Claimer::find(group, consumer, now);
        let moved = claim.last.filter(|last| *last > group.last);
        group.last = moved.unwrap_or(group.last);
        let (mark, mut replied) = (out.buf.len(), 0);
        for id in ids {
            match claim.take(group, entries, id, &mut claimer, now) {
                Taken::Claimed(count) => {
                    reply_claimed(entries, id, claim.only_ids, out);
                    replied += 1;
                    done.claimed.push((id, count));
                }
                Taken::Gone => done.gone.push(id),
                Taken::Left => {}
            }
        }
        out.array_from(mark, replied);
        done.new_consumer = claimer.is_new;
        moved
    });
    drop(stream);
    let mut changed = done.note(keys, [key, group, consumer], claim.delivered);
    if let Some(last) = moved.flatten() {
        changed = true;
        let last = last.to_string();
        let tail: [&[u8]; 8] = [b"XCLAIM", key, group, consumer, b"0", b"0-0", b"LASTID", last.as_bytes()];
        keys.journal.instead(keys.selected, &tail);
    }
    keys.changes += u64::from(changed);
    Ok(())
}

pub fn xautoclaim(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (key, group, consumer, now) = (args[1], args[2], args[3], keys.now);
    let mut claim = Claim { min_idle: min_idle(args[4], "XAUTOCLAIM")?, delivered: now, ..Claim::default() };
    let start = Id::parse_end(args[5], true)?;
    let (mut count, mut rest) = (100, &args[6..]);
    while let [word, tail @ ..] = rest {
        rest = tail;
        if is(word, "JUSTID") {
            claim.only_ids = true;
        } else if let [number, tail @ ..] = tail
            && is(word, "COUNT")
        {
            let most = i64::MAX / size_of::<Id>() as i64;
            let error = CommandError::new("ERR COUNT must be > 0");
            count = at_least(1, number, error.clone())? as u64;
            if count > most as u64 {
                return Err(error);
            }
            rest = tail;
        } else {
            return Err(SYNTAX);
        }
    }
    check_group(keys, key, group)?;
    let Some(mut stream) = keys.write::<Stream>(key)? else { return Ok(()) };
    let mut done = Done::default();
    stream.with_group(group, |group, entries| {
        let mut claimer = Claimer::find(group, consumer, now);
        let looks = usize::try_from(count.saturating_mul(LOOKS)).unwrap_or(usize::MAX);
        let mut ids: Vec<Id> =
            group.pending().range(start..).take(looks.saturating_add(1)).map(|(id, _)| *id).collect();
        let mut next = if ids.len() > looks { ids.pop() } else { None };
        let found = find(&claim, group, entries, (&ids, &mut claimer, now), count, &mut done);
        done.new_consumer = claimer.is_new;
        next = ids.get(found).copied().or(next);
        out.array(3);
        reply_id(next.unwrap_or(Id::MIN), out);
        out.array(done.claimed.len());
        for (id, _) in &done.claimed {
            reply_claimed(entries, *id, claim.only_ids, out);
        }
        out.array(done.gone.len());
        done.gone.iter().for_each(|id| reply_id(*id, out));
    });
    drop(stream);
    let changed = done.note(keys, [key, group, consumer], now);
    keys.changes += u64::from(changed);
    Ok(())
}

/// Claims or drops up to `count` of these entries; returns how many were examined.
fn find(
    claim: &Claim,
    group: &mut Group,
    entries: &Entries,
    (ids, claimer, now): (&[Id], &mut Claimer, u64),
    count: u64,
    done: &mut Done,
) -> usize {
    let mut left = count;
    for (at, id) in ids.iter().enumerate() {
        if left == 0 {
            return at;
        }
        match claim.take(group, entries, *id, claimer, now) {
            Taken::Claimed(count) => done.claimed.push((*id, count)),
            Taken::Gone => done.gone.push(*id),
            Taken::Left => continue,
        }
        left -= 1;
    }
    ids.len()
}
