//! What published advisories on Redis and Valkey describe does not happen here. SECURITY.md lists them; those
//! on Lua alone are in `hostile.lua`.

use std::time::Duration;

use headcount::store::{ClientSlot, Core, Endpoints, Options, Time};

use super::extreme;
use super::servers::Embedded;
use super::wire::{Connection, request};
use crate::support::ends;

#[path = "../../src/store/rdb/checksum.rs"]
mod checksum;

fn open(options: Options) -> Core {
    Core::open(options, Time::from_millis(1_700_000_000_000)).unwrap()
}

fn connect(core: &mut Core) -> ClientSlot {
    core.connect(Endpoints::in_process()).unwrap()
}

fn call(core: &mut Core, client: ClientSlot, args: &[&[u8]]) -> Vec<u8> {
    core.feed(client, &request(args));
    core.end_round();
    core.take_output(client)
}

/// A dump that was changed, as it is taken: with the checksum of what it holds now.
fn sealed(mut payload: Vec<u8>) -> Vec<u8> {
    payload.truncate(payload.len() - 8);
    let sum = checksum::checksum(&payload).to_le_bytes();
    payload.extend(sum);
    payload
}

/// What a bulk reply holds.
fn bulk(reply: &[u8]) -> Vec<u8> {
    let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    reply[start..reply.len() - 2].to_vec()
}

#[test]
fn a_pattern_that_would_take_long_is_given_up() {
    ends("all patterns are looked through", Duration::from_secs(60), || {
        let mut core = open(Options::default());
        let client = connect(&mut core);
        let (key, stars) = (vec![b'a'; 100_000], b"*a".repeat(50_000));
        assert_eq!(call(&mut core, client, &[b"SET", &key, b"x"]), b"+OK\r\n");
        for pattern in [&[&*stars, b"b"].concat(), &[&*stars, b"?[^a]"].concat(), &b"[".repeat(100_000)] {
            assert_eq!(call(&mut core, client, &[b"KEYS", pattern]), b"*0\r\n");
            assert_eq!(call(&mut core, client, &[b"SCAN", b"0", b"MATCH", pattern]), b"*2\r\n$1\r\n0\r\n*0\r\n");
            call(&mut core, client, &[b"CONFIG", b"GET", pattern]);
            let listener = connect(&mut core);
            call(&mut core, listener, &[b"PSUBSCRIBE", pattern]);
            assert_eq!(call(&mut core, client, &[b"PUBLISH", &key, b"x"]), b":0\r\n");
        }
    });
}

#[test]
fn whoever_has_shown_no_password_and_reads_nothing_is_not_answered_without_end() {
    let mut core = open(Options { password: Some("secret".to_owned()), ..Options::default() });
    let stranger = connect(&mut core);
    let piece = b"GET x\r\n".repeat(1000);
    let mut pieces = 0;
    while core.is_reading(stranger) {
        core.feed(stranger, &piece);
        core.end_round();
        assert!(core.output(stranger).len() < 16 << 20);
        pieces += 1;
        assert!(pieces < 10_000, "it is read for ever");
    }
}

#[test]
fn a_hyperloglog_that_was_made_up_is_an_error() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    let head = [&b"HYLL\x01\0\0\0"[..], &[0, 0, 0, 0, 0, 0, 0, 0x80]].concat();
    // Runs that go far beyond the last register, and values in every form behind them.
    let runs = [
        b"\x7f\xff".repeat(1 << 17),
        b"\xff".repeat(30_000),
        b"\x3f".repeat(70_000),
        b"\x7f\xff\0".to_vec(),
        Vec::new(),
    ];
    for (run, value) in runs.iter().flat_map(|run| [&b""[..], b"\xff", b"\x7f", b"\x80"].map(|value| (run, value))) {
        let made_up = [&*head, run, value].concat();
        for command in [&[&b"PFADD"[..], b"h", b"x"][..], &[b"PFCOUNT", b"h"], &[b"PFMERGE", b"to", b"h", b"h"]] {
            call(&mut core, client, &[b"DEL", b"to"]);
            call(&mut core, client, &[b"SET", b"h", &made_up]);
            let reply = call(&mut core, client, command);
            // Whoever adds looks no further than the register.
            let fine = reply.starts_with(b"-INVALIDOBJ") || command[0] == b"PFADD" && reply.starts_with(b":");
            assert!(fine, "{} bytes: {}", made_up.len(), reply.escape_ascii());
        }
    }
}

