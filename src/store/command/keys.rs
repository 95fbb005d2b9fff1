//! Commands for keys of any type: existence, names, scanning, databases.

use super::other_subcommand;
use crate::glob;
use crate::store::args::{Cursor, Scan, int, is};
use crate::store::error::{BAD_DB_INDEX, CommandError, NO_SUCH_KEY, Outcome, SAME_OBJECT, SYNTAX};
use crate::store::keyspace::{DATABASES, Keyspace};
use crate::store::keyspace_events::Classes;
use crate::store::number::parse_int;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::small_bytes::SmallBytes;

pub fn del(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let deleted = args[1..].iter().filter(|key| keys.delete(key)).count();
    out.len(deleted);
    Ok(())
}

pub fn exists(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let found = args[1..].iter().filter(|key| keys.get(key).is_some()).count();
    out.len(found);
    Ok(())
}

pub fn type_of(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let type_name = keys.peek(args[1]).map(|(value, _)| value.type_name());
    match type_name {
        Some(_) => keys.hits += 1,
        None => keys.missed(args[1]),
    }
    out.simple(type_name.unwrap_or("none"));
    Ok(())
}

pub fn keys(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let found: Vec<&[u8]> = (0..keys.len())
        .filter_map(|position| keys.key_at(position))
        .filter(|(key, _, expired)| !expired && glob::matches(args[1], key))
        .map(|(key, ..)| key)
        .collect();
    out.bulks(found.into_iter());
    Ok(())
}

pub fn scan(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let scan = Scan::at(args[1])?.options(args, 2, true)?;
    let (window, next) = scan.window(keys.len());
    let found: Vec<&[u8]> = window
        .filter_map(|position| keys.key_at(position))
        .filter(|(key, value, expired)| {
            !expired && scan.matches(key) && scan.kind.is_none_or(|kind| is(kind, value.type_name()))
        })
        .map(|(key, ..)| key)
        .collect();
    out.array(2);
    out.bulk(next.to_string().as_bytes());
    out.bulks(found.into_iter());
    Ok(())
}

pub fn randomkey(keys: &mut Keyspace, _: &Args, out: &mut Reply) -> Outcome {
    // If nearly all keys have expired, every draw may fail; then the first live key is used.
    let len = keys.len();
    let drawn = (0..100.min(len)).map(|_| fastrand::usize(0..len)).chain(0..len);
    let live = drawn.filter_map(|position| keys.key_at(position)).find(|(.., expired)| !expired);
    out.bulk_or_null(live.map(|(key, ..)| key));
    Ok(())
}

pub fn rename(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    if !keys.contains(args[1]) {
        return Err(NO_SUCH_KEY);
    }
    move_key(keys, args[1], args[2]);
    out.ok();
    Ok(())
}

pub fn renamenx(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    if !keys.contains(args[1]) {
        return Err(NO_SUCH_KEY);
    }
    let free = !keys.contains(args[2]);
    if free {
        move_key(keys, args[1], args[2]);
    }
    out.flag(free);
    Ok(())
}

fn move_key(keys: &mut Keyspace, from: &[u8], to: &[u8]) {
    if from == to {
        return;
    }
    let expiry = keys.expiry(from).unwrap_or(0);
    if let Some(value) = keys.remove(from) {
        keys.insert(to, value);
        if expiry != 0 {
            keys.set_expiry(to, expiry);
        }
        keys.changed_by(Classes::GENERIC, "rename_from", from);
        keys.changed_by(Classes::GENERIC, "rename_to", to);
    }
}

fn db_index(arg: &[u8]) -> Result<usize, CommandError> {
    let index = i32::try_from(int(arg)?)
        .map_err(|_| CommandError::new("ERR value is out of range, value must between -2147483648 and 2147483647"))?;
    known_db(index)
}

fn known_db(index: i32) -> Result<usize, CommandError> {
    usize::try_from(index).ok().filter(|index| *index < DATABASES).ok_or(BAD_DB_INDEX)
}

pub fn copy(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (mut db, mut replace) = (keys.selected, false);
    let mut cursor = Cursor::new(args, 3);
    while let Some(word) = cursor.next() {
        match () {
            () if is(word, "REPLACE") => replace = true,
            () if is(word, "DB") => db = db_index(cursor.value()?)?,
            () => return Err(SYNTAX),
        }
    }
    let (from, to, home) = (args[1], args[2], keys.selected);
    if db == home && from == to {
        return Err(SAME_OBJECT);
    }
    let expiry = keys.expiry(from).unwrap_or(0);
    let Some(value) = keys.get(from).cloned() else {
        out.int(0);
        return Ok(());
    };
    keys.selected = db;
    let free = replace || !keys.contains(to);
    if free {
        keys.insert(to, value);
        if expiry != 0 {
            keys.set_expiry(to, expiry);
        }
        keys.changed_by(Classes::GENERIC, "copy_to", to);
    }
    keys.selected = home;
    out.flag(free);
    Ok(())
}

