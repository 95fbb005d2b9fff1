//! Unions, intersections and differences of sorted sets and plain sets.

use indexmap::IndexMap;

use crate::store::args::{at_least, is};
use crate::store::error::{CommandError, LIMIT_NEGATIVE, NOT_AN_INTEGER, Outcome, SYNTAX, WRONGTYPE};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::number::{parse_float, parse_int};
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::small_bytes::SmallBytes;
use crate::store::value::Value;
use crate::store::zset::Zset;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Union,
    Intersection,
    Difference,
}

#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => zero_if_nan(one + other),
            Self::Min => one.min(other),
            Self::Max => one.max(other),
        }
    }
}

/// Turns NaN, the result of infinity minus infinity, into 0.
fn zero_if_nan(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

struct Query<'a, 'b> {
    names: &'b Args<'a>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl<'a, 'b> Query<'a, 'b> {
    fn parse(
        keys: &mut Keyspace,
        args: &'b Args<'a>,
        at: usize,
        how: Join,
        store: bool,
        command: &str,
    ) -> Result<Self, CommandError> {
        let number = parse_int(args[at]).ok_or(NOT_AN_INTEGER)?;
        if number < 1 {
            let text = format!("ERR at least 1 input key is needed for '{command}' command");
            return Err(CommandError::new(text));
        }
        let number = number as usize;
        let names = args.get(at + 1..).and_then(|rest| rest.get(..number)).ok_or(SYNTAX)?;
        names.iter().try_for_each(|name| check(keys, name))?;
        let mut query = Self { names, weights: vec![1.0; number], aggregate: Aggregate::Sum, with_scores: false };
        let mut rest = &args[at + 1 + number..];
        while let [word, tail @ ..] = rest {
            rest = match () {
                () if how != Join::Difference && is(word, "WEIGHTS") && tail.len() >= number => {
                    for (weight, text) in query.weights.iter_mut().zip(tail) {
                        *weight = parse_float(text).ok_or(CommandError::new("ERR weight value is not a float"))?;
                    }
                    &tail[number..]
                }
                () if how != Join::Difference && is(word, "AGGREGATE") && !tail.is_empty() => {
                    query.aggregate = aggregate(tail[0])?;
                    &tail[1..]
                }
                () if !store && is(word, "WITHSCORES") => {
                    query.with_scores = true;
                    tail
                }
                () => return Err(SYNTAX),
            };
        }
        Ok(query)
    }

    fn run(&self, keys: &mut Keyspace, how: Join) -> Result<Zset, CommandError> {
        let mut result: IndexMap<SmallBytes, f64> = IndexMap::new();
        for (nth, (name, weight)) in self.names.iter().zip(&self.weights).enumerate() {
            // Sets are loaded one at a time, because a name may be given a thousand times.
            let weighted = members(keys, name)?.into_iter().map(|(member, score)| {
                (member, if how == Join::Difference { score } else { zero_if_nan(score * weight) })
            });
            match how {
                Join::Difference if nth > 0 => weighted.for_each(|(member, _)| {
                    result.swap_remove(&member);
                }),
                Join::Intersection if nth > 0 => {
                    let mut both = IndexMap::new();
                    for (member, score) in weighted {
                        if let Some(old) = result.get(&member) {
                            both.insert(member, self.aggregate.of(*old, score));
                        }
                    }
                    result = both;
                }
                _ => {
                    for (member, score) in weighted {
                        let sum = result.get(&member).map_or(score, |old| self.aggregate.of(*old, score));
                        result.insert(member, sum);
                    }
                }
            }
        }
        let mut zset = Zset::default();
        result.iter().for_each(|(member, score)| {
            zset.insert(member, *score);
        });
        Ok(zset)
    }
}

fn aggregate(arg: &[u8]) -> Result<Aggregate, CommandError> {
    match () {
        () if is(arg, "SUM") => Ok(Aggregate::Sum),
        () if is(arg, "MIN") => Ok(Aggregate::Min),
        () if is(arg, "MAX") => Ok(Aggregate::Max),
        () => Err(SYNTAX),
    }
}

/// Refuses a key that is neither a sorted set nor a set.
fn check(keys: &mut Keyspace, name: &[u8]) -> Outcome {
    match keys.get(name) {
        None | Some(Value::Zset(_) | Value::Set(_)) => Ok(()),
        Some(_) => Err(WRONGTYPE),
    }
}

/// The members of a sorted set, or those of a plain set with a score of 1.
fn members(keys: &mut Keyspace, name: &[u8]) -> Result<Vec<(SmallBytes, f64)>, CommandError> {
    match keys.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Zset(zset)) => Ok(zset.iter().map(|(m, s)| (SmallBytes::new(m), s)).collect()),
        Some(Value::Set(set)) => Ok(set.iter().map(|m| (SmallBytes::new(m), 1.0)).collect()),
        Some(_) => Err(WRONGTYPE),
    }
}

fn show(keys: &mut Keyspace, args: &Args, out: &mut Reply, how: Join, command: &str) -> Outcome {
    let query = Query::parse(keys, args, 1, how, false, command)?;
    let result = query.run(keys, how)?;
    super::zranges::reply(out, result.iter(), query.with_scores);
    Ok(())
}

fn store(keys: &mut Keyspace, args: &Args, out: &mut Reply, how: Join, command: &'static str) -> Outcome {
    let result = Query::parse(keys, args, 2, how, true, command)?.run(keys, how)?;
    out.len(result.len());
    super::sets::store(keys, (Classes::ZSET, command), args[1], result.len(), result);
    Ok(())
}

pub fn zunion(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    show(keys, args, out, Join::Union, "zunion")
}

pub fn zinter(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    show(keys, args, out, Join::Intersection, "zinter")
}

pub fn zdiff(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    show(keys, args, out, Join::Difference, "zdiff")
}

pub fn zunionstore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    store(keys, args, out, Join::Union, "zunionstore")
}

pub fn zinterstore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    store(keys, args, out, Join::Intersection, "zinterstore")
}

pub fn zdiffstore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    store(keys, args, out, Join::Difference, "zdiffstore")
}

pub fn zintercard(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let number = parse_int(args[1]).ok_or(NOT_AN_INTEGER)?;
    if number < 1 {
        return Err(CommandError::new("ERR at least 1 input key is needed for 'zintercard' command"));
    }
    let number = number as usize;
    if number > args.len() - 2 {
        return Err(SYNTAX);
    }
    let (names, options) = args[2..].split_at(number);
    names.iter().try_for_each(|name| check(keys, name))?;
    let limit = match options {
        [] => 0,
        [word, limit] if is(word, "LIMIT") => at_least(0, limit, LIMIT_NEGATIVE)?,
        _ => return Err(SYNTAX),
    };
    let query = Query { names, weights: vec![1.0; number], aggregate: Aggregate::Sum, with_scores: false };
    let both = query.run(keys, Join::Intersection)?.len();
    out.len(if limit == 0 { both } else { both.min(limit) });
    Ok(())
}