/// Scripts whose replies try to be more than one.
const TWO_REPLIES: &[&str] = &[
    r"return redis.error_reply('x\r\n+OK\r\n')",
    r"return redis.error_reply('\r\n$3\r\nfoo\r\n')",
    r"return redis.error_reply('\n')",
    r"return {err = 'My\r\n:1\r\n'}",
    r"return {err = 'My\0\r\n:1\r\n'}",
    r"return redis.status_reply('a\r\n:1\r\n')",
    r"return {ok = 'a\r\n$-1\r\n'}",
    r"error('x\r\n+y\r\n')",
    r"error({err = 'x\r\n+y\r\n'})",
    r"return redis.call('no\r\n+such\r\n', '\r\n')",
    r"return redis.pcall('no\r\n+such\r\n')",
    r"return {redis.pcall('no\r\n+such\r\n'), redis.error_reply('\r\n+x\r\n'), {ok = '\r\n+x\r\n'}}",
    r"redis.setresp(3) return {big_number = '1\r\n+x\r\n'}",
    r"redis.setresp(3) return {verbatim_string = {format = 't\r\n', string = 'x\r\n+y\r\n'}}",
    r"redis.setresp(3) return {double = '1\r\n+x\r\n'}",
    r"redis.setresp(3) return {map = {['a\r\n'] = {ok = '\r\n+x\r\n'}}}",
    r"return loadstring('\r\n+x\r\n')()",
    r"local f = loadstring('error()', '@x\r\n+y\r\n') f()",
];

#[test]
fn no_text_within_a_reply_ends_it() {
    let store = Embedded::start();
    for protocol in ["2", "3"] {
        let mut client = Connection::open(store.address);
        client.call(&["HELLO", protocol]);
        let mut is_one = |args: &[&str]| {
            let reply = client.call(args);
            assert_eq!(client.call(&["ECHO", "mark"]).text(), "mark", "after {args:?}: {reply:?}");
        };
        for script in TWO_REPLIES {
            is_one(&["EVAL", script, "0"]);
        }
        let injected = "x\r\n+OK\r\n";
        for command in [
            &[injected][..],
            &["GET", injected],
            &["OBJECT", injected],
            &["CONFIG", "SET", injected, injected],
            &["CONFIG", "GET", injected],
            &["CLIENT", injected],
            &["CLIENT", "SETNAME", injected],
            &["CLIENT", "KILL", injected],
            &["COMMAND", "GETKEYS", injected],
            &["COMMAND", "INFO", injected],
            &["EVALSHA", injected, "0"],
            &["EVAL", injected, "0"],
            &["SCRIPT", injected],
            &["AUTH", injected, injected],
            &["HELLO", "3", "SETNAME", injected],
            &["INCRBYFLOAT", "n", injected],
            &["XADD", "s", injected, "f", "v"],
            &["SORT", "l", "BY", injected],
            &["RESTORE", "k", "0", injected],
            &["GEOADD", "g", injected, "1", "m"],
            &["LATENCY", injected],
            &["MEMORY", injected],
            &["ACL", injected],
            &["FUNCTION", injected],
        ] {
            is_one(command);
        }
    }
}

