//! Streams: adding, trimming, deleting and reading entries.

use crate::store::args::{Cursor, int, is};
use crate::store::error::{CommandError, NO_SUCH_KEY, Outcome, SYNTAX, wrong_arity};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::listpack::Element;
use crate::store::reply::Reply;
use crate::store::resp::{ArgList, Args};
use crate::store::stream::{Bound, Entries, Entry, Given, Id, Stream, Trim};

/// The most entries that a trim of whole nodes removes if no `LIMIT` is given.
const LIMIT: u64 = 10_000;
/// The maximum size of an entry's fields and values together, in bytes.
const LONGEST_ENTRY: usize = 1 << 30;

/// Replies with an id.
pub fn reply_id(id: Id, out: &mut Reply) {
    out.bulk(id.to_string().as_bytes());
}

/// Replies with an entry: its id, then its fields and values.
pub fn reply_entry(entry: Entry, out: &mut Reply) {
    out.array(2);
    reply_id(entry.id, out);
    out.array(entry.len() * 2);
    for (name, value) in entry.pairs() {
        for element in [name, value] {
            match element {
                Element::Text(bytes) => out.bulk(bytes),
                Element::Int(_) => element.with(|bytes| out.bulk(bytes)),
            }
        }
    }
}

/// Replies with up to `count` entries; 0 means all.
pub fn reply_entries<'a>(entries: impl Iterator<Item = Entry<'a>>, count: u64, out: &mut Reply) {
    let (mark, mut replied) = (out.buf.len(), 0);
    for entry in entries {
        reply_entry(entry, out);
        replied += 1;
        if replied as u64 == count || out.is_too_large() {
            break;
        }
    }
    out.array_from(mark, replied);
}

/// The options of `XADD` and `XTRIM`.
#[derive(Default)]
struct Options {
    trim: Option<Trim>,
    only_if_present: bool,
    /// The id of the new entry; `None` makes the store generate one.
    id: Option<Given>,
    /// The index of the first field.
    fields: usize,
}

/// Parses the bound of a `MAXLEN` or `MINID`, and whether only whole nodes may be removed.
fn parse_bound(cursor: &mut Cursor, by_length: bool) -> Result<(Bound, bool), CommandError> {
    let mut word = cursor.value()?;
    let mut whole_nodes = false;
    if cursor.left() > 0 && (word == b"~" || word == b"=") {
        whole_nodes = word == b"~";
        word = cursor.value()?;
    }
    if !by_length {
        return Ok((Bound::From(Id::parse(word, 0)?), whole_nodes));
    }
    let length = int(word)?;
    let length = u64::try_from(length).map_err(|_| CommandError::new("ERR The MAXLEN argument must be >= 0."))?;
    Ok((Bound::Length(length), whole_nodes))
}

impl Options {
    fn parse(args: &Args, adding: bool) -> Result<Self, CommandError> {
        let (mut options, mut limit) = (Self::default(), None);
        let mut cursor = Cursor::new(args, 2);
        while let Some(word) = cursor.next() {
            let more = cursor.left() > 0;
            let by_length = is(word, "MAXLEN");
            if adding && word == b"*" {
                break;
            } else if more && (by_length || is(word, "MINID")) {
                if options.trim.is_some() {
                    return Err(CommandError::new(
                        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                    ));
                }
                let (bound, whole_nodes) = parse_bound(&mut cursor, by_length)?;
                options.trim = Some(Trim { bound, whole_nodes, limit: 0 });
            } else if more && is(word, "LIMIT") {
                let number = int(cursor.value()?)?;
                let error = || CommandError::new("ERR The LIMIT argument must be >= 0.");
                limit = Some(u64::try_from(number).map_err(|_| error())?);
            } else if adding && is(word, "NOMKSTREAM") {
                options.only_if_present = true;
            } else if adding {
                options.id = Some(Id::parse_new(word)?);
                break;
            } else {
                return Err(SYNTAX);
            }
        }
        options.fields = args.len() - cursor.left();
        options.limit(limit, adding)?;
        Ok(options)
    }

