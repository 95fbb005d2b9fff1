//! The store's core without sockets, on a time that the test sets.

use headcount::store::{ClientSlot, Core, Credential, Endpoints, Options, Time};

use crate::support::ends;

fn open(options: Options) -> Core {
    Core::open(options, Time::from_millis(1_000_000)).unwrap()
}

fn connect(core: &mut Core) -> ClientSlot {
    core.connect(Endpoints::in_process()).unwrap()
}

/// Sends an inline request; what the client has got by the end of the round.
fn call(core: &mut Core, client: ClientSlot, request: &str) -> String {
    core.feed(client, format!("{request}\r\n").as_bytes());
    core.end_round();
    String::from_utf8(core.take_output(client)).unwrap()
}

#[test]
fn time_is_what_it_is_told_to_be_for_commands_and_for_scripts() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    core.set_time(Time::from_micros(12_345_000_678));
    assert_eq!(call(&mut core, client, "TIME"), "*2\r\n$5\r\n12345\r\n$3\r\n678\r\n");
    let script = "EVAL \"local t = redis.call('TIME') return t[1] .. ' ' .. t[2]\" 0";
    assert_eq!(call(&mut core, client, script), "$9\r\n12345 678\r\n");
}

#[test]
fn a_key_ends_when_its_time_comes_and_not_before() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    assert_eq!(call(&mut core, client, "SET k v PX 500"), "+OK\r\n");
    assert_eq!(core.next_time(), Some(Time::from_millis(1_000_500)));
    core.set_time(Time::from_millis(1_000_499));
    assert_eq!(call(&mut core, client, "PTTL k"), ":1\r\n");
    core.set_time(Time::from_millis(1_000_500));
    core.end_round();
    assert_eq!(core.next_time(), None);
    assert_eq!(call(&mut core, client, "DBSIZE"), ":0\r\n");
}

#[test]
fn a_client_that_waits_is_served_by_another_or_gives_up_in_time() {
    let mut core = open(Options::default());
    let (one, other) = (connect(&mut core), connect(&mut core));
    assert_eq!(call(&mut core, one, "BLPOP l 1"), "");
    assert_eq!(call(&mut core, other, "RPUSH l a"), ":1\r\n");
    assert_eq!(core.take_output(one), b"*2\r\n$1\r\nl\r\n$1\r\na\r\n");

    assert_eq!(call(&mut core, one, "BLPOP l 0.25"), "");
    assert_eq!(core.next_time(), Some(Time::from_millis(1_000_250)));
    core.set_time(Time::from_millis(1_000_250));
    core.end_round();
    assert_eq!(core.take_output(one), b"*-1\r\n");
}

#[test]
fn messages_go_to_those_who_are_named_as_scheduled() {
    let mut core = open(Options::default());
    let (one, other) = (connect(&mut core), connect(&mut core));
    call(&mut core, one, "SUBSCRIBE news");
    while core.next_scheduled().is_some() {}
    assert_eq!(call(&mut core, other, "PUBLISH news hi"), ":1\r\n");
    let named: Vec<ClientSlot> = std::iter::from_fn(|| core.next_scheduled()).collect();
    assert!(named.contains(&one), "{named:?}");
    assert_eq!(core.take_output(one), b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    for byte in b"*2\r\n$4\r\nECHO\r\n$2\r\nab\r\n" {
        assert_eq!(core.output(client), b"");
        core.feed(client, &[*byte]);
        core.end_round();
    }
    assert_eq!(core.take_output(client), b"$2\r\nab\r\n");
}

#[test]
fn a_restart_keeps_the_data_and_no_client() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    call(&mut core, client, "SET k v");
    let mut core = core.restart(Time::from_millis(2_000_000));
    assert!(!core.is_reading(client));
    let client = connect(&mut core);
    assert_eq!(call(&mut core, client, "GET k"), "$1\r\nv\r\n");
}

