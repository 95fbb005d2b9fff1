//! Lists: access at the ends, by position and by value.

use crate::store::args::{at_least, count as parse_count, int, is, positions};
use crate::store::error::wrong_arity;
use crate::store::error::{CommandError, NO_SUCH_KEY, OUT_OF_RANGE, Outcome, SYNTAX};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::small_bytes::SmallBytes;
use crate::store::value::List;

fn push(keys: &mut Keyspace, args: &Args, out: &mut Reply, front: bool) -> Outcome {
    let mut list = keys.write_or_create::<List>(args[1])?;
    for item in &args[2..] {
        list.push(front, SmallBytes::new(item));
    }
    out.len(list.len());
    drop(list);
    keys.changed_by(Classes::LIST, if front { "lpush" } else { "rpush" }, args[1]);
    Ok(())
}

fn push_if_present(keys: &mut Keyspace, args: &Args, out: &mut Reply, front: bool) -> Outcome {
    if keys.read::<List>(args[1])?.is_none() {
        out.int(0);
        return Ok(());
    }
    push(keys, args, out, front)
}

pub fn lpush(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    push(keys, args, out, true)
}

pub fn rpush(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    push(keys, args, out, false)
}

pub fn lpushx(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    push_if_present(keys, args, out, true)
}

pub fn rpushx(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    push_if_present(keys, args, out, false)
}

/// Pops up to `count` elements from one end of a list, if it exists.
pub fn take(
    keys: &mut Keyspace,
    key: &[u8],
    front: bool,
    count: usize,
) -> Result<Option<Vec<SmallBytes>>, CommandError> {
    let Some(mut list) = keys.write::<List>(key)? else {
        return Ok(None);
    };
    let taken: Vec<SmallBytes> = (0..count).map_while(|_| list.pop(front)).collect();
    drop(list);
    if !taken.is_empty() {
        keys.shrunk_by(Classes::LIST, if front { "lpop" } else { "rpop" }, key);
        let name: &[u8] = if front { b"LPOP" } else { b"RPOP" };
        keys.journal.instead(keys.selected, &[name, key, taken.len().to_string().as_bytes()]);
    }
    Ok(Some(taken))
}

fn pop(keys: &mut Keyspace, args: &Args, out: &mut Reply, front: bool) -> Outcome {
    let (key, count) = match args {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(parse_count(count)?)),
        _ => {
            let name = if front { "lpop" } else { "rpop" };
            return Err(wrong_arity(name));
        }
    };
    let Some(taken) = take(keys, key, front, count.unwrap_or(1))? else {
        match count {
            Some(_) => out.null_array(),
            None => out.null(),
        }
        return Ok(());
    };
    match count {
        Some(_) => out.bulks(taken.iter().map(|item| &**item)),
        None => out.bulk_or_null(taken.first().map(|item| &**item)),
    }
    Ok(())
}

pub fn lpop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    pop(keys, args, out, true)
}

pub fn rpop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    pop(keys, args, out, false)
}

pub fn llen(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.len(keys.read::<List>(args[1])?.map_or(0, List::len));
    Ok(())
}

pub fn lrange(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (start, stop) = (int(args[2])?, int(args[3])?);
    match keys.read::<List>(args[1])? {
        Some(list) => {
            let range = positions(start, stop, list.len());
            out.bulks(list.items.range(range).map(|item| &**item));
        }
        None => out.array(0),
    }
    Ok(())
}

/// Converts an index, which counts from the end if negative, to a position.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

pub fn lindex(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let list = keys.read::<List>(args[1])?;
    let Some(list) = list else {
        out.null();
        return Ok(());
    };
    let item = place(int(args[2])?, list.len()).and_then(|index| list.items.get(index));
    out.bulk_or_null(item.map(|item| &**item));
    Ok(())
}

pub fn lset(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let mut list = keys.write::<List>(args[1])?.ok_or(NO_SUCH_KEY)?;
    let index = place(int(args[2])?, list.len()).ok_or(OUT_OF_RANGE)?;
    list.set(index, SmallBytes::new(args[3]));
    drop(list);
    keys.changed_by(Classes::LIST, "lset", args[1]);
    out.ok();
    Ok(())
}

pub fn linsert(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let after = match () {
        () if is(args[2], "AFTER") => 1,
        () if is(args[2], "BEFORE") => 0,
        () => return Err(SYNTAX),
    };
    let Some(mut list) = keys.write::<List>(args[1])? else {
        out.int(0);
        return Ok(());
    };
    let Some(pivot) = list.items.iter().position(|item| **item == *args[3]) else {
        out.int(-1);
        return Ok(());
    };
    list.insert(pivot + after, SmallBytes::new(args[4]));
    out.len(list.len());
    drop(list);
    keys.changed_by(Classes::LIST, "linsert", args[1]);
    Ok(())
}

pub fn lrem(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (key, wanted) = (args[1], args[3]);
    let count = int(args[2])?;
    let Some(mut list) = keys.write::<List>(key)? else {
        out.int(0);
        return Ok(());
    };
    let most = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let removed = list.remove_equal(wanted, most, count >= 0);
    drop(list);
    if removed > 0 {
        keys.shrunk_by(Classes::LIST, "lrem", key);
    }
    out.len(removed);
    Ok(())
}

pub fn ltrim(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (start, stop) = (int(args[2])?, int(args[3])?);
    out.ok();
    let Some(mut list) = keys.write::<List>(args[1])? else {
        return Ok(());
    };
    let range = positions(start, stop, list.len());
    list.trim(range);
    drop(list);
    keys.shrunk_by(Classes::LIST, "ltrim", args[1]);
    Ok(())
}

pub fn lpos(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (mut rank, mut count, mut limit) = (1, None, 0);
    for pair in args[3..].chunks(2) {
        let [word, value] = pair else {
            return Err(SYNTAX);
        };
        match () {
            () if is(word, "RANK") => {
                rank = int(value)?;
                if rank == 0 {
                    return Err(CommandError::new(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
            }
            () if is(word, "COUNT") => {
                count = Some(at_least(0, value, CommandError::new("ERR COUNT can't be negative"))?);
            }
            () if is(word, "MAXLEN") => {
                limit = at_least(0, value, CommandError::new("ERR MAXLEN can't be negative"))?;
            }
            () => return Err(SYNTAX),
        }
    }
    let Some(list) = keys.read::<List>(args[1])? else {
        match count {
            Some(_) => out.array(0),
            None => out.null(),
        }
        return Ok(());
    };
    let len = list.len();
    let limit = if limit == 0 { len } else { limit };
    let all: Box<dyn Iterator<Item = usize>> = if rank > 0 { Box::new(0..len) } else { Box::new((0..len).rev()) };
    let wanted = match count {
        None => 1,
        Some(0) => len,
        Some(count) => count,
    };
    let found: Vec<usize> = all
        .take(limit)
        .filter(|&index| *list.items[index] == *args[2])
        .skip(rank.unsigned_abs() as usize - 1)
        .take(wanted)
        .collect();
    match (count, found.first()) {
        (None, None) => out.null(),
        (None, Some(&index)) => out.len(index),
        (Some(_), _) => {
            out.array(found.len());
            found.iter().for_each(|&index| out.len(index));
        }
    }
    Ok(())
}
