//! Sets.

use super::draw::{draw, draw_count};
use crate::store::args::{Scan, at_least, count as parse_count, is};
use crate::store::error::{CommandError, NUMKEYS_NOT_POSITIVE, Outcome, SYNTAX};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::value::{Collection, Set};

pub fn sadd(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let mut set = keys.write_or_create::<Set>(args[1])?;
    let new = args[2..].iter().filter(|member| set.insert(member)).count();
    drop(set);
    if new > 0 {
        keys.changed_by(Classes::SET, "sadd", args[1]);
    }
    out.len(new);
    Ok(())
}

pub fn srem(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let Some(mut set) = keys.write::<Set>(args[1])? else {
        out.int(0);
        return Ok(());
    };
    let removed = args[2..].iter().filter(|member| set.remove(member)).count();
    drop(set);
    if removed > 0 {
        keys.shrunk_by(Classes::SET, "srem", args[1]);
    }
    out.len(removed);
    Ok(())
}

pub fn scard(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.len(keys.read::<Set>(args[1])?.map_or(0, Set::len));
    Ok(())
}

pub fn sismember(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.flag(keys.read::<Set>(args[1])?.is_some_and(|set| set.contains(args[2])));
    Ok(())
}

pub fn smismember(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let set = keys.read::<Set>(args[1])?;
    out.array(args.len() - 2);
    for member in &args[2..] {
        out.flag(set.is_some_and(|set| set.contains(member)));
    }
    Ok(())
}

pub fn smembers(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let Some(set) = keys.read::<Set>(args[1])? else {
        out.set(0);
        return Ok(());
    };
    out.set(set.len());
    set.iter().for_each(|member| out.bulk(member));
    Ok(())
}

pub fn smove(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (from, to, member) = (args[1], args[2], args[3]);
    let found = match keys.read::<Set>(from)? {
        None => {
            out.int(0);
            return Ok(());
        }
        Some(set) => set.contains(member),
    };
    keys.read::<Set>(to)?;
    if found && from != to {
        if let Some(mut set) = keys.write::<Set>(from)? {
            set.remove(member);
        }
        keys.shrunk_by(Classes::SET, "srem", from);
        // A destination that already has the member does not change, so its watchers are not notified.
        if keys.write_or_create::<Set>(to)?.insert(member) {
            keys.changed_by(Classes::SET, "sadd", to);
        }
    }
    out.flag(found);
    Ok(())
}

pub fn spop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let count = match args {
        [_, _] => None,
        [_, _, count] => Some(parse_count(count)?),
        _ => return Err(SYNTAX),
    };
    let Some(mut set) = keys.write::<Set>(args[1])? else {
        match count {
            None => out.null(),
            Some(_) => out.set(0),
        }
        return Ok(());
    };
    let wanted = count.unwrap_or(1).min(set.len());
    let popped: Vec<_> = (0..wanted)
        .filter_map(|_| {
            let len = set.len();
            set.remove_at(fastrand::usize(0..len))
        })
        .collect();
    drop(set);
    if !popped.is_empty() {
        keys.shrunk_by(Classes::SET, "spop", args[1]);
        let mut effect: Vec<&[u8]> = vec![b"SREM", args[1]];
        effect.extend(popped.iter().map(|member| &**member));
        keys.journal.instead(keys.selected, &effect);
    }
    if count.is_some() {
        out.set(popped.len());
    }
    popped.iter().for_each(|member| out.bulk(member));
    Ok(())
}

pub fn srandmember(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let count = match args {
        [_, _] => None,
        [_, _, count] => Some(draw_count(count)?),
        _ => return Err(SYNTAX),
    };
    let set = keys.read::<Set>(args[1])?;
    match (count, set) {
        (None, None) => out.null(),
        (None, Some(set)) => {
            out.bulk_or_null(set.at(fastrand::usize(0..set.len())));
        }
        (Some(_), None) => out.array(0),
        (Some(count), Some(set)) => {
            out.bulks(draw(count, set.len())?.map(|position| set.at(position).unwrap_or_default()));
        }
    }
    Ok(())
}

