//! A command that names very much is carried out in turns, between which others have theirs.

use headcount::store::{ClientSlot, Core, Endpoints, Options, Time};

const MANY: usize = 100_000;

fn store() -> (Core, ClientSlot, ClientSlot) {
    let mut core = Core::open(Options::default(), Time::from_millis(1_000_000)).unwrap();
    let mut connect = || core.connect(Endpoints::in_process()).unwrap();
    let (one, other) = (connect(), connect());
    (core, one, other)
}

fn request(words: &[String]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| out += &format!("${}\r\n{word}\r\n", word.len()));
    out.into_bytes()
}

fn naming(command: &str) -> Vec<u8> {
    request(&[command].into_iter().map(str::to_owned).chain((0..MANY).map(|n| format!("c{n}"))).collect::<Vec<_>>())
}

fn ask(core: &mut Core, client: ClientSlot, line: &str) -> String {
    core.feed(client, format!("{line}\r\n").as_bytes());
    String::from_utf8(core.take_output(client)).unwrap()
}

/// How many channels somebody listens to, as another client sees it.
fn channels(core: &mut Core, other: ClientSlot) -> usize {
    let info = ask(core, other, "INFO stats");
    let line = info.lines().find(|line| line.starts_with("pubsub_channels:")).unwrap();
    line["pubsub_channels:".len()..].parse().unwrap()
}

/// Ends rounds until nothing is left to be done; what one client has got meanwhile, and in how many rounds.
fn rounds(core: &mut Core, client: ClientSlot) -> (String, usize) {
    let (mut got, mut rounds) = (Vec::new(), 0);
    loop {
        got.extend(core.take_output(client));
        let due = core.next_time().is_some_and(|at| at <= Time::from_millis(1_000_000));
        if !due {
            return (String::from_utf8(got).unwrap(), rounds);
        }
        core.end_round();
        rounds += 1;
        assert!(rounds < 1000, "it never ends");
    }
}

#[test]
fn a_client_that_listens_to_very_many_channels_gets_all_answers_in_order_and_others_their_turns() {
    let (mut core, one, other) = store();
    core.feed(one, &[naming("SUBSCRIBE"), b"PING\r\n".to_vec()].concat());
    let first = channels(&mut core, other);
    assert!((1..10_000).contains(&first), "{first} in one turn");
    core.end_round();
    let second = channels(&mut core, other);
    assert!(second > first && second < 20_000, "{second} in two turns");
    let (got, _) = rounds(&mut core, one);
    let expected: String = (0..MANY)
        .map(|n| {
            let name = format!("c{n}");
            format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{name}\r\n:{}\r\n", name.len(), n + 1)
        })
        .collect();
    assert!(got.starts_with(&expected), "not every name was answered in its turn");
    assert_eq!(&got[expected.len()..], "*2\r\n$4\r\npong\r\n$0\r\n\r\n", "the next command waits for the last");
    core.feed(one, b"UNSUBSCRIBE\r\n");
    assert!(channels(&mut core, other) > MANY - 10_000);
    let (got, turns) = rounds(&mut core, one);
    assert!(turns > 10 && got.ends_with(":0\r\n") && got.matches("unsubscribe").count() == MANY);
    assert_eq!(channels(&mut core, other), 0);
    core.feed(one, &naming("UNSUBSCRIBE"));
    assert_eq!(rounds(&mut core, one).0.matches("unsubscribe").count(), MANY);
}

#[test]
fn a_client_that_does_not_fetch_the_answers_is_not_served_on() {
    let (mut core, one, other) = store();
    core.feed(one, &naming("SUBSCRIBE"));
    (0..200).for_each(|_| core.end_round());
    let listened = channels(&mut core, other);
    assert!(listened < MANY, "all answers wait for it");
    rounds(&mut core, one);
    assert_eq!(channels(&mut core, other), MANY);
}