#[test]
fn a_client_that_quits_is_finished_once_it_has_its_answer() {
    let mut core = open(Options::default());
    let client = connect(&mut core);
    core.feed(client, b"QUIT\r\nPING\r\n");
    core.end_round();
    assert!(!core.is_finished(client));
    assert_eq!(core.take_output(client), b"+OK\r\n");
    assert!(core.is_finished(client));
    core.close(client);
    assert!(!core.is_finished(client));
}

#[test]
fn more_clients_than_allowed_are_told_so() {
    let mut core = open(Options { max_clients: 1, ..Options::default() });
    connect(&mut core);
    let refusal = core.connect(Endpoints::in_process()).unwrap_err();
    assert_eq!(refusal, b"-ERR max number of clients reached\r\n");
}

#[test]
fn what_clients_hold_together_is_bounded_and_the_heaviest_go_first() {
    let mut core = open(Options { max_client_memory: 4 << 20, ..Options::default() });
    let light = connect(&mut core);
    let heavy: Vec<ClientSlot> = (0..20).map(|_| connect(&mut core)).collect();
    for client in &heavy {
        // A command that never ends.
        core.feed(*client, format!("*2\r\n$3\r\nGET\r\n$1000000\r\n{}", "x".repeat(500_000)).as_bytes());
    }
    core.end_round();
    let dropped = heavy.iter().filter(|client| core.is_finished(**client)).count();
    assert!((10..20).contains(&dropped), "{dropped} were dropped");
    assert_eq!(call(&mut core, light, "PING"), "+PONG\r\n");
}

#[test]
fn a_subscriber_that_fetches_nothing_cannot_fill_the_memory_with_others_help() {
    let mut core = open(Options { max_client_memory: 8 << 20, ..Options::default() });
    let listeners: Vec<ClientSlot> = (0..50).map(|_| connect(&mut core)).collect();
    for client in &listeners {
        call(&mut core, *client, "SUBSCRIBE news");
    }
    let sender = connect(&mut core);
    core.feed(sender, &super::wire::request(&[&b"PUBLISH"[..], b"news", &vec![b'x'; 1 << 20]]));
    core.end_round();
    let held: usize = listeners.iter().map(|client| core.output(*client).len()).sum();
    assert!(held <= 8 << 20, "{held} bytes wait");
}

#[test]
fn no_setting_goes_beyond_what_the_process_can_bear() {
    let mut core = open(Options { client_ceiling: 100, max_clients: 50, ..Options::default() });
    let client = connect(&mut core);
    for (name, value) in [
        ("maxclients", "101"),
        ("maxclients", "0"),
        ("maxclients", "9223372036854775807"),
        ("proto-max-bulk-len", "1"),
        ("proto-max-bulk-len", "9223372036854775807"),
        ("client-query-buffer-limit", "1"),
        ("client-query-buffer-limit", "9223372036854775807"),
    ] {
        let reply = call(&mut core, client, &format!("CONFIG SET {name} {value}"));
        assert!(reply.starts_with("-ERR CONFIG SET failed"), "{name} {value}: {reply}");
    }
    assert_eq!(call(&mut core, client, "CONFIG SET maxclients 100"), "+OK\r\n");
}

#[test]
fn a_string_grows_no_further_than_there_is_memory_for() {
    let mut core = open(Options { max_memory: 1 << 20, ..Options::default() });
    let client = connect(&mut core);
    assert!(call(&mut core, client, "SETRANGE k 50000000 x").starts_with("-OOM"));
    assert!(call(&mut core, client, "SETRANGE k 9223372036854775807 x").starts_with("-ERR string exceeds"));
    assert_eq!(call(&mut core, client, "SETRANGE k 500000 x"), ":500001\r\n");
}

#[test]
fn twenty_thousand_that_wait_for_one_key_cost_one_push_no_more_than_one() {
    // A step for each of those who wait, at each push, would take minutes.
    ends("all are served", std::time::Duration::from_secs(60), || {
        let mut core = open(Options { max_clients: 30_000, ..Options::default() });
        let waiting: Vec<ClientSlot> = (0..20_000).map(|_| connect(&mut core)).collect();
        for client in &waiting {
            core.feed(*client, b"BLPOP l 0\r\n");
        }
        let writer = connect(&mut core);
        for client in &waiting {
            // One of another type is no reason to wake anybody.
            assert_eq!(call(&mut core, writer, "SET l x"), "+OK\r\n");
            assert_eq!(call(&mut core, writer, "DEL l"), ":1\r\n");
            assert_eq!(call(&mut core, writer, "RPUSH l a"), ":1\r\n");
            assert_eq!(core.take_output(*client), b"*2\r\n$1\r\nl\r\n$1\r\na\r\n");
        }
    });
}

