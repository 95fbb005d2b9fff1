//! Keys go when memory is short, as the policy says; never those of the count.

use std::net::SocketAddr;

use headcount::store::{ClientSlot, Core, Endpoints, EvictionPolicy, Options, Time};

use super::log::Folder;
use super::servers::{Embedded, Redis};
use super::wire::{Connection, Value, request};

const MEMORY: usize = 100_000;

/// A store on virtual time, where a second passes with each command.
struct Store {
    core: Core,
    client: ClientSlot,
    seconds: u64,
}

impl Store {
    fn open(policy: &str) -> Self {
        fastrand::seed(7);
        let policy = EvictionPolicy::parse(policy).unwrap();
        let reserved_keys = Some(b"headcount:".to_vec());
        let options = Options { max_memory: MEMORY, policy, reserved_keys, ..Options::default() };
        let mut core = Core::open(options, Time::from_millis(1_700_000_000_000)).unwrap();
        let client = core.connect(Endpoints::in_process()).unwrap();
        Self { core, client, seconds: 0 }
    }

    fn call(&mut self, line: &str) -> String {
        self.seconds += 1;
        self.core.set_time(Time::from_millis(1_700_000_000_000 + self.seconds * 1000));
        self.core.feed(self.client, &request(&line.split(' ').collect::<Vec<_>>()));
        self.core.end_round();
        String::from_utf8(self.core.take_output(self.client)).unwrap()
    }

    /// Writes many keys, with a use of some key after each; how many writes were refused.
    fn fill(&mut self, write: impl Fn(usize) -> String, used: &str) -> usize {
        let mut refused = 0;
        for n in 0..4000 {
            refused += usize::from(self.call(&write(n)).starts_with("-OOM"));
            if !used.is_empty() {
                self.call(&format!("GET {used}"));
            }
        }
        refused
    }

    fn info(&mut self, field: &str) -> usize {
        let text = self.call("INFO");
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
        line.unwrap().trim().parse().unwrap()
    }
}

#[test]
fn what_is_used_stays_and_what_is_not_goes() {
    for policy in ["allkeys-lru", "allkeys-lfu"] {
        let mut store = Store::open(policy);
        store.call("SET hot x");
        assert_eq!(store.fill(|n| format!("SET key{n} value"), "hot"), 0, "{policy}");
        assert_eq!(store.call("GET hot"), "$1\r\nx\r\n", "{policy}");
        assert!(store.info("used_memory_dataset") <= MEMORY + 1000, "{policy}");
        assert!(store.info("evicted_keys") > 1000, "{policy}");
        if policy == "allkeys-lru" {
            assert_eq!(store.call("EXISTS key3999 key3998 key0 key1"), ":2\r\n");
        }
    }
}

#[test]
fn who_tracks_a_key_that_makes_room_for_a_command_is_told_before_the_answer() {
    let mut store = Store::open("volatile-random");
    store.call("HELLO 3");
    store.call("CLIENT TRACKING ON");
    store.call("SETEX known 10000 x");
    store.call("GET known");
    for name in ["large", "larger"] {
        let bits = MEMORY * 8 / 2;
        assert_eq!(store.call(&format!("SETBIT {name} {bits} 1")), ":0\r\n", "{name}: there was room");
    }
    let told = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$5\r\nknown\r\n";
    assert_eq!(store.call("GETBIT large 0"), format!("{told}:0\r\n"));
}

#[test]
fn only_keys_that_expire_go_where_the_policy_says_so() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        let mut store = Store::open(policy);
        for n in 0..200 {
            store.call(&format!("SET lasting{n} x"));
        }
        let write = |n| format!("SET key{n} value EX {}", 100_000 + n);
        assert_eq!(store.fill(write, ""), 0, "{policy}");
        let lasting: Vec<String> = (0..200).map(|n| format!("lasting{n}")).collect();
        assert_eq!(store.call(&format!("EXISTS {}", lasting.join(" "))), ":200\r\n", "{policy}");
        if policy == "volatile-ttl" {
            assert_eq!(store.call("EXISTS key3999 key3998 key0 key1"), ":2\r\n");
        }
        // When none of them is left, what needs memory is refused.
        assert!(store.fill(|n| format!("SET more{n} x"), "") > 1000, "{policy}");
        assert_eq!(store.call(&format!("EXISTS {}", lasting.join(" "))), ":200\r\n", "{policy}");
    }
}

