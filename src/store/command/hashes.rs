//! Hashes.

use super::draw::{draw, draw_count};
use crate::store::args::{Scan, int, is};
use crate::store::decimal;
use crate::store::error::{CommandError, NAN_OR_INFINITY, Outcome, SYNTAX};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::number::parse_int;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::value::Hash;

fn pairs(keys: &mut Keyspace, args: &Args, name: &str) -> Result<usize, CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::new(format!("ERR wrong number of arguments for '{name}' command")));
    }
    let mut hash = keys.write_or_create::<Hash>(args[1])?;
    let new = args[2..].chunks_exact(2).filter(|pair| hash.insert(pair[0], pair[1])).count();
    drop(hash);
    keys.changed_by(Classes::HASH, "hset", args[1]);
    Ok(new)
}

pub fn hset(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let new = pairs(keys, args, "hset")?;
    out.len(new);
    Ok(())
}

pub fn hmset(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    pairs(keys, args, "hmset")?;
    out.ok();
    Ok(())
}

pub fn hsetnx(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let mut hash = keys.write_or_create::<Hash>(args[1])?;
    let new = hash.get(args[2]).is_none() && hash.insert(args[2], args[3]);
    drop(hash);
    if new {
        keys.changed_by(Classes::HASH, "hset", args[1]);
    }
    out.flag(new);
    Ok(())
}

pub fn hget(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.bulk_or_null(keys.read::<Hash>(args[1])?.and_then(|hash| hash.get(args[2])));
    Ok(())
}

pub fn hmget(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let hash = keys.read::<Hash>(args[1])?;
    out.array(args.len() - 2);
    for field in &args[2..] {
        out.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

pub fn hdel(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let Some(mut hash) = keys.write::<Hash>(args[1])? else {
        out.int(0);
        return Ok(());
    };
    let deleted = args[2..].iter().filter(|field| hash.remove(field)).count();
    drop(hash);
    if deleted > 0 {
        keys.shrunk_by(Classes::HASH, "hdel", args[1]);
    }
    out.len(deleted);
    Ok(())
}

pub fn hlen(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.len(keys.read::<Hash>(args[1])?.map_or(0, Hash::len));
    Ok(())
}

pub fn hstrlen(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let value = keys.read::<Hash>(args[1])?.and_then(|hash| hash.get(args[2]));
    out.len(value.map_or(0, <[u8]>::len));
    Ok(())
}

pub fn hexists(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.flag(keys.read::<Hash>(args[1])?.is_some_and(|hash| hash.get(args[2]).is_some()));
    Ok(())
}

pub fn hgetall(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let Some(hash) = keys.read::<Hash>(args[1])? else {
        out.map(0);
        return Ok(());
    };
    out.map(hash.len());
    for (field, value) in hash.iter() {
        out.bulk(field);
        out.bulk(value);
    }
    Ok(())
}

pub fn hkeys(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    match keys.read::<Hash>(args[1])? {
        Some(hash) => out.bulks(hash.iter().map(|(field, _)| field)),
        None => out.array(0),
    }
    Ok(())
}

pub fn hvals(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    match keys.read::<Hash>(args[1])? {
        Some(hash) => out.bulks(hash.iter().map(|(_, value)| value)),
        None => out.array(0),
    }
    Ok(())
}

pub fn hincrby(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let step = int(args[3])?;
    let old = match keys.read::<Hash>(args[1])?.and_then(|hash| hash.get(args[2])) {
        Some(text) => parse_int(text).ok_or(CommandError::new("ERR hash value is not an integer"))?,
        None => 0,
    };
    let overflow = CommandError::new("ERR increment or decrement would overflow");
    let sum = old.checked_add(step).ok_or(overflow)?;
    keys.write_or_create::<Hash>(args[1])?.insert(args[2], sum.to_string().as_bytes());
    keys.changed_by(Classes::HASH, "hincrby", args[1]);
    out.int(sum);
    Ok(())
}

pub fn hincrbyfloat(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    if crate::store::args::float(args[3])?.is_infinite() {
        return Err(CommandError::new("ERR value is NaN or Infinity"));
    }
    let old = keys.read::<Hash>(args[1])?.and_then(|hash| hash.get(args[2]));
    let sum = decimal::sum(old.unwrap_or(b"0"), args[3]).map_err(|problem| match problem {
        decimal::NoSum::NotANumber => CommandError::new("ERR hash value is not a float"),
        decimal::NoSum::Infinite => NAN_OR_INFINITY,
    })?;
    keys.write_or_create::<Hash>(args[1])?.insert(args[2], sum.as_bytes());
    keys.changed_by(Classes::HASH, "hincrbyfloat", args[1]);
    keys.journal.instead(keys.selected, &[b"HSET", args[1], args[2], sum.as_bytes()]);
    out.bulk(sum.as_bytes());
    Ok(())
}

pub fn hrandfield(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let [_, key, rest @ ..] = args else {
        return Err(SYNTAX);
    };
    let Some((count, options)) = rest.split_first() else {
        let hash = keys.read::<Hash>(key)?;
        let field = hash.and_then(|hash| hash.at(fastrand::usize(0..hash.len())));
        out.bulk_or_null(field.map(|(field, _)| field));
        return Ok(());
    };
    let count = draw_count(count)?;
    let with_values = match options {
        [] => false,
        [word] if is(word, "WITHVALUES") => true,
        _ => return Err(SYNTAX),
    };
    if with_values && !(i64::MIN / 2..=i64::MAX / 2).contains(&count) {
        return Err(CommandError::new("ERR value is out of range"));
    }
    let Some(hash) = keys.read::<Hash>(key)? else {
        out.array(0);
        return Ok(());
    };
    let chosen = draw(count, hash.len())?;
    out.array(if with_values && !out.resp3 { chosen.len() * 2 } else { chosen.len() });
    for (field, value) in chosen.filter_map(|position| hash.at(position)) {
        if with_values && out.resp3 {
            out.array(2);
        }
        out.bulk(field);
        if with_values {
            out.bulk(value);
        }
    }
    Ok(())
}

pub fn hscan(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let scan = Scan::at(args[2])?;
    let Some(hash) = keys.read::<Hash>(args[1])? else {
        out.array(2);
        out.bulk(b"0");
        out.array(0);
        return Ok(());
    };
    let scan = scan.options(args, 3, false)?;
    let (window, next) = if hash.is_compact() { (0..hash.len(), 0) } else { scan.window(hash.len()) };
    let found: Vec<_> =
        window.filter_map(|position| hash.at(position)).filter(|(field, _)| scan.matches(field)).collect();
    out.array(2);
    out.bulk(next.to_string().as_bytes());
    out.array(found.len() * 2);
    for (field, value) in found {
        out.bulk(field);
        out.bulk(value);
    }
    Ok(())
}