#[test]
fn a_client_that_goes_leaves_its_channels_in_turns_and_nothing_behind() {
    let (mut core, one, other) = store();
    core.feed(one, &naming("SUBSCRIBE"));
    rounds(&mut core, one);
    core.close(one);
    let left = channels(&mut core, other);
    assert!(left > MANY - 10_000, "{left}");
    assert_eq!(ask(&mut core, other, &format!("PUBLISH c{} x", 0)), ":1\r\n", "until it is undone");
    core.close(one);
    let (_, turns) = rounds(&mut core, other);
    assert!(turns > 10, "{turns}");
    assert_eq!(channels(&mut core, other), 0);
    assert!(ask(&mut core, other, "INFO clients").contains("connected_clients:1\r\n"));
    // One that goes in the middle of it.
    let one = core.connect(Endpoints::in_process()).unwrap();
    core.feed(one, &naming("SUBSCRIBE"));
    core.end_round();
    core.close(one);
    rounds(&mut core, other);
    assert_eq!(channels(&mut core, other), 0);
}

#[test]
fn a_transaction_is_not_interrupted() {
    let (mut core, one, other) = store();
    core.feed(one, &[b"MULTI\r\n".to_vec(), naming("SUBSCRIBE"), b"EXEC\r\n".to_vec()].concat());
    assert_eq!(channels(&mut core, other), MANY);
    let (got, _) = rounds(&mut core, one);
    assert_eq!(got.matches("subscribe").count(), MANY);
}

#[test]
fn a_client_may_wait_for_many_keys_and_not_for_very_many() {
    let (mut core, one, other) = store();
    let keys = |n: usize| {
        let words = (0..n).map(|n| format!("k{n}")).chain(["0".to_owned()]);
        request(&["BLPOP".to_owned()].into_iter().chain(words).collect::<Vec<_>>())
    };
    core.feed(one, &keys(4096));
    assert_eq!(core.take_output(one), b"");
    assert_eq!(ask(&mut core, other, "RPUSH k4095 a"), ":1\r\n");
    assert_eq!(rounds(&mut core, one).0, "*2\r\n$5\r\nk4095\r\n$1\r\na\r\n");
    core.feed(one, &keys(100_000));
    let answer = rounds(&mut core, one).0;
    assert!(answer.starts_with("-ERR a client may not wait for so many keys"), "{answer}");
    ask(&mut core, other, "RPUSH k99999 b");
    core.feed(one, &keys(100_000));
    assert!(rounds(&mut core, one).0.ends_with("b\r\n"), "what is there is given, however many are asked");
}

#[test]
fn scripts_that_were_only_run_are_forgotten_when_others_are_and_what_is_kept_counts() {
    let mut core =
        Core::open(Options { max_memory: 10 << 20, ..Options::default() }, Time::from_millis(1_000)).unwrap();
    let client = core.connect(Endpoints::in_process()).unwrap();
    let loaded = ask(&mut core, client, "SCRIPT LOAD \"return 'loaded'\"");
    let loaded = loaded.lines().nth(1).unwrap().to_owned();
    for n in 0..600 {
        assert_eq!(ask(&mut core, client, &format!("EVAL \"return {n}\" 0")), format!(":{n}\r\n"));
    }
    assert_eq!(ask(&mut core, client, &format!("EVALSHA {loaded} 0")), "$6\r\nloaded\r\n");
    let info = ask(&mut core, client, "INFO");
    assert!(info.contains("number_of_cached_scripts:501\r\n") && info.contains("evicted_scripts:100\r\n"), "{info}");
    assert_eq!(ask(&mut core, client, "EVAL \"return 0\" 0"), ":0\r\n", "it is known again");
    let long = " ".repeat(64 << 10);
    for n in 0..200 {
        core.feed(client, &request(&["SCRIPT".into(), "LOAD".into(), format!("return {n}{long}")]));
        core.take_output(client);
    }
    assert!(ask(&mut core, client, "SET k v").starts_with("-OOM"), "scripts are memory, too");
    assert_eq!(ask(&mut core, client, "SCRIPT FLUSH"), "+OK\r\n");
    assert_eq!(ask(&mut core, client, "SET k v"), "+OK\r\n");
}