#[test]
fn a_client_that_is_closed_while_it_is_served_takes_nobody_with_it() {
    let mut core = open(Options { max_client_memory: 2 << 20, ..Options::default() });
    for round in 0..50 {
        let writer = connect(&mut core);
        let waiting: Vec<ClientSlot> = (0..8).map(|_| connect(&mut core)).collect();
        for (nth, client) in waiting.iter().enumerate() {
            let command: &[&[u8]] = match nth % 4 {
                0 => &[b"BLPOP", b"l", b"0"],
                1 => &[b"BLMOVE", b"l", b"l2", b"LEFT", b"LEFT", b"0"],
                2 => &[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"],
                _ => &[b"BZPOPMIN", b"z", b"0"],
            };
            core.feed(*client, &request(command));
            // What it sends meanwhile weighs, so that it is the heaviest when the limit is met.
            core.feed(*client, &request(&[&b"ECHO"[..], &vec![b'x'; 60_000]]));
        }
        let large = vec![b'y'; if round % 2 == 0 { 1 << 20 } else { 10 }];
        let kill: &[&[u8]] = &[b"CLIENT", b"KILL", b"TYPE", b"normal"];
        let mut transaction: Vec<&[&[u8]]> = vec![
            &[b"MULTI"],
            &[b"RPUSH", b"l", b"a", b"b", b"c"],
            &[b"DEL", b"l"],
            &[b"SET", b"l2", b"no list"],
            &[b"XADD", b"s", b"*", b"f", b"v"],
            &[b"ZADD", b"z", b"1", b"m", b"2", b"n"],
        ];
        let push: &[&[u8]] = &[b"RPUSH", b"l", &large, &large, &large, &large];
        transaction.extend([push, if round % 3 == 0 { kill } else { &[b"PING"] }, &[b"EXEC"]]);
        for command in transaction {
            core.feed(writer, &request(command));
        }
        core.end_round();
        for client in waiting.into_iter().chain([writer]) {
            core.take_output(client);
            core.close(client);
        }
        let other = connect(&mut core);
        assert_eq!(call(&mut core, other, &[b"FLUSHALL"]), b"+OK\r\n");
        core.close(other);
    }
}

#[test]
fn an_entry_that_two_consumers_are_said_to_have_is_no_stream() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    for line in [
        "XADD s 1-0 f v",
        "XADD s 2-0 f v",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g ann COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g bob COUNT 1 STREAMS s >",
    ] {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert!(!call(&mut core, client, &args).starts_with(b"-"), "{line}");
    }
    let dump = bulk(&call(&mut core, client, &[b"DUMP", b"s"]));
    let id = |ms: u64| [ms.to_be_bytes(), [0; 8]].concat();
    let places: Vec<usize> = (0..dump.len() - 16).filter(|at| dump[*at..at + 16] == id(2)).collect();
    // In the group's own list, and in that of whoever has it.
    assert!(places.len() >= 2, "{places:?}");
    for place in places {
        let mut shared = dump.clone();
        shared[place..place + 16].copy_from_slice(&id(1));
        let reply = call(&mut core, client, &[b"RESTORE", b"t", b"0", &sealed(shared)]);
        assert_eq!(reply.escape_ascii().to_string(), "-ERR Bad data format\\r\\n");
    }
    assert_eq!(call(&mut core, client, &[b"RESTORE", b"t", b"0", &sealed(dump)]), b"+OK\r\n");
}

#[test]
fn a_dump_that_was_damaged_breaks_no_command_that_meets_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = number("TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let rounds = number("TEST_ROUNDS").unwrap_or(5_000) as usize;
    println!("damaged dumps: TEST_SEED={seed} repeats this run; TEST_ROUNDS sets how many");
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut core = open(Options { max_memory: 64 << 20, max_bulk: 1 << 20, ..Options::default() });
    let mut client = connect(&mut core);
    let table = extreme::parse_table(&call(&mut core, client, &[b"COMMAND"]));
    let keys = [&b"s"[..], b"n", b"l", b"set", b"ints", b"h", b"z", b"x", b"p"];
    let mut taken = 0;
    for round in 0..rounds {
        if round % 100 == 0 {
            for command in extreme::SETUP {
                core.feed(client, format!("{command}\r\n").as_bytes());
            }
            core.feed(client, b"XGROUP CREATE x g 0\r\nXREADGROUP GROUP g ann STREAMS x >\r\n");
            core.end_round();
            core.take_output(client);
        }
        let key = keys[random.usize(0..keys.len())];
        let dump = call(&mut core, client, &[b"DUMP", key]);
        if dump.starts_with(b"$-1") || dump.starts_with(b"-") {
            continue;
        }
        let mut dump = bulk(&dump);
        for _ in 0..random.usize(1..4) {
            // Not in the version or the checksum at its end.
            let at = random.usize(0..dump.len() - 10);
            dump[at] = if random.bool() { random.u8(..) } else { dump[at] ^ 1 << random.u8(0..8) };
        }
        let reply = call(&mut core, client, &[b"RESTORE", key, b"0", &sealed(dump), b"REPLACE"]);
        taken += usize::from(reply == b"+OK\r\n");
        for _ in 0..5 {
            core.feed(client, &request(&extreme::draw(&table, &mut random)));
        }
        core.close(client);
        client = connect(&mut core);
    }
    assert!(taken * 20 > rounds, "{taken} of {rounds} were taken, so little was tried");
}

