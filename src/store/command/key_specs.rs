//! The key specifications of Redis 7, which `COMMAND INFO` reports: where a command's keys are and what it does with
//! them. Clients derive keys and slots from them.

use super::spec::{Flags, Spec, sort_target};
use crate::store::args::is;
use crate::store::number::parse_int;
use crate::store::reply::Reply;
use crate::store::resp::Args;

/// Where the search for keys begins.
#[derive(Clone, Copy)]
enum Begin {
    /// At the argument with this index.
    At(i64),
    /// After a keyword, which is searched for from the argument with this index.
    Behind(&'static str, i64),
    /// Not covered by the specification.
    Unknown,
}

/// Which arguments from there on are keys.
#[derive(Clone, Copy)]
enum Find {
    /// The last key (relative to the first, or to the end if negative), the step, and a limit: 2 halves the range.
    Range(i64, i64, i64),
    /// The first argument says how many keys follow it.
    Counted,
    /// Not covered by the specification.
    Unknown,
}

/// One key specification: its flags, where the search begins, and which arguments are keys.
type Keys = (&'static str, Begin, Find);

const ONE: Find = Find::Range(0, 1, 0);
const ALL: Find = Find::Range(-1, 1, 0);
const HALF: Find = Find::Range(-1, 1, 2);
const FIRST: Begin = Begin::At(1);
const SECOND: Begin = Begin::At(2);
const READ_ONE: Keys = ("RO access", FIRST, ONE);
const TAKE_ONE: Keys = ("RW access delete", FIRST, ONE);
const STORE_ONE: Keys = ("OW update", FIRST, ONE);
const UNKNOWN_READ: Keys = ("RO access", Begin::Unknown, Find::Unknown);

/// Key specifications, each with the commands that have them.
#[rustfmt::skip]
const SPECS: &[(&[Keys], &[&str])] = &[
    (&[READ_ONE], &[
        "bitcount", "bitfield_ro", "bitpos", "dump", "expiretime", "geodist", "geohash", "geopos", "georadius_ro",
        "georadiusbymember_ro", "geosearch", "get", "getbit", "getrange", "hget", "hgetall", "hkeys", "hmget",
        "hrandfield", "hscan", "hvals", "lindex", "lpos", "lrange", "pexpiretime", "pttl", "smembers", "smismember",
        "srandmember", "sscan", "substr", "ttl", "xpending", "xrange", "xrevrange", "zcount", "zlexcount", "zmscore",
        "zrandmember", "zrange", "zrangebylex", "zrangebyscore", "zrank", "zrevrange", "zrevrangebylex",
        "zrevrangebyscore", "zrevrank", "zscan", "zscore",
    ]),
    (&[("RW update", FIRST, ONE)], &[
        "expire", "expireat", "geoadd", "hmset", "hset", "lset", "persist", "pexpire", "pexpireat", "setrange", "xack",
        "xadd", "xclaim", "xsetid", "zadd",
    ]),
    (&[("RW access update", FIRST, ONE)], &[
        "decr", "decrby", "getex", "getset", "hincrby", "hincrbyfloat", "incr", "incrby", "incrbyfloat", "move", "setbit",
        "zincrby",
    ]),
    (&[("RW access update variable_flags", FIRST, ONE)], &["bitfield", "set"]),
    (&[("RW delete", FIRST, ONE)], &[
        "hdel", "lrem", "ltrim", "srem", "xautoclaim", "xdel", "xtrim", "zrem", "zremrangebylex", "zremrangebyrank",
        "zremrangebyscore",
    ]),
    (&[("RO", FIRST, ONE)], &[
        "hexists", "hlen", "hstrlen", "llen", "scard", "sismember", "strlen", "type", "xlen", "zcard",
    ]),
    (&[("RW insert", FIRST, ONE)], &[
        "append", "hsetnx", "linsert", "lpush", "lpushx", "pfadd", "rpush", "rpushx", "sadd",
    ]),
    (&[TAKE_ONE], &["getdel", "lpop", "rpop", "spop", "zpopmax", "zpopmin"]),
    (&[TAKE_ONE, ("RW insert", SECOND, ONE)], &["blmove", "brpoplpush", "lmove", "rpoplpush", "smove"]),
    (&[TAKE_ONE, ("OW update", SECOND, ONE)], &["rename"]),
    (&[TAKE_ONE, ("OW insert", SECOND, ONE)], &["renamenx"]),
    (&[("RW access delete", FIRST, Find::Range(-2, 1, 0))], &["blpop", "brpop", "bzpopmax", "bzpopmin"]),
    (&[("RW access delete", FIRST, Find::Counted)], &["lmpop", "zmpop"]),
    (&[("RW access delete", SECOND, Find::Counted)], &["blmpop", "bzmpop"]),
    (&[("RO access", FIRST, Find::Counted)], &["sintercard", "zdiff", "zinter", "zintercard", "zunion"]),
    (&[("RO access", FIRST, ALL)], &["mget", "sdiff", "sinter", "sunion"]),
    (&[("RO access", FIRST, Find::Range(1, 1, 0))], &["lcs"]),
    (&[("RO", FIRST, ALL)], &["exists", "touch", "watch"]),
    (&[("RM delete", FIRST, ALL)], &["del", "unlink"]),
    (&[("RW access", FIRST, ALL)], &["pfcount"]),
    (&[("RW access insert", FIRST, ONE), ("RO access", SECOND, ALL)], &["pfmerge"]),
    (&[STORE_ONE], &["psetex", "restore", "setex"]),
    (&[("OW insert", FIRST, ONE)], &["setnx"]),
    (&[("OW update", FIRST, Find::Range(-1, 2, 0))], &["mset"]),
    (&[("OW insert", FIRST, Find::Range(-1, 2, 0))], &["msetnx"]),
    (&[STORE_ONE, ("RO access", SECOND, ONE)], &["geosearchstore", "zrangestore"]),
    (&[STORE_ONE, ("RO access", SECOND, ALL)], &["sdiffstore", "sunionstore"]),
    (&[("RW update", FIRST, ONE), ("RO access", SECOND, ALL)], &["sinterstore"]),
    (&[STORE_ONE, ("RO access", SECOND, Find::Counted)], &["zdiffstore", "zinterstore", "zunionstore"]),
    (&[("OW update", SECOND, ONE), ("RO access", Begin::At(3), ALL)], &["bitop"]),
    (&[READ_ONE, ("OW update", SECOND, ONE)], &["copy"]),
    (&[
        READ_ONE, ("OW update", Begin::Behind("STORE", 6), ONE), ("OW update", Begin::Behind("STOREDIST", 6), ONE),
    ], &["georadius"]),
    (&[
        READ_ONE, ("OW update", Begin::Behind("STORE", 5), ONE), ("OW update", Begin::Behind("STOREDIST", 5), ONE),
    ], &["georadiusbymember"]),
    (&[READ_ONE, UNKNOWN_READ, ("OW update", Begin::Unknown, Find::Unknown)], &["sort"]),
    (&[READ_ONE, UNKNOWN_READ], &["sort_ro"]),
    (&[("RO access", Begin::Behind("STREAMS", 1), HALF)], &["xread"]),
    (&[("RO access", Begin::Behind("STREAMS", 4), HALF)], &["xreadgroup"]),
    (&[("RW access update", SECOND, Find::Counted)], &["eval", "evalsha"]),
    (&[("RO access", SECOND, Find::Counted)], &["eval_ro", "evalsha_ro"]),
    (&[("not_key", FIRST, ONE)], &["spublish"]),
    (&[("not_key", FIRST, ALL)], &["ssubscribe", "sunsubscribe"]),
];

/// The same for subcommands. `COMMAND INFO` describes the parent command instead, which has no keys.
#[rustfmt::skip]
const OF_SUBCOMMANDS: &[(&[Keys], &[&str])] = &[
    (&[("RO", SECOND, ONE)], &["memory|usage", "object|encoding", "object|freq", "object|idletime", "object|refcount"]),
    (&[("RO access", SECOND, ONE)], &["xinfo|consumers", "xinfo|groups", "xinfo|stream"]),
    (&[("RW insert", SECOND, ONE)], &["xgroup|create", "xgroup|createconsumer"]),
    (&[("RW delete", SECOND, ONE)], &["xgroup|delconsumer", "xgroup|destroy"]),
    (&[("RW update", SECOND, ONE)], &["xgroup|setid"]),
];

/// The arities of those subcommands, in the same form as those of commands.
#[rustfmt::skip]
const ARITIES: &[(i32, &[&str])] = &[
    (3, &["object|encoding", "object|freq", "object|idletime", "object|refcount", "xinfo|groups"]),
    (4, &["xgroup|destroy", "xinfo|consumers"]),
    (5, &["xgroup|createconsumer", "xgroup|delconsumer"]),
    (-3, &["memory|usage", "xinfo|stream"]),
    (-5, &["xgroup|create", "xgroup|setid"]),
];

fn specs_in(table: &'static [(&[Keys], &[&str])], name: &str) -> &'static [Keys] {
    table.iter().find(|(_, names)| names.contains(&name)).map_or(&[], |(specs, _)| specs)
}

/// The key specifications of a command, or of the subcommand called, without those for arguments that are not keys.
fn specs_of(spec: &Spec, args: &Args) -> impl Iterator<Item = &'static Keys> + use<> {
    let specs = match subcommand(spec, args) {
        Some(name) => specs_in(OF_SUBCOMMANDS, &name),
        None => specs_in(SPECS, spec.name),
    };
    specs.iter().filter(|(flags, ..)| *flags != "not_key")
}

fn subcommand(spec: &Spec, args: &Args) -> Option<String> {
    let word = args.get(1).filter(|_| spec.flags.has(Flags::PARENT))?;
    Some(format!("{}|{}", spec.name, String::from_utf8_lossy(word).to_lowercase()))
}

/// Whether a command with keys accepts this number of arguments.
pub fn takes(spec: &Spec, args: &Args) -> bool {
    let name = subcommand(spec, args);
    let arity = name.and_then(|name| ARITIES.iter().find(|(_, names)| names.contains(&&*name)));
    let arity = arity.map_or(spec.arity, |(arity, _)| *arity);
    Spec { arity, ..*spec }.takes(args.len())
}

/// Whether a command takes keys at all.
pub fn has_keys(spec: &Spec, args: &Args) -> bool {
    specs_of(spec, args).next().is_some()
}

/// The keys in a command, each with its flags; `None` if there are fewer than the arguments say.
pub fn keys_with_flags<'a>(spec: &Spec, args: &Args<'a>) -> Option<Vec<(&'a [u8], &'static str)>> {
    if spec.name == "sort" {
        let target = sort_target(args).map(|key| (key, "OW update"));
        return Some([(*args.get(1)?, "RO access")].into_iter().chain(target).collect());
    }
    let mut found = Vec::new();
    for (flags, begin, find) in specs_of(spec, args) {
        let Some(first) = begin.find(args) else { continue };
        let flags = match spec.name {
            "set" if args.iter().skip(3).any(|word| is(word, "GET")) => "RW access update",
            "set" => "OW update",
            "bitfield" if only_reads(args) => "RO access",
            "bitfield" => "RW access update",
            _ => flags,
        };
        for at in find.places(first, args)? {
            found.push((*args.get(at)?, flags));
        }
    }
    Some(found)
}

impl Begin {
    fn find(self, args: &Args) -> Option<usize> {
        match self {
            Self::At(index) => usize::try_from(index).ok(),
            // The keyword is followed by a key, so it cannot be the last argument.
            Self::Behind(word, from) => {
                let words = args.iter().enumerate().take(args.len().saturating_sub(1));
                let mut words = words.skip(usize::try_from(from).ok()?);
                words.find(|(_, arg)| is(arg, word)).map(|(at, _)| at + 1)
            }
            Self::Unknown => None,
        }
    }
}

impl Find {
    fn places(self, first: usize, args: &Args) -> Option<std::iter::StepBy<std::ops::Range<usize>>> {
        let (first, end, step) = match self {
            Self::Range(last, step, limit) => {
                let behind = match (last, limit) {
                    (0.., _) => first as i64 + last,
                    (_, 0) => args.len() as i64 + last,
                    _ => first as i64 + (args.len() as i64 - first as i64) / limit + last,
                };
                (first, usize::try_from(behind + 1).unwrap_or(first), step)
            }
            Self::Counted => {
                let number = parse_int(args.get(first)?).and_then(|number| usize::try_from(number).ok())?;
                let fits = number > 0 && args.len().checked_sub(first + 1).is_some_and(|keys| number <= keys);
                (first + 1, fits.then_some(first + 1 + number)?, 1)
            }
            Self::Unknown => return None,
        };
        Some((first..end.max(first)).step_by(usize::try_from(step).ok()?.max(1)))
    }
}

/// Whether a `BITFIELD` only reads, judging by its arguments.
fn only_reads(args: &Args) -> bool {
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let left = args.len() - at - 1;
        at += match () {
            () if is(word, "GET") && left >= 2 => 3,
            () if is(word, "OVERFLOW") && left >= 1 => 2,
            () => return false,
        };
    }
    true
}

