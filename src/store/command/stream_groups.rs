//! Streams: consumer groups, acknowledgements and pending entries.

use crate::store::args::{int, is};
use crate::store::error::{CommandError, Outcome, SYNTAX, wrong_arity};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::stream::{Group, Id, Stream};

use super::other_subcommand;
use super::streams::reply_id;

/// The error that most commands return for a missing group.
pub fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::new(format!("NOGROUP No such key '{key}' or consumer group '{group}'"))
}

/// The error that `XGROUP` and `XINFO` return for a missing group.
pub fn no_group_for(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::new(format!("NOGROUP No such consumer group '{group}' for key name '{key}'"))
}

const REQUIRES_KEY: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
     use the MKSTREAM option to create an empty stream automatically.";

/// The subcommands of `XGROUP`: name, arity (negative: a minimum), whether the group must exist.
const SUBCOMMANDS: [(&str, i32, bool); 5] = [
    ("create", -5, false),
    ("setid", -5, true),
    ("destroy", 4, false),
    ("createconsumer", 5, true),
    ("delconsumer", 5, true),
];

/// The options of `XGROUP CREATE` and `SETID`.
#[derive(Default)]
struct Options {
    make_stream: bool,
    read: Option<u64>,
}

impl Options {
    fn parse(name: &str, args: &Args) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let (mut rest, creating) = (args.get(5..).unwrap_or_default(), name == "create");
        while let [word, tail @ ..] = rest {
            rest = tail;
            if creating && is(word, "MKSTREAM") {
                options.make_stream = true;
            } else if let [number, tail @ ..] = tail
                && (creating || name == "setid")
                && is(word, "ENTRIESREAD")
            {
                let number = int(number)?;
                if number < -1 {
                    return Err(CommandError::new("ERR value for ENTRIESREAD must be positive or -1"));
                }
                options.read = u64::try_from(number).ok();
                rest = tail;
            } else {
                let given = String::from_utf8_lossy(args[1]).into_owned();
                return Err(CommandError::new(format!(
                    "ERR unknown subcommand or wrong number of arguments for '{given}'. Try XGROUP HELP."
                )));
            }
        }
        Ok(options)
    }
}

pub fn xgroup(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let Some((name, arity, needs_group)) = SUBCOMMANDS.iter().copied().find(|(name, ..)| is(args[1], name)) else {
        return other_subcommand("XGROUP", args, out);
    };
    let least = arity.unsigned_abs() as usize;
    if args.len() < least || arity > 0 && args.len() > least {
        return Err(wrong_arity(&format!("xgroup|{name}")));
    }
    let options = if arity < 0 { Options::parse(name, args)? } else { Options::default() };
    let (key, group) = (args[2], args[3]);
    let stream = keys.read::<Stream>(key)?;
    match stream {
        None if !options.make_stream => return Err(CommandError::new(REQUIRES_KEY)),
        Some(stream) if needs_group && stream.group(group).is_none() => return Err(no_group_for(key, group)),
        _ => {}
    }
    match name {
        "create" | "setid" => {
            let id = match args[4] {
                b"$" => stream.map_or(Id::MIN, |stream| stream.entries.last),
                // As in Redis, `SETID` accepts `-` and `+`, but `CREATE` does not.
                text if name == "setid" => Id::parse(text, 0)?,
                text => Id::parse_strict(text, 0)?,
            };
            set(keys, args, id, &options, name == "create")?;
            out.ok();
        }
        "destroy" => {
            let destroyed = keys.write::<Stream>(key)?.is_some_and(|mut stream| stream.remove_group(group));
            if destroyed {
                keys.wake(key);
                keys.tell(Classes::STREAM, "xgroup-destroy", key);
            }
            out.flag(destroyed);
        }
        "createconsumer" => {
            let now = keys.now;
            let mut stream = keys.write::<Stream>(key)?;
            let added = stream
                .as_mut()
                .and_then(|stream| stream.with_group(group, |group, _| group.add_consumer(args[4], now)));
            drop(stream);
            let is_new = added.flatten().is_some();
            if is_new {
                keys.changes += 1;
                keys.tell(Classes::STREAM, "xgroup-createconsumer", key);
            }
            out.flag(is_new);
        }
        _ => {
            let mut stream = keys.write::<Stream>(key)?;
            let removed =
                stream.as_mut().and_then(|stream| stream.with_group(group, |group, _| group.remove_consumer(args[4])));
            drop(stream);
            let removed = removed.flatten();
            if removed.is_some() {
                keys.changes += 1;
                keys.tell(Classes::STREAM, "xgroup-delconsumer", key);
            }
            out.len(removed.unwrap_or(0));
        }
    }
    Ok(())
}