#[test]
fn the_keys_of_the_count_never_go() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-random"] {
        let mut store = Store::open(policy);
        for line in [
            "SET room 5",
            "EXPIRE room 1000000",
            "SET headcount:v1:{room}:own 5",
            "HSET headcount:v1:{room}:tally node 5",
            "ZADD headcount:v1:nodes 1 node",
            "SADD headcount:v1:node:node room",
        ] {
            store.call(line);
        }
        store.fill(|n| format!("SET key{n} value EX 100000"), "");
        let keys = "room headcount:v1:{room}:own headcount:v1:{room}:tally headcount:v1:nodes headcount:v1:node:node";
        assert_eq!(store.call(&format!("EXISTS {keys}")), ":5\r\n", "{policy}");
    }
}

#[test]
fn without_a_policy_nothing_goes() {
    let mut store = Store::open("noeviction");
    assert!(store.fill(|n| format!("SET key{n} value"), "") > 1000);
    assert_eq!((store.info("evicted_keys"), store.call("EXISTS key0 key1")), (0, ":2\r\n".to_owned()));
}

#[test]
fn a_full_store_queues_nothing_and_discards_a_transaction_that_may_take_memory() {
    let mut store = Store::open("noeviction");
    store.call("SET key value");
    let (client, other) = (store.client, store.core.connect(Endpoints::in_process()).unwrap());
    let limit = |store: &mut Store, bytes: usize| {
        store.client = other;
        store.call(&format!("CONFIG SET maxmemory {bytes}"));
        store.client = client;
    };
    for (queued, outcome) in [("GET key", "*1\r\n$5\r\nvalue\r\n"), ("SET key other", "-EXECABORT")] {
        limit(&mut store, 0);
        store.call("MULTI");
        assert_eq!(store.call(queued), "+QUEUED\r\n");
        limit(&mut store, 1);
        let reply = store.call("EXEC");
        assert!(reply.starts_with(outcome) && reply.contains("OOM") == outcome.starts_with('-'), "{queued}: {reply}");
    }
    store.call("MULTI");
    assert!(store.call("GET key").starts_with("-OOM"));
    assert!(store.call("EXEC").starts_with("-EXECABORT"));
    assert_eq!(store.call("GET key"), "$5\r\nvalue\r\n");
}

#[test]
fn a_limit_that_is_lowered_by_much_is_reached_step_by_step() {
    let mut store = Store::open("allkeys-random");
    store.call("CONFIG SET maxmemory 0");
    store.fill(|n| format!("SET key{n} value"), "");
    store.call(&format!("CONFIG SET maxmemory {MEMORY}"));
    assert_eq!(store.call("SET another x"), "+OK\r\n");
    while store.core.next_time().is_some() {
        store.core.end_round();
    }
    assert!(store.info("used_memory_dataset") <= MEMORY);
}

#[test]
fn what_went_is_gone_after_a_restart_and_is_told() {
    let folder = Folder::new("eviction");
    let policy = EvictionPolicy::parse("allkeys-lru").unwrap();
    let options = Options { max_memory: MEMORY, policy, ..folder.options() };
    let store = Embedded::open(options.clone()).unwrap();
    let (mut client, mut listener) = (Connection::open(store.address), Connection::open(store.address));
    client.call(&["CONFIG", "SET", "notify-keyspace-events", "Ee"]);
    listener.call(&["SUBSCRIBE", "__keyevent@0__:evicted"]);
    for n in 0..2000 {
        assert_eq!(client.call(&["SET", &format!("key{n}"), "value"]).text(), "OK");
    }
    assert!(format!("{:?}", listener.read()).contains("$__keyevent@0__:evicted, $key"));
    let before = client.call(&["KEYS", "*"]).unordered();
    store.stop();
    let store = Embedded::reopen(&options);
    assert_eq!(Connection::open(store.address).call(&["KEYS", "*"]).unordered(), before);
}

