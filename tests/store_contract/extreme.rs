//! Commands with arguments at the edge of what there is: for the test of the whole table, and for the
//! fuzzer, which draws from its own bytes.

/// Where choices come from.
pub trait Source {
    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize;
}

impl Source for fastrand::Rng {
    fn below(&mut self, end: usize) -> usize {
        self.usize(0..end)
    }
}

/// A command as `COMMAND` tells it.
pub struct Command {
    pub name: Vec<u8>,
    pub arity: i64,
    /// Where its keys are: first, last, step.
    pub keys: [i64; 3],
}

/// Fills every key of the pool.
pub const SETUP: &[&str] = &[
    "FLUSHALL",
    "SET s text",
    "SET n 10",
    "SET e 12 PX 1000",
    "SETRANGE b 100 x",
    "RPUSH l a b c d e 1 2 3",
    "SADD set a b c 1 2 3",
    "SADD ints 1 2 3",
    "HSET h a 1 b 2 c x",
    "ZADD z 1 a 2 b 2 c inf d -inf e",
    "XADD x 5-1 f v",
    "PFADD p a b c",
];

const KEYS: &[&str] = &["s", "n", "e", "b", "l", "set", "ints", "h", "z", "x", "p", "missing", ""];

#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    "0", "1", "-1", "2", "-0", "+1", "01", "10", "100", "-100", "1000000", "-1000000000", "127", "128", "255", "256",
    "-128", "-129", "32767", "65535", "65536", "2147483647", "2147483648", "-2147483648", "-2147483649",
    "4294967295", "4294967296", "9007199254740993", "4611686018427387904", "-4611686018427387905",
    "9223372036854775806", "9223372036854775807", "-9223372036854775807", "-9223372036854775808",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "99999999999999999999999999", "0.1",
    "-0.0", "1e308", "1e309", "-1e309", "1e-400", "5e-324", "inf", "-inf", "+inf", "nan", "-nan", "infinity", "0x10",
    "1.7976931348623157e308", "3.4e38", "1e17", "1e22", "536870911", "536870912", "1e400", ".5", "5.", "1e", "(1",
    "(inf", "(-inf", "(nan", "[a", "(a", "[", "(", "-", "+", "0-0", "0-1",
    "18446744073709551615-18446744073709551615", "5-*", "*", "$", ">", "5", "#0", "#9223372036854775807", "u63",
    "i64", "u64", "i1", "u0", "i65",
];

/// Words of options and subcommands; `PAUSE` is left out, for it would hold up the rest of the test.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "EX", "PX", "EXAT", "PXAT", "NX", "XX", "GT", "LT", "CH", "INCR", "GET", "KEEPTTL", "PERSIST", "COUNT", "MATCH",
    "TYPE", "LIMIT", "WITHSCORES", "WITHSCORE", "WITHVALUES", "BYSCORE", "BYLEX", "REV", "RANK", "MAXLEN", "MINID",
    "LEFT", "RIGHT", "BEFORE", "AFTER", "MIN", "MAX", "SUM", "WEIGHTS", "AGGREGATE", "REPLACE", "DB", "ASYNC",
    "SYNC", "BY", "ASC", "DESC", "ALPHA", "STORE", "NOMKSTREAM", "ID", "BLOCK", "STREAMS", "GROUP", "NOACK",
    "CREATE", "MKSTREAM", "FULL", "STREAM", "GROUPS", "CONSUMERS", "IDLE", "TIME", "RETRYCOUNT", "FORCE", "JUSTID",
    "SET", "INCRBY", "OVERFLOW", "WRAP", "SAT", "FAIL", "BIT", "BYTE", "AND", "OR", "XOR", "NOT", "ON", "OFF",
    "SKIP", "YES", "NO", "HELP", "LIST", "INFO", "KILL", "UNBLOCK", "UNPAUSE", "WRITE", "ALL", "TRACKING",
    "CACHING", "TRACKINGINFO", "REDIRECT", "PREFIX", "BCAST", "OPTIN", "OPTOUT", "NOLOOP", "GETNAME", "SETNAME",
    "SETINFO", "LIB-NAME", "LIB-VER", "ADDR", "LADDR", "SKIPME", "USER", "default", "normal", "pubsub", "ENCODING",
    "FREQ", "IDLETIME", "REFCOUNT", "USAGE", "SAMPLES", "STATS", "DOCTOR", "PURGE", "CHANNELS", "NUMSUB", "NUMPAT",
    "SHARDCHANNELS", "SHARDNUMSUB", "DOCS", "GETKEYS", "GETKEYSANDFLAGS", "FILTERBY", "MODULE", "ACLCAT", "PATTERN",
    "LEN", "RESET", "LATEST", "HISTORY", "LOAD", "EXISTS", "FLUSH", "DEBUG", "AUTH", "ABSTTL", "maxmemory-policy",
];