    fn limit(&mut self, limit: Option<u64>, adding: bool) -> Result<(), CommandError> {
        match &mut self.trim {
            None if limit.is_some() => {
                Err(CommandError::new("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"))
            }
            None if !adding => {
                Err(CommandError::new("ERR syntax error, XTRIM must be called with a trimming strategy"))
            }
            None => Ok(()),
            Some(trim) if trim.whole_nodes => {
                trim.limit = limit.unwrap_or(LIMIT);
                Ok(())
            }
            Some(_) if limit.is_some() => {
                Err(CommandError::new("ERR syntax error, LIMIT cannot be used without the special ~ option"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// The id of the next entry.
fn new_id(entries: &Entries, given: Option<Given>, now: u64) -> Result<Id, CommandError> {
    let small =
        || CommandError::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");
    let last = entries.last;
    let id = match given {
        _ if last == Id::MAX => {
            return Err(CommandError::new(
                "ERR The stream has exhausted the last possible ID, unable to add more items",
            ));
        }
        None if now > last.ms => Id { ms: now, seq: 0 },
        None => last.next().ok_or_else(small)?,
        Some(Given::Time(ms)) if ms == last.ms => Id { ms, seq: last.seq.checked_add(1).ok_or_else(small)? },
        Some(Given::Time(ms)) => Id { ms, seq: 0 },
        Some(Given::Whole(id)) => id,
    };
    if id > last { Ok(id) } else { Err(small()) }
}

pub fn xadd(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let options = Options::parse(args, true)?;
    let fields = args.get(options.fields..).unwrap_or_default();
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(wrong_arity("xadd"));
    }
    if options.id == Some(Given::Whole(Id::MIN)) {
        return Err(CommandError::new("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let (key, now) = (args[1], keys.now);
    let id = match keys.read::<Stream>(key)? {
        None if options.only_if_present => {
            out.null();
            return Ok(());
        }
        None => new_id(&Entries::default(), options.id, now)?,
        Some(stream) => new_id(&stream.entries, options.id, now)?,
    };
    if fields.iter().map(|text| text.len()).sum::<usize>() > LONGEST_ENTRY {
        return Err(CommandError::new("ERR Elements are too large to be stored"));
    }
    let mut stream = keys.write_or_create::<Stream>(key)?;
    stream.entries.append(id, fields);
    let trimmed = options.trim.map_or(0, |trim| stream.entries.trim(trim));
    let length = stream.entries.len();
    drop(stream);
    keys.changed_by(Classes::STREAM, "xadd", key);
    if trimmed > 0 {
        keys.tell(Classes::STREAM, "xtrim", key);
    }
    if keys.journal.enabled {
        let (id, length) = (id.to_string(), length.to_string());
        let mut noted: ArgList = [&b"XADD"[..], key].into_iter().collect();
        if trimmed > 0 {
            noted.extend([&b"MAXLEN"[..], b"=", length.as_bytes()]);
        }
        noted.push(id.as_bytes());
        noted.extend(fields.iter().copied());
        keys.journal.instead(keys.selected, &noted);
    }
    reply_id(id, out);
    Ok(())
}

pub fn xtrim(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let options = Options::parse(args, false)?;
    let key = args[1];
    let (Some(mut stream), Some(trim)) = (keys.write::<Stream>(key)?, options.trim) else {
        out.int(0);
        return Ok(());
    };
    let trimmed = stream.entries.trim(trim);
    let length = stream.entries.len().to_string();
    drop(stream);
    if trimmed > 0 {
        keys.changed_by(Classes::STREAM, "xtrim", key);
        keys.journal.instead(keys.selected, &[b"XTRIM", key, b"MAXLEN", b"=", length.as_bytes()]);
    }
    out.int(trimmed as i64);
    Ok(())
}

pub fn xlen(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let length = keys.read::<Stream>(args[1])?.map_or(0, |stream| stream.entries.len());
    out.int(length as i64);
    Ok(())
}

pub fn xdel(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let key = args[1];
    if keys.read::<Stream>(key)?.is_none() {
        out.int(0);
        return Ok(());
    }
    let ids = args[2..].iter().map(|arg| Id::parse_strict(arg, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut deleted = 0;
    if let Some(mut stream) = keys.write::<Stream>(key)? {
        deleted = ids.into_iter().filter(|id| stream.entries.delete(*id)).count();
    }
    if deleted > 0 {
        keys.changed_by(Classes::STREAM, "xdel", key);
    }
    out.len(deleted);
    Ok(())
}

pub fn xsetid(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (mut added, mut max_deleted) = (None, None);
    let id = Id::parse_strict(args[2], 0)?;
    let mut cursor = Cursor::new(args, 3);
    while let Some(word) = cursor.next() {
        match () {
            () if cursor.left() > 0 && is(word, "ENTRIESADDED") => {
                let number = int(cursor.value()?)?;
                let negative = || CommandError::new("ERR entries_added must be positive");
                added = Some(u64::try_from(number).map_err(|_| negative())?);
            }
            () if cursor.left() > 0 && is(word, "MAXDELETEDID") => {
                let deleted = Id::parse_strict(cursor.value()?, 0)?;
                if id < deleted {
                    return Err(CommandError::new(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
                max_deleted = Some(deleted);
            }
            () => return Err(SYNTAX),
        }
    }
    let Some(stream) = keys.read::<Stream>(args[1])? else {
        return Err(NO_SUCH_KEY);
    };
    let entries = &stream.entries;
    let smaller = |than| Err(CommandError::new(format!("ERR The {than}")));
    if entries.newest().is_some_and(|newest| id < newest.id) {
        return smaller("ID specified in XSETID is smaller than the target stream top item");
    }
    if added.is_some_and(|added| added < entries.len()) {
        return smaller("entries_added specified in XSETID is smaller than the target stream length");
    }
    if id < entries.max_deleted {
        return smaller("ID specified in XSETID is smaller than current max_deleted_entry_id");
    }
    if let Some(mut stream) = keys.write::<Stream>(args[1])? {
        stream.entries.last = id;
        stream.entries.added = added.unwrap_or(stream.entries.added);
        stream.entries.max_deleted =
            max_deleted.filter(|deleted| *deleted != Id::MIN).unwrap_or(stream.entries.max_deleted);
    }
    keys.changes += 1;
    keys.tell(Classes::STREAM, "xsetid", args[1]);
    out.ok();
    Ok(())
}

fn range(keys: &mut Keyspace, args: &Args, out: &mut Reply, down: bool) -> Outcome {
    let (start, end) = if down { (args[3], args[2]) } else { (args[2], args[3]) };
    let (from, to) = (Id::parse_end(start, true)?, Id::parse_end(end, false)?);
    let mut count = None;
    let mut cursor = Cursor::new(args, 4);
    while let Some(word) = cursor.next() {
        if !is(word, "COUNT") || cursor.left() == 0 {
            return Err(SYNTAX);
        }
        count = Some(int(cursor.value()?)?.max(0) as u64);
    }
    let Some(stream) = keys.read::<Stream>(args[1])? else {
        out.array(0);
        return Ok(());
    };
    match count {
        Some(0) => out.null_array(),
        _ if from > to => out.array(0),
        _ if down => reply_entries(stream.entries.range_down(from, to), count.unwrap_or(0), out),
        _ => reply_entries(stream.entries.range(from, to), count.unwrap_or(0), out),
    }
    Ok(())
}

pub fn xrange(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    range(keys, args, out, false)
}

pub fn xrevrange(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    range(keys, args, out, true)
}
