//! Scripts by a grammar, at random: none ends the store, outlives its time, or is seen by the next.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use headcount::store::{ClientSlot, Core, Endpoints, Options, Time};

use super::lua_grammar;
use super::wire::request;

/// How long a script may run here, in milliseconds.
const LIMIT: u64 = 50;
/// A script that is not over by then has outlived its time, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What every script must find as the one before it did.
const WORLD: &str = "local n = 0 \
    for _, lib in pairs({string, table, math, redis, cjson, cmsgpack, struct, bit, coroutine, _G}) do \
    for k, v in pairs(lib) do n = n + 1 end end \
    return tostring(('a'):upper() == 'A' and type(redis.call) == 'function' and rawget(_G, 'x') == nil) .. n";

fn eval(core: &mut Core, client: ClientSlot, body: &str) -> Vec<u8> {
    core.feed(client, &request(&["EVAL", body, "0"]));
    core.end_round();
    core.take_output(client)
}

/// Runs so many scripts. Each is told before it runs.
fn run(seed: u64, rounds: usize, told: &Sender<String>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let options = Options {
        script_time: LIMIT,
        max_query_buffer: 4 << 20,
        max_bulk: 4 << 20,
        max_memory: 64 << 20,
        ..Options::default()
    };
    let mut core = Core::open(options, Time::from_millis(1_700_000_000_000)).unwrap();
    let first = core.connect(Endpoints::in_process()).unwrap();
    let mut looks = (0..50).map(|_| eval(&mut core, first, WORLD));
    let world = looks.find(|reply| reply.starts_with(b"$")).unwrap();
    drop(looks);
    for round in 0..rounds {
        let body = lua_grammar::body(&mut random);
        if let Some(path) = std::env::var_os("TEST_SHOW") {
            std::fs::write(path, &body).unwrap();
        }
        told.send(format!("round {round}:\n{body}")).unwrap();
        let client = core.connect(Endpoints::in_process()).unwrap();
        let reply = eval(&mut core, client, &body);
        assert!(!reply.is_empty(), "no reply in round {round}:\n{body}");
        core.close(client);
        let client = core.connect(Endpoints::in_process()).unwrap();
        let ended = b"-ERR Script ended";
        // On a machine with other things to do even a short one may run out of its time.
        let after =
            (0..50).map(|_| eval(&mut core, client, WORLD)).find(|reply| !reply.starts_with(ended)).unwrap_or_default();
        assert_eq!(after.escape_ascii().to_string(), world.escape_ascii().to_string(), "round {round}:\n{body}");
        core.feed(client, b"FLUSHALL\r\n");
        core.end_round();
        core.close(client);
    }
}

#[test]
fn no_script_that_the_grammar_makes_ends_the_store_or_is_seen_by_the_next() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = number("TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let rounds = number("TEST_ROUNDS").unwrap_or(300) as usize;
    println!("scripts at random: TEST_SEED={seed} repeats this run; TEST_ROUNDS sets how many");
    // Scripts nest deeper than the stack of a test's thread allows; the store's own is as large as this.
    let thread = std::thread::Builder::new().stack_size(32 << 20);
    let (told, scripts) = channel();
    let running = thread.spawn(move || run(seed, rounds, &told)).unwrap();
    let mut script = String::new();
    loop {
        match scripts.recv_timeout(PATIENCE) {
            Ok(next) => script = next,
            Err(RecvTimeoutError::Timeout) => panic!("no end of {script}"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    running.join().unwrap();
}