/// Compares what is seen of both. For how long a key was idle is told in whole seconds, and one may begin anywhere: so
/// another try or two are for that, and what really differs does so each time.
fn same_at_some_second(seen: impl Fn(SocketAddr) -> Vec<String>) {
    let pairs = (0..3).map(|_| (seen(Embedded::start().address), seen(Redis::start().address)));
    let different: Vec<_> = pairs.take_while(|(ours, theirs)| ours != theirs).collect();
    assert!(different.len() < 3, "{different:#?}");
}

#[test]
fn policies_are_named_and_told_as_in_redis() {
    let seen = |address| {
        let mut client = Connection::open(address);
        client.call(&["SET", "k", "x"]);
        let lines = [
            "CONFIG SET maxmemory-policy lru",
            "OBJECT FREQ k",
            "CONFIG SET maxmemory-policy VOLATILE-LFU",
            "CONFIG GET maxmemory-policy",
            "OBJECT IDLETIME k",
            "SET new x",
            "OBJECT FREQ new",
            "OBJECT FREQ none",
            "CONFIG SET maxmemory-policy allkeys-random",
            "OBJECT FREQ new",
            "CONFIG SET maxmemory-policy noeviction",
            "SET idle x",
            "OBJECT IDLETIME idle",
        ];
        lines.map(|line| format!("{line}: {:?}", client.call(&line.split(' ').collect::<Vec<_>>())))
    };
    same_at_some_second(|address| seen(address).to_vec());
}

#[test]
fn a_restored_key_counts_as_used_as_the_command_says() {
    let seen = |address| {
        let mut client = Connection::open(address);
        client.call(&["SET", "k", "text"]);
        let Value::Text(_, payload) = client.call(&["DUMP", "k"]) else { panic!("k is not dumped") };
        let lines = [
            "RESTORE k 0 $ REPLACE IDLETIME 1000",
            "OBJECT IDLETIME k",
            "RESTORE k 0 $ REPLACE FREQ 7",
            "OBJECT IDLETIME k",
            "RESTORE k 0 $ REPLACE IDLETIME 5 IDLETIME 16777214",
            "OBJECT IDLETIME k",
            "RESTORE k 0 $ REPLACE IDLETIME 5 FREQ 7",
            "RESTORE k 0 $ REPLACE FREQ 5 IDLETIME 7",
            "RESTORE k 0 $ REPLACE IDLETIME -1",
            "RESTORE k 0 $ REPLACE IDLETIME x",
            "RESTORE k 0 $ REPLACE FREQ 256",
            "RESTORE k 0 $ REPLACE FREQ",
            "GET k",
            "OBJECT IDLETIME k",
            "CONFIG SET maxmemory-policy allkeys-lfu",
            "RESTORE k 0 $ REPLACE FREQ 100",
            "OBJECT FREQ k",
            "RESTORE k 0 $ REPLACE FREQ 255",
            "OBJECT FREQ k",
            "RESTORE k 0 $ REPLACE",
            "OBJECT FREQ k",
            "RESTORE k 0 $ REPLACE IDLETIME 100",
            "OBJECT FREQ k",
        ];
        lines.map(|line| {
            let args: Vec<&[u8]> =
                line.split(' ').map(|word| if word == "$" { &payload[..] } else { word.as_bytes() }).collect();
            format!("{line}: {:?}", client.call(&args))
        })
    };
    same_at_some_second(|address| seen(address).to_vec());
}

#[test]
fn keys_that_come_out_of_the_log_are_not_idle() {
    let folder = Folder::new("idle");
    let now = Time::from_millis(1_700_000_000_000);
    let mut core = Core::open(folder.options(), now).unwrap();
    let ask = |core: &mut Core, line: &str| {
        let client = core.connect(Endpoints::in_process()).unwrap();
        core.feed(client, line.as_bytes());
        core.end_round();
        String::from_utf8(core.take_output(client)).unwrap()
    };
    assert_eq!(ask(&mut core, "SET k x\r\n"), "+OK\r\n");
    drop(core);
    let mut core = Core::open(folder.options(), now).unwrap();
    assert_eq!(ask(&mut core, "OBJECT IDLETIME k\r\n"), ":0\r\n");
}
