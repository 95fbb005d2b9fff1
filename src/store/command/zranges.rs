//! Sorted sets: ranges by rank, by score and by name.

use std::ops::Range;

use crate::store::args::{Cursor, int, is, positions};
use crate::store::error::{BAD_LEX_RANGE, CommandError, MIN_OR_MAX_NOT_FLOAT, Outcome, SYNTAX};
use crate::store::keyspace::Keyspace;
use crate::store::keyspace_events::Classes;
use crate::store::reply::Reply;
use crate::store::resp::Args;
use crate::store::strtod::c_number;
use crate::store::zset::Zset;

/// What the ends of a range refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Ranks.
    Rank,
    /// Scores.
    Score,
    /// Names, of members that all have the same score.
    Lex,
}

/// One end of a range of scores, and whether it is exclusive.
type ScoreEnd = (f64, bool);

#[derive(Clone, Copy)]
enum LexEnd<'a> {
    Lowest,
    Highest,
    At(&'a [u8], bool),
}

#[derive(Clone, Copy)]
enum Ends<'a> {
    Rank(i64, i64),
    Score(ScoreEnd, ScoreEnd),
    Lex(LexEnd<'a>, LexEnd<'a>),
}

fn score_end(arg: &[u8]) -> Result<ScoreEnd, CommandError> {
    let (text, outside) = match arg {
        [b'(', rest @ ..] => (rest, true),
        rest => (rest, false),
    };
    Ok((score(text).ok_or(MIN_OR_MAX_NOT_FLOAT)?, outside))
}

/// Parses the end of a range of scores as C does: an empty string is 0, and an overflow is infinite.
fn score(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let text = text.trim_ascii_start();
    let (score, length) = c_number(text)?;
    (length == text.len() && !score.is_nan()).then_some(score)
}

fn lex_end(arg: &[u8]) -> Result<LexEnd<'_>, CommandError> {
    match arg {
        [b'-'] => Ok(LexEnd::Lowest),
        [b'+'] => Ok(LexEnd::Highest),
        [b'[', rest @ ..] => Ok(LexEnd::At(rest, false)),
        [b'(', rest @ ..] => Ok(LexEnd::At(rest, true)),
        _ => Err(BAD_LEX_RANGE),
    }
}

impl<'a> Ends<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        Ok(match by {
            By::Rank => Self::Rank(int(min)?, int(max)?),
            By::Score => Self::Score(score_end(min)?, score_end(max)?),
            By::Lex => Self::Lex(lex_end(min)?, lex_end(max)?),
        })
    }

    /// The ranks that the range covers.
    fn ranks(self, zset: &Zset, reverse: bool) -> Range<usize> {
        let (start, end) = match self {
            Self::Rank(start, stop) => {
                let range = positions(start, stop, zset.len());
                if !reverse || range.is_empty() {
                    return range;
                }
                return zset.len() - range.end..zset.len() - range.start;
            }
            Self::Score((min, min_outside), (max, max_outside)) => (
                zset.count_while(|score, _| score < min || (min_outside && score == min)),
                zset.count_while(|score, _| score < max || (!max_outside && score == max)),
            ),
            Self::Lex(min, max) => (
                zset.count_while(|_, member| below(member, min, false)),
                zset.count_while(|_, member| below(member, max, true)),
            ),
        };
        start..end.max(start)
    }
}

/// Whether a member comes before an end. If they are equal, `at_end` decides, inverted for an exclusive end.
fn below(member: &[u8], end: LexEnd, at_end: bool) -> bool {
    match end {
        LexEnd::Lowest => false,
        LexEnd::Highest => true,
        LexEnd::At(name, outside) => member < name || (member == name && outside != at_end),
    }
}

/// Applies `LIMIT offset count` to a range that is read in this direction.
fn limited(range: Range<usize>, reverse: bool, limit: Option<(i64, i64)>) -> Range<usize> {
    let Some((offset, count)) = limit else {
        return range;
    };
    let Ok(offset) = usize::try_from(offset) else {
        return 0..0;
    };
    if offset >= range.len() {
        return 0..0;
    }
    let left = range.len() - offset;
    let count = usize::try_from(count).unwrap_or(left).min(left);
    if reverse {
        range.end - offset - count..range.end - offset
    } else {
        range.start + offset..range.start + offset + count
    }
}

/// Replies with members and, if asked, their scores.
pub fn reply<'a>(out: &mut Reply, entries: impl ExactSizeIterator<Item = (&'a [u8], f64)>, with_scores: bool) {
    let nested = with_scores && out.resp3;
    let flat = if with_scores && !nested { 2 } else { 1 };
    out.array(entries.len() * flat);
    for (member, score) in entries {
        if nested {
            out.array(2);
        }
        out.bulk(member);
        if with_scores {
            out.double(score);
        }
    }
}

/// A parsed range command.
struct Query<'a> {
    by: By,
    reverse: bool,
    ends: Ends<'a>,
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