/// Writes the flags of a key.
pub fn tell_flags(flags: &str, out: &mut Reply) {
    out.set(flags.split(' ').count());
    flags.split(' ').for_each(|flag| out.simple(flag));
}

/// Writes the key specifications of a command.
pub fn describe_keys(name: &str, out: &mut Reply) {
    let specs = specs_in(SPECS, name);
    out.set(specs.len());
    for (flags, begin, find) in specs {
        out.map(3);
        out.bulk(b"flags");
        tell_flags(flags, out);
        match begin {
            Begin::At(index) => part(out, "begin_search", "index", &[("index", *index)], None),
            Begin::Behind(word, from) => part(out, "begin_search", "keyword", &[("startfrom", *from)], Some(word)),
            Begin::Unknown => part(out, "begin_search", "unknown", &[], None),
        }
        match find {
            Find::Range(last, step, limit) => {
                let numbers = [("lastkey", *last), ("keystep", *step), ("limit", *limit)];
                part(out, "find_keys", "range", &numbers, None);
            }
            Find::Counted => {
                let numbers = [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
                part(out, "find_keys", "keynum", &numbers, None);
            }
            Find::Unknown => part(out, "find_keys", "unknown", &[], None),
        }
    }
}

fn part(out: &mut Reply, name: &str, kind: &str, numbers: &[(&str, i64)], keyword: Option<&str>) {
    out.bulk(name.as_bytes());
    out.map(2);
    out.bulk(b"type");
    out.bulk(kind.as_bytes());
    out.bulk(b"spec");
    out.map(numbers.len() + usize::from(keyword.is_some()));
    if let Some(word) = keyword {
        out.bulk(b"keyword");
        out.bulk(word.as_bytes());
    }
    for (name, number) in numbers {
        out.bulk(name.as_bytes());
        out.int(*number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::COMMANDS;
    use super::*;

    /// Users' rights are checked on these keys: a command that is missing here may be used on every key.
    #[test]
    fn every_command_with_keys_says_where_they_are() {
        for row in COMMANDS.rows {
            let Spec { name, keys, flags, .. } = row.spec;
            if (keys[0] != 0 || flags.has(Flags::MOVABLE)) && !flags.has(Flags::PARENT) {
                assert!(!specs_in(SPECS, name).is_empty(), "{name}");
            }
        }
    }
}
