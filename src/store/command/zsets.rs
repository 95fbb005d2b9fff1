//! Sorted sets: members, scores and ranks, and popping from the ends.

use super::draw::{draw, draw_count};
use crate::store::args::{Scan, count as parse_count, float, is};
use crate::store::error::{CommandError, Outcome, SYNTAX};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::number::format_double;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::zset::Zset;

use super::list_moves::{parse_multi_pop, wait, wait_until};

const NAN: &str = "ERR resulting score is not a number (NaN)";

#[derive(Default)]
struct AddOptions {
    only_new: bool,
    only_old: bool,
    greater: bool,
    less: bool,
    count_changed: bool,
    increment: bool,
}

impl AddOptions {
    /// Parses the options; also returns the index of the first pair.
    fn parse(args: &Args) -> (Self, usize) {
        let mut options = Self::default();
        for (at, word) in args.iter().enumerate().skip(2) {
            match () {
                () if is(word, "NX") => options.only_new = true,
                () if is(word, "XX") => options.only_old = true,
                () if is(word, "GT") => options.greater = true,
                () if is(word, "LT") => options.less = true,
                () if is(word, "CH") => options.count_changed = true,
                () if is(word, "INCR") => options.increment = true,
                () => return (options, at),
            }
        }
        (options, args.len())
    }

