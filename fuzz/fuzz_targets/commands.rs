//! Commands with extreme arguments, drawn by the fuzzer, against the store's core: no panic, no reply
//! and no data beyond the limits.
#![no_main]

use std::sync::OnceLock;

use headcount::store::{ClientSlot, Core, Endpoints, Options, Time};
use libfuzzer_sys::fuzz_target;

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
        if end <= 256 {
            return usize::from(byte) % end;
        }
        usize::from(byte) * 256 % end + self.below(256)
    }
}

fn run(core: &mut Core, client: ClientSlot, args: &[Vec<u8>]) -> usize {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    core.feed(client, &bytes);
    core.end_round();
    let length = core.output(client).len();
    core.note_sent(client, length);
    length
}

fuzz_target!(|data: &[u8]| {
    static TABLE: OnceLock<Vec<Command>> = OnceLock::new();
    fastrand::seed(7);
    let options = Options { max_memory: 16 << 20, max_bulk: 1 << 20, ..Options::default() };
    let Ok(mut core) = Core::open(options, Time::from_millis(1_700_000_000_000)) else { return };
    let Ok(mut client) = core.connect(Endpoints::in_process()) else { return };
    let table = TABLE.get_or_init(|| {
        core.feed(client, b"COMMAND\r\n");
        core.end_round();
        extreme::parse_table(&core.take_output(client))
    });
    for command in extreme::SETUP {
        core.feed(client, format!("{command}\r\n").as_bytes());
    }
    core.end_round();
    core.take_output(client);
    let mut source = Bytes(data);
    while !source.0.is_empty() {
        let args = extreme::draw(table, &mut source);
        assert!(run(&mut core, client, &args) < 256 << 20);
        if core.is_finished(client) || source.below(8) == 0 {
            core.close(client);
            let Ok(next) = core.connect(Endpoints::in_process()) else { return };
            client = next;
        }
    }
});
