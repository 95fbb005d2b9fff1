//! Every command with extreme and random arguments: no panic, no endless work, no reply without bound.

use headcount::store::{ClientSlot, Core, Endpoints, Options, Time};

use super::extreme::{self, Command};
use super::wire::request;

/// No reply to arguments as small as these has a reason to be longer.
const LONGEST_REPLY: usize = 256 << 20;
/// What keys and values may take.
const MEMORY: usize = 64 << 20;

fn open() -> Core {
    let options = Options { max_memory: MEMORY, max_bulk: 1 << 20, max_client_memory: 512 << 20, ..Options::default() };
    Core::open(options, Time::from_millis(1_700_000_000_000)).unwrap()
}

fn connect(core: &mut Core) -> ClientSlot {
    core.connect(Endpoints::in_process()).unwrap()
}

fn commands(core: &mut Core) -> Vec<Command> {
    let client = connect(core);
    core.feed(client, b"COMMAND\r\n");
    core.end_round();
    extreme::parse_table(&core.take_output(client))
}

/// A number in an `INFO` section.
fn info(core: &mut Core, section: &str, field: &str) -> usize {
    let client = connect(core);
    core.feed(client, format!("INFO {section}\r\n").as_bytes());
    core.end_round();
    let text = String::from_utf8(core.take_output(client)).unwrap();
    core.close(client);
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    value.parse().unwrap()
}

#[test]
fn no_argument_however_extreme_breaks_the_store_or_fills_it() {
    let seed = std::env::var("TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let rounds: usize = std::env::var("TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    println!("extreme arguments: TEST_SEED={seed} repeats this run; TEST_ROUNDS sets how many");
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut core = open();
    let table = commands(&mut core);
    let mut clients = [connect(&mut core), connect(&mut core)];
    let mut now = 1_700_000_000_000;
    for round in 0..rounds {
        if round % 20 == 0 {
            // Most get stuck sooner or later: in a wait, a subscription, a transaction.
            for client in &mut clients {
                core.close(*client);
                *client = connect(&mut core);
            }
            for command in extreme::SETUP.iter().filter(|_| round % 500 == 0) {
                core.feed(clients[0], format!("{command}\r\n").as_bytes());
            }
        }
        let nth = random.usize(0..clients.len());
        let args = extreme::draw(&table, &mut random);
        core.feed(clients[nth], &request(&args));
        core.end_round();
        let shown: Vec<String> = args.iter().take(12).map(|arg| extreme::shown(arg)).collect();
        for client in &mut clients {
            let reply = core.output(*client).len();
            assert!(reply < LONGEST_REPLY, "{shown:?} got {reply} bytes");
            // As a socket does that takes what it has room for.
            core.note_sent(*client, if random.u8(..) == 0 { reply / 2 } else { reply });
            if core.is_finished(*client) {
                core.close(*client);
                *client = connect(&mut core);
            }
        }
        if round % 100 == 99 {
            now += random.u64(0..2000);
            core.set_time(Time::from_millis(now));
            let used = info(&mut core, "memory", "used_memory");
            assert!(used < 2 * MEMORY, "{used} bytes after {shown:?}");
        }
    }
}