    fn check(&self, pairs: usize) -> Outcome {
        if self.only_new && self.only_old {
            return Err(CommandError::new("ERR XX and NX options at the same time are not compatible"));
        }
        if (self.greater && self.less) || (self.only_new && (self.greater || self.less)) {
            return Err(CommandError::new("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.increment && pairs > 1 {
            return Err(CommandError::new("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    /// Applies one pair of score and member, unless the options forbid it.
    fn apply(&self, zset: &mut Zset, score: f64, member: &[u8]) -> Result<Applied, CommandError> {
        let Some(old) = zset.score(member) else {
            if self.only_old {
                return Ok(Applied::Refused);
            }
            zset.insert(member, score);
            return Ok(Applied::Added(score));
        };
        if self.only_new {
            return Ok(Applied::Refused);
        }
        let score = if self.increment { old + score } else { score };
        if score.is_nan() {
            return Err(CommandError::new(NAN));
        }
        if (self.greater && score <= old) || (self.less && score >= old) {
            return Ok(Applied::Refused);
        }
        if score == old {
            return Ok(Applied::Kept(score));
        }
        zset.insert(member, score);
        Ok(Applied::Updated(score))
    }
}

enum Applied {
    Added(f64),
    Updated(f64),
    Kept(f64),
    Refused,
}

pub fn zadd(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (options, at) = AddOptions::parse(args);
    let pairs = &args[at..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    options.check(pairs.len() / 2)?;
    add(keys, args[1], &options, pairs, out)
}

pub fn zincrby(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    // Redis runs `ZINCRBY` as a `ZADD`, so it takes such an increment for an option.
    if ["NX", "XX", "CH", "INCR", "GT", "LT"].iter().any(|word| is(args[2], word)) {
        return Err(SYNTAX);
    }
    let options = AddOptions { increment: true, ..AddOptions::default() };
    add(keys, args[1], &options, &args[2..], out)
}

fn add(keys: &mut Keyspace, key: &[u8], options: &AddOptions, pairs: &Args, out: &mut Reply) -> Outcome {
    for pair in pairs.chunks_exact(2) {
        float(pair[0])?;
    }
    let (mut added, mut updated, mut last) = (0, 0, None);
    if !options.only_old || keys.read::<Zset>(key)?.is_some() {
        let mut zset = keys.write_or_create::<Zset>(key)?;
        let mut problem = Ok(());
        for pair in pairs.chunks_exact(2) {
            match options.apply(&mut zset, float(pair[0])?, pair[1]) {
                Ok(Applied::Added(score)) => (added, last) = (added + 1, Some(score)),
                Ok(Applied::Updated(score)) => (updated, last) = (updated + 1, Some(score)),
                Ok(Applied::Kept(score)) => last = Some(score),
                Ok(Applied::Refused) => {}
                Err(error) => problem = Err(error),
            }
        }
        drop(zset);
        keys.remove_if_empty(key);
        if added + updated > 0 {
            keys.changed_by(Classes::ZSET, if options.increment { "zincr" } else { "zadd" }, key);
        }
        problem?;
    }
    match (options.increment, last) {
        (true, Some(score)) => out.double(score),
        (true, None) => out.null(),
        (false, _) => out.int(added + if options.count_changed { updated } else { 0 }),
    }
    Ok(())
}

pub fn zcard(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    out.len(keys.read::<Zset>(args[1])?.map_or(0, Zset::len));
    Ok(())
}

pub fn zscore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    match keys.read::<Zset>(args[1])?.and_then(|zset| zset.score(args[2])) {
        Some(score) => out.double(score),
        None => out.null(),
    }
    Ok(())
}

pub fn zmscore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let zset = keys.read::<Zset>(args[1])?;
    out.array(args.len() - 2);
    for member in &args[2..] {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => out.double(score),
            None => out.null(),
        }
    }
    Ok(())
}

fn rank(keys: &mut Keyspace, args: &Args, out: &mut Reply, reverse: bool) -> Outcome {
    let with_score = match &args[3..] {
        [] => false,
        [word] if is(word, "WITHSCORE") => true,
        _ => return Err(SYNTAX),
    };
    let zset = keys.read::<Zset>(args[1])?;
    let found = zset.and_then(|zset| {
        let rank = zset.rank(args[2])?;
        Some((if reverse { zset.len() - 1 - rank } else { rank }, zset.score(args[2])?))
    });
    match found {
        None if with_score => out.null_array(),
        None => out.null(),
        Some((rank, score)) if with_score => {
            out.array(2);
            out.len(rank);
            out.double(score);
        }
        Some((rank, _)) => out.len(rank),
    }
    Ok(())
}

pub fn zrank(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    rank(keys, args, out, false)
}

pub fn zrevrank(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    rank(keys, args, out, true)
}

pub fn zrem(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let Some(mut zset) = keys.write::<Zset>(args[1])? else {
        out.int(0);
        return Ok(());
    };
    let removed = args[2..].iter().filter(|member| zset.remove(member).is_some()).count();
    drop(zset);
    if removed > 0 {
        keys.shrunk_by(Classes::ZSET, "zrem", args[1]);
    }
    out.len(removed);
    Ok(())
}

type Popped = Vec<(Vec<u8>, f64)>;

/// Pops up to `count` members from one end of a sorted set, if it exists.
fn take(keys: &mut Keyspace, key: &[u8], max: bool, count: usize) -> Result<Option<Popped>, CommandError> {
    let Some(mut zset) = keys.write::<Zset>(key)? else {
        return Ok(None);
    };
    let count = count.min(zset.len());
    let range = if max { zset.len() - count..zset.len() } else { 0..count };
    let taken: Popped = zset.range(range, max).map(|(m, s)| (m.to_vec(), s)).collect();
    for (member, _) in &taken {
        zset.remove(member);
    }
    drop(zset);
    if !taken.is_empty() {
        keys.shrunk_by(Classes::ZSET, if max { "zpopmax" } else { "zpopmin" }, key);
        let mut effect: Vec<&[u8]> = vec![b"ZREM", key];
        effect.extend(taken.iter().map(|(member, _)| &**member));
        keys.journal.instead(keys.selected, &effect);
    }
    Ok(Some(taken))
}

fn pop(keys: &mut Keyspace, args: &Args, out: &mut Reply, max: bool) -> Outcome {
    let count = match args {
        [_, _] => None,
        [_, _, count] => Some(parse_count(count)?),
        _ => return Err(SYNTAX),
    };
    let taken = take(keys, args[1], max, count.unwrap_or(1))?.unwrap_or_default();
    let nested = out.resp3 && count.is_some();
    out.array(if nested { taken.len() } else { taken.len() * 2 });
    for (member, score) in &taken {
        if nested {
            out.array(2);
        }
        out.bulk(member);
        out.double(*score);
    }
    Ok(())
}

pub fn zpopmin(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    pop(keys, args, out, false)
}

pub fn zpopmax(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    pop(keys, args, out, true)
}

fn blocking_pop(keys: &mut Keyspace, args: &Args, out: &mut Reply, max: bool) -> Outcome {
    let (names, timeout) = (&args[1..args.len() - 1], args[args.len() - 1]);
    let until = wait_until(timeout, keys.now)?;
    for name in names {
        if let Some((member, score)) = take(keys, name, max, 1)?.and_then(|taken| taken.into_iter().next()) {
            out.array(3);
            out.bulk(name);
            out.bulk(&member);
            out.double(score);
            return Ok(());
        }
    }
    Err(wait(names, "zset", until, true))
}

pub fn bzpopmin(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    blocking_pop(keys, args, out, false)
}

pub fn bzpopmax(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    blocking_pop(keys, args, out, true)
}

fn end(arg: &[u8]) -> Result<bool, CommandError> {
    match () {
        () if is(arg, "MIN") => Ok(false),
        () if is(arg, "MAX") => Ok(true),
        () => Err(SYNTAX),
    }
}

fn multi_pop(
    keys: &mut Keyspace,
    names: &Args,
    max: bool,
    count: usize,
    out: &mut Reply,
) -> Result<bool, CommandError> {
    for name in names {
        if let Some(taken) = take(keys, name, max, count)? {
            out.array(2);
            out.bulk(name);
            out.array(taken.len());
            for (member, score) in &taken {
                out.array(2);
                out.bulk(member);
                out.double(*score);
            }
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn zmpop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (names, max, count) = parse_multi_pop(args, 1, end)?;
    if !multi_pop(keys, names, max, count, out)? {
        out.null_array();
    }
    Ok(())
}

pub fn bzmpop(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let (names, max, count) = parse_multi_pop(args, 2, end)?;
    let until = wait_until(args[1], keys.now)?;
    if multi_pop(keys, names, max, count, out)? { Ok(()) } else { Err(wait(names, "zset", until, true)) }
}

pub fn zrandmember(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let [_, key, rest @ ..] = args else {
        return Err(SYNTAX);
    };
    let Some((count, options)) = rest.split_first() else {
        let zset = keys.read::<Zset>(key)?;
        let member = zset.and_then(|zset| zset.at_position(fastrand::usize(0..zset.len())));
        out.bulk_or_null(member.map(|(member, _)| member));
        return Ok(());
    };
    let count = draw_count(count)?;
    let with_scores = match options {
        [] => false,
        [word] if is(word, "WITHSCORES") => true,
        _ => return Err(SYNTAX),
    };
    if with_scores && !(i64::MIN / 2..=i64::MAX / 2).contains(&count) {
        return Err(CommandError::new("ERR value is out of range"));
    }
    let Some(zset) = keys.read::<Zset>(key)? else {
        out.array(0);
        return Ok(());
    };
    let entries = draw(count, zset.len())?.map(|position| zset.at_position(position).unwrap_or_default());
    super::zranges::reply(out, entries, with_scores);
    Ok(())
}

pub fn zscan(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let scan = Scan::at(args[2])?;
    let Some(zset) = keys.read::<Zset>(args[1])? else {
        out.array(2);
        out.bulk(b"0");
        out.array(0);
        return Ok(());
    };
    let scan = scan.options(args, 3, false)?;
    let compact = zset.encoding() == "listpack";
    let (window, next) = if compact { (0..zset.len(), 0) } else { scan.window(zset.len()) };
    let found: Vec<_> = if compact {
        zset.iter().filter(|(member, _)| scan.matches(member)).collect()
    } else {
        window.filter_map(|position| zset.at_position(position)).filter(|(member, _)| scan.matches(member)).collect()
    };
    out.array(2);
    out.bulk(next.to_string().as_bytes());
    out.array(found.len() * 2);
    for (member, score) in found {
        out.bulk(member);
        out.bulk(format_double(score).as_bytes());
    }
    Ok(())
}