fn pick<'a>(source: &mut impl Source, pool: &[&'a str]) -> &'a [u8] {
    pool[source.below(pool.len())].as_bytes()
}

/// One argument that is no key.
fn argument(source: &mut impl Source) -> Vec<u8> {
    match source.below(20) {
        0..8 => pick(source, NUMBERS).to_vec(),
        8..13 => pick(source, WORDS).to_vec(),
        13..16 => pick(source, KEYS).to_vec(),
        16 => vec![b"\0\r\n\xff*?[]"[source.below(8)]; source.below(40)],
        17 => vec![b'a'; [23, 64, 65, 512, 4097][source.below(5)]],
        18 => vec![b'*'; 1 + source.below(3)],
        _ => b"abcde123"[source.below(8)..].to_vec(),
    }
}

/// A command out of the table, with arguments mostly in the places where it looks for them.
pub fn draw(table: &[Command], source: &mut impl Source) -> Vec<Vec<u8>> {
    let command = &table[source.below(table.len())];
    let least = command.arity.unsigned_abs() as usize;
    let count = match source.below(30) {
        0 => source.below(40),
        1..10 => least + 1 + source.below(4),
        _ => least + if command.arity < 0 { source.below(4) } else { 0 },
    };
    let [first, last, step] = command.keys;
    let last = if last < 0 { count as i64 + last } else { last };
    let mut args = vec![command.name.clone()];
    for place in 1..count as i64 {
        let is_key = first > 0 && (first..=last).contains(&place) && (place - first) % step.max(1) == 0;
        args.push(if is_key { pick(source, KEYS).to_vec() } else { argument(source) });
    }
    args
}

/// An argument in short, for a message.
pub fn shown(arg: &[u8]) -> String {
    let text = arg[..arg.len().min(40)].escape_ascii().to_string();
    if arg.len() > 40 { format!("{text}… ({} bytes)", arg.len()) } else { text }
}

/// Commands that the test must not run: they wait for scripts' own limits, or change the limits.
const LEFT_OUT: &[&[u8]] = &[b"eval", b"eval_ro", b"evalsha", b"evalsha_ro", b"script", b"config", b"monitor"];

/// The table, from the reply to `COMMAND` in RESP2.
pub fn parse_table(reply: &[u8]) -> Vec<Command> {
    let mut lines = reply.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut table = Vec::new();
    while let Some(line) = lines.next() {
        // The head of a command, or one that is nested in another as its subcommand.
        if !line.starts_with(b"*10") {
            continue;
        }
        lines.next();
        let name = lines.next().unwrap_or_default().to_vec();
        let mut number = || {
            let line = lines.next().unwrap_or_default();
            std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix(':')?.parse().ok())
        };
        let Some(arity) = number() else { continue };
        let flags = lines.next().unwrap_or_default();
        let flags: usize = std::str::from_utf8(&flags[1..]).unwrap_or("0").parse().unwrap_or(0);
        for _ in 0..flags {
            lines.next();
        }
        let mut number = || {
            let line = lines.next().unwrap_or_default();
            std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix(':')?.parse().ok()).unwrap_or(0)
        };
        let keys = [number(), number(), number()];
        if !LEFT_OUT.contains(&&*name) && !name.contains(&b'|') {
            table.push(Command { name, arity, keys });
        }
    }
    table
}
