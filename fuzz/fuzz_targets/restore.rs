//! `RESTORE` of any payload whose checksum is right, and commands on what it makes: no panic, and nothing
//! beyond the limits.
#![no_main]

use std::sync::OnceLock;

use headcount::store::{ClientSlot, Core, Endpoints, Options, Time};
use libfuzzer_sys::fuzz_target;

#[path = "../../src/store/rdb/checksum.rs"]
mod checksum;
#[allow(dead_code)]
#[path = "../../tests/store_contract/extreme.rs"]
mod extreme;

use extreme::{Command, Source};

/// The fuzzer's bytes, as choices.
struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn below(&mut self, end: usize) -> usize {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(byte) % end
    }
}

/// The names that the commands look for, by what is to be there.
const KEYS: [&[u8]; 9] = [b"s", b"n", b"l", b"set", b"ints", b"h", b"z", b"x", b"p"];

fn call(core: &mut Core, client: ClientSlot, args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    core.feed(client, &bytes);
    core.end_round();
    core.take_output(client)
}

fuzz_target!(|data: &[u8]| {
    static TABLE: OnceLock<Vec<Command>> = OnceLock::new();
    let [key, length, rest @ ..] = data else { return };
    let (body, choices) = rest.split_at(rest.len().min(usize::from(*length) * 4));
    fastrand::seed(7);
    let options = Options { max_memory: 16 << 20, max_bulk: 1 << 20, ..Options::default() };
    let Ok(mut core) = Core::open(options, Time::from_millis(1_700_000_000_000)) else { return };
    let Ok(client) = core.connect(Endpoints::in_process()) else { return };
    let table = TABLE.get_or_init(|| extreme::parse_table(&call(&mut core, client, &[b"COMMAND".to_vec()])));
    let key = KEYS[usize::from(*key) % KEYS.len()].to_vec();
    // A version that is taken.
    let mut payload = [body, &[10, 0]].concat();
    payload.extend(checksum::checksum(&payload).to_le_bytes());
    let reply = call(&mut core, client, &[b"RESTORE".to_vec(), key.clone(), b"0".to_vec(), payload]);
    if reply != b"+OK\r\n" {
        return;
    }
    // What was taken can be told again.
    let again = call(&mut core, client, &[b"DUMP".to_vec(), key.clone()]);
    assert!(again.starts_with(b"$") && !again.starts_with(b"$-1"), "{}", again.escape_ascii());
    let mut source = Bytes(choices);
    while !source.0.is_empty() {
        assert!(call(&mut core, client, &extreme::draw(table, &mut source)).len() < 256 << 20);
        if core.is_finished(client) {
            return;
        }
    }
});