impl<'a> Query<'a> {
    /// Parses the two ends at `at` and the options after them. `fixed` is set for older commands, whose names
    /// determine the type and the direction of the range; otherwise the options do.
    fn parse(args: &Args<'a>, at: usize, fixed: Option<(By, bool)>, store: bool) -> Result<Self, CommandError> {
        let (mut by, mut reverse) = fixed.unwrap_or((By::Rank, false));
        let (mut limit, mut with_scores) = (None, false);
        let mut cursor = Cursor::new(args, at + 2);
        while let Some(word) = cursor.next() {
            match () {
                () if !store && is(word, "WITHSCORES") => with_scores = true,
                () if is(word, "LIMIT") && cursor.left() >= 2 => {
                    limit = Some((int(cursor.value()?)?, int(cursor.value()?)?));
                }
                () if fixed.is_none() && is(word, "REV") => reverse = true,
                () if fixed.is_none() && is(word, "BYSCORE") => by = By::Score,
                () if fixed.is_none() && is(word, "BYLEX") => by = By::Lex,
                () => return Err(SYNTAX),
            }
        }
        if limit.is_some() && by == By::Rank {
            return Err(CommandError::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let swap = reverse && by != By::Rank;
        let (min, max) = if swap { (args[at + 1], args[at]) } else { (args[at], args[at + 1]) };
        Ok(Self { by, reverse, ends: Ends::parse(by, min, max)?, limit, with_scores })
    }

    fn ranks(&self, zset: &Zset) -> Range<usize> {
        let range = self.ends.ranks(zset, self.reverse);
        if self.by == By::Rank { range } else { limited(range, self.reverse, self.limit) }
    }

    fn run(&self, keys: &mut Keyspace, key: &[u8], out: &mut Reply) -> Outcome {
        match keys.read::<Zset>(key)? {
            Some(zset) => {
                reply(out, zset.range(self.ranks(zset), self.reverse), self.with_scores);
            }
            None => out.array(0),
        }
        Ok(())
    }
}

pub fn zrange(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    Query::parse(args, 2, None, false)?.run(keys, args[1], out)
}

pub fn zrevrange(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    Query::parse(args, 2, Some((By::Rank, true)), false)?.run(keys, args[1], out)
}

pub fn zrangebyscore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    Query::parse(args, 2, Some((By::Score, false)), false)?.run(keys, args[1], out)
}

pub fn zrevrangebyscore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    Query::parse(args, 2, Some((By::Score, true)), false)?.run(keys, args[1], out)
}

pub fn zrangebylex(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    Query::parse(args, 2, Some((By::Lex, false)), false)?.run(keys, args[1], out)
}

pub fn zrevrangebylex(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    Query::parse(args, 2, Some((By::Lex, true)), false)?.run(keys, args[1], out)
}

pub fn zrangestore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    let query = Query::parse(args, 3, None, true)?;
    let mut result = Zset::default();
    if let Some(zset) = keys.read::<Zset>(args[2])? {
        for (member, score) in zset.range(query.ranks(zset), query.reverse) {
            result.insert(member, score);
        }
    }
    out.len(result.len());
    super::sets::store(keys, (Classes::ZSET, "zrangestore"), args[1], result.len(), result);
    Ok(())
}

fn count(keys: &mut Keyspace, args: &Args, out: &mut Reply, by: By) -> Outcome {
    let ends = Ends::parse(by, args[2], args[3])?;
    let count = keys.read::<Zset>(args[1])?.map_or(0, |zset| ends.ranks(zset, false).len());
    out.len(count);
    Ok(())
}

pub fn zcount(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    count(keys, args, out, By::Score)
}

pub fn zlexcount(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    count(keys, args, out, By::Lex)
}

fn remove_range(keys: &mut Keyspace, args: &Args, out: &mut Reply, by: By, event: &'static str) -> Outcome {
    let ends = Ends::parse(by, args[2], args[3])?;
    let Some(mut zset) = keys.write::<Zset>(args[1])? else {
        out.int(0);
        return Ok(());
    };
    let doomed: Vec<Vec<u8>> = zset.range(ends.ranks(&zset, false), false).map(|(member, _)| member.to_vec()).collect();
    for member in &doomed {
        zset.remove(member);
    }
    drop(zset);
    if !doomed.is_empty() {
        keys.shrunk_by(Classes::ZSET, event, args[1]);
    }
    out.len(doomed.len());
    Ok(())
}

pub fn zremrangebyrank(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    remove_range(keys, args, out, By::Rank, "zremrangebyrank")
}

pub fn zremrangebyscore(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    remove_range(keys, args, out, By::Score, "zremrangebyscore")
}

pub fn zremrangebylex(keys: &mut Keyspace, args: &Args, out: &mut Reply) -> Outcome {
    remove_range(keys, args, out, By::Lex, "zremrangebylex")
}