pub fn move_to(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (key, home) = (args[1], keys.selected);
    let db = db_index(args[2])?;
    if db == home {
        return Err(SAME_OBJECT);
    }
    let expiry = keys.expiry(key).unwrap_or(0);
    keys.selected = db;
    let taken = keys.contains(key);
    keys.selected = home;
    let moved = if taken { None } else { keys.remove(key) };
    out.flag(moved.is_some());
    if let Some(value) = moved {
        keys.changed_by(Classes::GENERIC, "move_from", key);
        keys.selected = db;
        keys.insert(key, value);
        if expiry != 0 {
            keys.set_expiry(key, expiry);
        }
        keys.changed_by(Classes::GENERIC, "move_to", key);
        keys.selected = home;
    }
    Ok(())
}

pub fn swapdb(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let index = |arg, error| {
        let index = parse_int(arg).and_then(|index| i32::try_from(index).ok());
        index.ok_or(CommandError::new(error))
    };
    let one = index(args[1], "ERR invalid first DB index")?;
    let other = index(args[2], "ERR invalid second DB index")?;
    keys.swap(known_db(one)?, known_db(other)?);
    out.ok();
    Ok(())
}

pub fn select(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    keys.selected = db_index(args[1])?;
    out.ok();
    Ok(())
}

pub fn dbsize(keys: &mut Keyspace, _: &Args, out: &mut Reply) -> Outcome {
    out.len(keys.len());
    Ok(())
}

fn flush(keys: &mut Keyspace, args: &Args, out: &mut Reply, all: bool) -> Outcome {
    // `ASYNC` and `SYNC` do the same here: large values are always freed off the event loop.
    match args {
        [_] => {}
        [_, how] if is(how, "ASYNC") || is(how, "SYNC") => {}
        _ => return Err(SYNTAX),
    }
    keys.flush(all);
    out.ok();
    Ok(())
}

pub fn flushdb(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    flush(keys, args, out, false)
}

pub fn flushall(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    flush(keys, args, out, true)
}

pub fn object(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let [_, what, key] = args else {
        return other_subcommand("OBJECT", args, out);
    };
    if !["ENCODING", "REFCOUNT", "IDLETIME", "FREQ"].iter().any(|known| is(what, known)) {
        return other_subcommand("OBJECT", args, out);
    }
    // `OBJECT` counts neither as a use of the key nor as a miss.
    let (policy, now) = (keys.policy, keys.now);
    let Some((value, usage)) = keys.peek(key) else {
        out.null();
        return Ok(());
    };
    let later = "Please note that when switching between policies at runtime LRU and LFU data will take some time to \
        adjust.";
    match () {
        () if is(what, "ENCODING") => out.bulk(value.encoding().as_bytes()),
        () if is(what, "REFCOUNT") => out.int(1),
        () if is(what, "IDLETIME") && policy.counts_uses() => {
            let error = "ERR An LFU maxmemory policy is selected, idle time not tracked.";
            return Err(CommandError::new(format!("{error} {later}")));
        }
        () if is(what, "IDLETIME") => out.int(i64::from(usage.idle(now))),
        () if is(what, "FREQ") && policy.counts_uses() => out.int(i64::from(usage.count(now))),
        () if is(what, "FREQ") => {
            let error = "ERR An LFU maxmemory policy is not selected, access frequency not tracked.";
            return Err(CommandError::new(format!("{error} {later}")));
        }
        () => return other_subcommand("OBJECT", args, out),
    }
    Ok(())
}

pub fn memory(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    match args {
        [_, what, key, options @ ..] if is(what, "USAGE") => {
            match options {
                [] => {}
                [samples, number] if is(samples, "SAMPLES") => {
                    if int(number)? < 0 {
                        return Err(SYNTAX);
                    }
                }
                _ => return Err(SYNTAX),
            }
            let name = SmallBytes::new(key).heap_size();
            match keys.get(key) {
                Some(value) => out.len(value.footprint() + name + 64),
                None => out.null(),
            }
        }
        [_, what] if is(what, "DOCTOR") => {
            out.verbatim("Memory is counted, not sampled; see INFO memory.\n");
        }
        [_, what] if is(what, "PURGE") => out.ok(),
        [_, what] if is(what, "STATS") => {
            out.map(2);
            out.bulk(b"keys.count");
            out.len(keys.sizes().map(|(count, _)| count).sum());
            out.bulk(b"dataset.bytes");
            out.len(keys.used());
        }
        _ => return other_subcommand("MEMORY", args, out),
    }
    Ok(())
}