fn credential() -> Credential {
    Credential { user: "node".to_owned(), password: "own".to_owned() }
}

#[test]
fn this_process_gets_in_whatever_the_password_and_however_many_others_there_are() {
    let options = Options { max_clients: 2, own_credential: Some(credential()), ..Options::default() };
    let mut core = open(options);
    let other = connect(&mut core);
    assert_eq!(call(&mut core, other, "CONFIG SET requirepass secret"), "+OK\r\n");
    connect(&mut core);
    for _ in 0..3 {
        // Others hold on to every place that there is and want more.
        let pushing: Vec<ClientSlot> = (0..50).map(|_| connect(&mut core)).collect();
        assert!(call(&mut core, pushing[49], "PING").starts_with("-ERR max number of clients"));
        assert!(core.is_finished(pushing[49]) && core.is_finished(pushing[0]));
        let own = connect(&mut core);
        assert_eq!(call(&mut core, own, "AUTH node own"), "+OK\r\n");
        assert_eq!(call(&mut core, own, "SET k v"), "+OK\r\n");
        assert!(call(&mut core, other, "CLIENT KILL TYPE normal SKIPME yes").starts_with(':'));
        for client in pushing.into_iter().chain([own]) {
            core.close(client);
        }
    }
}

#[test]
fn the_count_is_kept_when_there_is_no_memory_for_others() {
    let options = Options {
        max_memory: 1000,
        own_credential: Some(credential()),
        reserved_keys: Some(b"headcount:".to_vec()),
        ..Options::default()
    };
    let mut core = open(options);
    let (own, other) = (connect(&mut core), connect(&mut core));
    assert_eq!(call(&mut core, own, "AUTH node own"), "+OK\r\n");
    assert_eq!(call(&mut core, other, &format!("SET big {}", "x".repeat(2000))), "+OK\r\n");
    assert!(call(&mut core, other, "SET k v").starts_with("-OOM"));
    let script = "EVAL \"return redis.call('incr', KEYS[1])\" 2";
    assert!(call(&mut core, other, &format!("{script} total other")).contains("OOM"));
    assert_eq!(call(&mut core, other, &format!("{script} total headcount:v1:nodes")), ":1\r\n");
    assert_eq!(call(&mut core, own, &format!("{script} total other")), ":2\r\n");
}

#[test]
fn wrong_passwords_cost_time_and_a_right_one_does_not() {
    let mut core = open(Options { password: Some("secret".to_owned()), ..Options::default() });
    let clients: Vec<ClientSlot> = (0..20).map(|_| connect(&mut core)).collect();
    let answered = |core: &mut Core| {
        for client in &clients {
            core.feed(*client, b"AUTH wrong\r\nPING\r\n");
        }
        core.end_round();
        std::iter::from_fn(|| core.next_scheduled()).count()
    };
    assert_eq!(answered(&mut core), 3);
    let right = connect(&mut core);
    assert_eq!(call(&mut core, right, "AUTH secret"), "+OK\r\n");
    while core.next_scheduled().is_some() {}
    // The others get their answers, one after the other, and are served on.
    let mut now = 1_000_000;
    let mut late = 0;
    while let Some(time) = core.next_time() {
        assert!(time.millis() > now, "no progress at {now}");
        now = time.millis();
        core.set_time(time);
        core.end_round();
        while let Some(client) = core.next_scheduled() {
            late += 1;
            let answer = core.take_output(client);
            assert!(answer.starts_with(b"-WRONGPASS") && answer.ends_with(b"Authentication required.\r\n"));
        }
    }
    assert_eq!((late, now), (17, 1_000_500));
}