pub fn sscan(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let scan = Scan::at(args[2])?;
    let Some(set) = keys.read::<Set>(args[1])? else {
        out.array(2);
        out.bulk(b"0");
        out.array(0);
        return Ok(());
    };
    let scan = scan.options(args, 3, false)?;
    out.array(2);
    let (window, next) = if set.is_compact() { (0..set.len(), 0) } else { scan.window(set.len()) };
    let found: Vec<_> = window.filter_map(|position| set.at(position)).filter(|member| scan.matches(member)).collect();
    out.bulk(next.to_string().as_bytes());
    out.bulks(found.into_iter());
    Ok(())
}

/// How sets are combined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    Union,
    Intersection,
    Difference,
}

fn join(keys: &mut Keyspace, names: &Args, how: Join) -> Result<Set, CommandError> {
    for name in names {
        keys.read::<Set>(name)?;
    }
    let Some((first, others)) = names.split_first() else {
        return Ok(Set::default());
    };
    let mut result = keys.read::<Set>(first)?.cloned().unwrap_or_default();
    for name in others {
        let other = keys.read::<Set>(name)?;
        match (how, other) {
            (Join::Union, Some(other)) => other.iter().for_each(|member| {
                result.insert(member);
            }),
            (Join::Difference, Some(other)) => other.iter().for_each(|member| {
                result.remove(member);
            }),
            (Join::Intersection, Some(other)) => {
                let mut both = Set::default();
                result.iter().filter(|member| other.contains(member)).for_each(|member| {
                    both.insert(member);
                });
                result = both;
            }
            (Join::Intersection, None) => result = Set::default(),
            (Join::Union | Join::Difference, None) => {}
        }
    }
    Ok(result)
}

fn reply_join(keys: &mut Keyspace, names: &Args, out: &mut Reply, how: Join) -> Outcome {
    let result = join(keys, names, how)?;
    out.set(result.len());
    result.iter().for_each(|member| out.bulk(member));
    Ok(())
}

fn store_join(keys: &mut Keyspace, args: &Args, out: &mut Reply, how: Join, event: &'static str) -> Outcome {
    let result = join(keys, &args[2..], how)?;
    out.len(result.len());
    store(keys, (Classes::SET, event), args[1], result.len(), result);
    Ok(())
}

/// Puts a result under a key, or removes the key if the result is empty.
pub fn store<T: Collection>(keys: &mut Keyspace, event: (Classes, &'static str), key: &[u8], len: usize, result: T) {
    if len == 0 {
        keys.delete(key);
    } else {
        keys.insert(key, result.into_value());
        keys.changed_by(event.0, event.1, key);
    }
}

pub fn sunion(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_join(keys, &args[1..], out, Join::Union)
}

pub fn sinter(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_join(keys, &args[1..], out, Join::Intersection)
}

pub fn sdiff(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    reply_join(keys, &args[1..], out, Join::Difference)
}

pub fn sunionstore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    store_join(keys, args, out, Join::Union, "sunionstore")
}

pub fn sinterstore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    store_join(keys, args, out, Join::Intersection, "sinterstore")
}

pub fn sdiffstore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    store_join(keys, args, out, Join::Difference, "sdiffstore")
}

pub fn sintercard(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let number = at_least(1, args[1], NUMKEYS_NOT_POSITIVE)?;
    if number > args.len() - 2 {
        return Err(CommandError::new("ERR Number of keys can't be greater than number of args"));
    }
    let (names, options) = args[2..].split_at(number);
    let limit = match options {
        [] => 0,
        [word, limit] if is(word, "LIMIT") => at_least(0, limit, crate::store::error::LIMIT_NEGATIVE)?,
        _ => return Err(SYNTAX),
    };
    let both = join(keys, names, Join::Intersection)?.len();
    out.len(if limit == 0 { both } else { both.min(limit) });
    Ok(())
}