/// Creates a group, or changes how far it has read.
fn set(keys: &mut Keyspace, args: &Args, id: Id, options: &Options, creating: bool) -> Outcome {
    let (key, group) = (args[2], args[3]);
    let stream = keys.read::<Stream>(key)?;
    let (is_new, exists) = (stream.is_none(), stream.is_some_and(|stream| stream.group(group).is_some()));
    if creating && exists {
        return Err(CommandError::new("BUSYGROUP Consumer Group name already exists"));
    }
    let mut stream = keys.write_or_create::<Stream>(key)?;
    if creating {
        stream.add_group(group, Group::new(id, options.read));
    } else {
        stream.with_group(group, |group, _| (group.last, group.read) = (id, options.read));
    }
    drop(stream);
    if is_new {
        keys.changed(key);
    } else {
        keys.changes += 1;
    }
    keys.tell(Classes::STREAM, if creating { "xgroup-create" } else { "xgroup-setid" }, key);
    if keys.journal.enabled {
        let id = id.to_string();
        let read = options.read.map_or("-1".to_owned(), |read| read.to_string());
        let head: [&[u8]; 7] = [b"XGROUP", args[1], key, group, id.as_bytes(), b"ENTRIESREAD", read.as_bytes()];
        let with_stream = [&head[..], &[b"MKSTREAM"]].concat();
        keys.journal.instead(keys.selected, if creating { &with_stream } else { &head });
    }
    Ok(())
}

pub fn xack(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (key, group) = (args[1], args[2]);
    if keys.read::<Stream>(key)?.is_none_or(|stream| stream.group(group).is_none()) {
        out.int(0);
        return Ok(());
    }
    let ids = args[3..].iter().map(|arg| Id::parse_strict(arg, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut stream = keys.write::<Stream>(key)?;
    let forget = |group: &mut Group| ids.into_iter().filter(|id| group.forget(*id)).count();
    let acknowledged = stream.as_mut().and_then(|stream| stream.with_group(group, |group, _| forget(group)));
    drop(stream);
    let acknowledged = acknowledged.unwrap_or(0);
    keys.changes += u64::from(acknowledged > 0);
    out.len(acknowledged);
    Ok(())
}

/// The arguments of the extended form of `XPENDING`.
struct Asked<'a> {
    idle: u64,
    from: Id,
    to: Id,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn parse(args: &Args<'a>) -> Result<Option<Self>, CommandError> {
        if args.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&args.len()) {
            return Err(SYNTAX);
        }
        let (mut idle, mut at) = (0, 3);
        if is(args[3], "IDLE") {
            idle = int(args[4])?.max(0) as u64;
            if args.len() < 8 {
                return Err(SYNTAX);
            }
            at = 5;
        }
        let count = int(args[at + 2])?.max(0) as usize;
        let (from, to) = (Id::parse_end(args[at], true)?, Id::parse_end(args[at + 1], false)?);
        Ok(Some(Self { idle, from, to, count, consumer: args.get(at + 3).copied() }))
    }
}

pub fn xpending(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let asked = Asked::parse(args)?;
    let now = keys.now;
    let group = match keys.read::<Stream>(args[1])? {
        Some(stream) => stream.group(args[2]),
        None => None,
    };
    let group = group.ok_or_else(|| no_group(args[1], args[2]))?;
    match asked {
        None => summarize(group, out),
        Some(asked) => list(group, &asked, now, out),
    }
    Ok(())
}

fn summarize(group: &Group, out: &mut Reply) {
    let pending = group.pending();
    out.array(4);
    out.len(pending.len());
    let (Some((first, _)), Some((last, _))) = (pending.first_key_value(), pending.last_key_value()) else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    reply_id(*first, out);
    reply_id(*last, out);
    let (mark, mut busy) = (out.buf.len(), 0);
    for (_, consumer) in group.consumers().filter(|(_, consumer)| !consumer.pending.is_empty()) {
        out.array(2);
        out.bulk(&consumer.name);
        out.bulk(consumer.pending.len().to_string().as_bytes());
        busy += 1;
    }
    out.array_from(mark, busy);
}

fn list(group: &Group, asked: &Asked, now: u64, out: &mut Reply) {
    let number = asked.consumer.map(|name| group.find(name));
    if number == Some(None) || asked.from > asked.to {
        out.array(0);
        return;
    }
    let ids: Box<dyn Iterator<Item = Id>> = match number.flatten().and_then(|number| group.consumer(number)) {
        Some(consumer) => Box::new(consumer.pending.range(asked.from..=asked.to).copied()),
        None => Box::new(group.pending().range(asked.from..=asked.to).map(|(id, _)| *id)),
    };
    let (mark, mut listed) = (out.buf.len(), 0);
    for id in ids {
        if listed == asked.count || out.is_too_large() {
            break;
        }
        let Some(pending) = group.pending().get(&id) else { continue };
        let idle = now.saturating_sub(pending.delivered);
        if idle < asked.idle {
            continue;
        }
        out.array(4);
        reply_id(id, out);
        out.bulk(group.consumer(pending.consumer).map_or(&b""[..], |consumer| &consumer.name));
        out.int(idle as i64);
        out.int(pending.count as i64);
        listed += 1;
    }
    out.array_from(mark, listed);
}