#[test]
fn an_empty_request_leaves_nothing_behind_for_the_next() {
    let mut core = open(Options::default());
    for empty in [&b"*0\r\n"[..], b"*-1\r\n", b"\r\n", b"\n", b"  \r\n", b"*0\r\n*0\r\n\r\n"] {
        for next in [&b"*1\r\n$4\r\nPING\r\n"[..], b"PING\r\n"] {
            let client = connect(&mut core);
            for byte in [empty, next].concat() {
                core.feed(client, &[byte]);
            }
            core.end_round();
            assert_eq!(core.take_output(client), b"+PONG\r\n", "{} {}", empty.escape_ascii(), next.escape_ascii());
            core.close(client);
        }
    }
}

#[test]
fn the_keys_of_a_command_are_looked_for_only_among_its_arguments() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    let numbers = ["0", "-1", "3", "9223372036854775807", "-9223372036854775808", "4294967297", "x", ""];
    for number in numbers {
        for line in [
            format!("EVAL x {number} a"),
            format!("EVALSHA x {number} a"),
            format!("ZUNIONSTORE to {number} a"),
            format!("ZINTER {number} a"),
            format!("ZMPOP {number} a MIN"),
            format!("BLMPOP 0 {number} a LEFT"),
            format!("SINTERCARD {number} a"),
            format!("XREAD COUNT {number} STREAMS"),
            format!("XREADGROUP GROUP g c STREAMS {number}"),
            format!("SORT a BY {number} STORE"),
            format!("GEORADIUS a 1 1 1 m STORE {number}"),
            format!("BITOP AND {number}"),
            format!("GET {number}"),
        ] {
            for command in ["GETKEYS", "GETKEYSANDFLAGS"] {
                let mut args = vec![&b"COMMAND"[..], command.as_bytes()];
                args.extend(line.split(' ').map(str::as_bytes));
                let reply = call(&mut core, client, &args);
                assert!(matches!(reply[0], b'*' | b'-'), "{line}: {}", reply.escape_ascii());
            }
        }
    }
}

#[test]
fn an_index_is_never_cut_to_fewer_bits() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    call(&mut core, client, &[b"RPUSH", b"l", b"a", b"b"]);
    for index in ["4294967296", "-4294967295", "4294967297", "9223372036854775807", "-9223372036854775808"] {
        assert_eq!(call(&mut core, client, &[b"LSET", b"l", index.as_bytes(), b"x"]), b"-ERR index out of range\r\n");
        assert_eq!(call(&mut core, client, &[b"LINDEX", b"l", index.as_bytes()]), b"$-1\r\n");
    }
    for offset in ["#9223372036854775807", "#288230376151711744", "9223372036854775807", "4294967296", "-1", "#-1"] {
        let reply = call(&mut core, client, &[b"BITFIELD", b"b", b"SET", b"u32", offset.as_bytes(), b"1"]);
        assert_eq!(reply, b"-ERR bit offset is not an integer or out of range\r\n", "{offset}");
    }
    assert_eq!(call(&mut core, client, &[b"LRANGE", b"l", b"0", b"-1"]), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n");
}
