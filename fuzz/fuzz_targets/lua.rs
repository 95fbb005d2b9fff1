//! Lua bodies, by a grammar or as the fuzzer's own bytes, as scripts: no crash, no script that outlives
//! its time, and no trace in the world of the scripts that follow.
#![no_main]

use std::time::{Duration, Instant};

use headcount::store::{ClientSlot, Core, Endpoints, Options, Time};
use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../tests/store_contract/extreme.rs"]
mod extreme;
#[path = "../../tests/store_contract/lua_grammar.rs"]
mod lua_grammar;

use extreme::Source;

/// The fuzzer's bytes, as choices.
struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn below(&mut self, end: usize) -> usize {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(byte) % end
    }
}

/// How long a script may run here.
const LIMIT: u64 = 50;
/// How long it may take at most until the store goes on, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

fn eval(core: &mut Core, client: ClientSlot, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("*3\r\n$4\r\nEVAL\r\n${}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(b"\r\n$1\r\n0\r\n");
    core.feed(client, &bytes);
    core.end_round();
    core.take_output(client)
}

/// What every script must find as the one before it did.
const WORLD: &[u8] = b"local n = 0 for _, lib in pairs({string, table, math, redis, cjson, coroutine, _G}) do \
    for k, v in pairs(lib) do n = n + 1 end end \
    return tostring(('a'):upper() == 'A' and type(redis.call) == 'function' and rawget(_G, 'x') == nil) .. n";

thread_local! {
    static STORE: std::cell::RefCell<Option<(Core, Vec<u8>)>> = const { std::cell::RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    let body = if kind % 8 == 0 { rest.to_vec() } else { lua_grammar::body(&mut Bytes(rest)).into_bytes() };
    STORE.with_borrow_mut(|store| {
        let (core, world) = store.get_or_insert_with(|| {
            let options = Options {
                script_time: LIMIT,
                max_query_buffer: 4 << 20,
                max_bulk: 4 << 20,
                max_memory: 64 << 20,
                ..Options::default()
            };
            let mut core = Core::open(options, Time::from_millis(1_000)).unwrap();
            let client = core.connect(Endpoints::in_process()).unwrap();
            let world = eval(&mut core, client, WORLD);
            core.close(client);
            (core, world)
        });
        let client = core.connect(Endpoints::in_process()).unwrap();
        let asked = Instant::now();
        let reply = eval(core, client, &body);
        assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
        assert!(!reply.is_empty());
        let ended = b"-ERR Script ended";
        // On a machine with other things to do even a short one may run out of its time.
        let after = (0..50).map(|_| eval(core, client, WORLD)).find(|reply| !reply.starts_with(ended));
        assert_eq!(after.as_ref(), Some(&*world));
        core.feed(client, b"FLUSHALL\r\n");
        core.end_round();
        core.close(client);
    });
});
