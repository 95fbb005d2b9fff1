//! Users of the store may do what they may do in Redis: the same users on both servers, the same bytes back.

use std::collections::BTreeMap;

use headcount::store::{Options, User, check_user};
use proptest::prelude::*;

use super::servers::{Embedded, Redis};
use super::split;
use super::wire::{Connection, Value};

const CASES: &str = include_str!("cases/acl.txt");

/// Users of both servers: name, password, rules.
const USERS: [(&str, &str, &str); 5] = [
    (
        "app",
        "secret",
        "on ~app:* &app:* &app:c -@all +get +set +mget +del +rename +copy +exists +object +zunionstore +bitop \
                       +xread +lmpop +watch +unwatch +touch +multi +exec +eval +publish +spublish +subscribe +psubscribe \
                       +ssubscribe +unsubscribe +punsubscribe +client|getname +acl|whoami",
    ),
    ("half", "secret", "on %R~half:r* %W~half:w* +@all"),
    ("off", "secret", "~* &* +@all"),
    ("open", "", "on nopass allkeys allchannels allcommands -@dangerous"),
    ("sub", "secret", "on +config|get +select|0 +@connection -select +select|0 -client|list +ping ~k"),
];

fn user(name: &str, password: &str, rules: &str) -> User {
    let password = Some(password.to_owned()).filter(|password| !password.is_empty());
    User { name: name.to_owned(), password, rules: rules.split_whitespace().map(str::to_owned).collect() }
}

/// Both servers with the same users.
fn both(users: &[User]) -> (Embedded, Redis) {
    let ours = Embedded::open(Options { users: users.to_vec(), ..Options::default() }).unwrap();
    let theirs = Redis::start();
    let mut control = Connection::open(theirs.address);
    for user in users {
        assert_eq!(set(&mut control, user).text(), "OK", "{}", user.name);
    }
    (ours, theirs)
}

fn set(redis: &mut Connection, user: &User) -> Value {
    let mut args = vec!["ACL".to_owned(), "SETUSER".to_owned(), user.name.clone()];
    args.extend(user.password.as_ref().map(|password| format!(">{password}")));
    args.extend(user.rules.iter().cloned());
    redis.call(&args)
}

/// Leaves out of a reply how the rules about commands are told: Redis makes up rules of its own, the store tells
/// those that were given.
fn without_commands(value: Value) -> Value {
    match value {
        Value::Text(b'$', text) if text.windows(4).any(|part| part == b"@all") => {
            let text = String::from_utf8_lossy(&text).into_owned();
            let at = text.find("-@all").or(text.find("+@all")).unwrap();
            Value::Text(b'$', format!("{}…", &text[..at]).into_bytes())
        }
        Value::Many(kind, items) => Value::Many(kind, items.into_iter().map(without_commands).collect()),
        other => other,
    }
}

#[test]
fn users_may_do_what_they_may_do_in_redis() {
    let users: Vec<User> = USERS.iter().map(|(name, password, rules)| user(name, password, rules)).collect();
    let (ours, theirs) = both(&users);
    let mut differences = Vec::new();
    for (protocol, case) in ["2", "3"].iter().flat_map(|p| CASES.split("\n\n").map(move |case| (p, case))) {
        let mut pair = [ours.address, theirs.address].map(|address| {
            Connection::open(address).call(&["FLUSHALL"]);
            let mut connection = Connection::open(address);
            connection.call(&["HELLO", protocol]);
            connection
        });
        for line in case.lines().filter(|line| !line.is_empty()) {
            let args = split(&line[2..]);
            let talkative = line.contains("SUBSCRIBE") && !line.contains("EVAL");
            let [a, b] = pair.each_mut().map(|connection| {
                let first = connection.call(&args);
                // What a subscription is answered with may be more than one reply.
                let mut all = vec![first];
                if talkative {
                    all.push(connection.call(&["PING"]));
                }
                if line.contains("HELLO") || line.contains("LIST") || line.contains("GETUSER") {
                    all = all.into_iter().map(without_commands).collect();
                }
                all.into_iter().map(without_ids).collect::<Vec<_>>()
            });
            if a != b {
                differences.push(format!("RESP{protocol}: {line}\n  ours  {a:?}\n  Redis {b:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A greeting without what each server has for itself.
fn without_ids(value: Value) -> Value {
    match value {
        Value::Many(kind, items) if items.iter().any(|item| item.text() == "proto") => {
            Value::Many(kind, items.into_iter().filter(|item| !matches!(item, Value::Text(b':', _))).collect())
        }
        other => other,
    }
}

/// The commands and subcommands that both servers have, each with the fewest arguments that it takes.
fn shared(ours: &mut Connection, theirs: &mut Connection) -> BTreeMap<String, usize> {
    let names = |value| match value {
        Value::Many(_, items) => items.iter().map(Value::text).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let own = names(ours.call(&["COMMAND", "LIST"]));
    let known = names(theirs.call(&["COMMAND", "LIST"]));
    let shared = known.into_iter().filter(|name| own.contains(name));
    let arity = |name: String| match theirs.call(&["COMMAND", "INFO", &name]) {
        Value::Many(_, items) => match &items[0] {
            Value::Many(_, parts) => {
                let arity = parts[1].text().parse::<i64>().unwrap().unsigned_abs() as usize;
                (name, arity)
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    shared.map(arity).collect()
}

/// Asks both servers whether users may run every command, with arguments that are all this one.
fn compare_all(users: &[User], fillers: &[&str]) {
    let (ours, theirs) = both(users);
    let [mut a, mut b] = [ours.address, theirs.address].map(Connection::open);
    let commands = shared(&mut a, &mut b);
    assert!(commands.len() > 250, "{}", commands.len());
    let mut differences = Vec::new();
    for (command, arity) in &commands {
        let words: Vec<&str> = command.split('|').collect();
        // A command with subcommands is asked about by these.
        if words.len() == 1 && commands.keys().any(|name| name.starts_with(&format!("{command}|"))) {
            continue;
        }
        for (user, filler) in users.iter().flat_map(|user| fillers.iter().map(move |filler| (user, filler))) {
            let mut args = vec!["ACL", "DRYRUN", &user.name];
            args.extend(&words);
            // Redis finds no key in a merge of nothing, and lets it change the one that it names.
            let more = usize::from(command == "pfmerge");
            args.resize(3 + (*arity).max(words.len()) + more, filler);
            let (one, other) = (a.call(&args), b.call(&args));
            if one != other {
                differences.push(format!("{args:?} ours {one:?} Redis {other:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn each_category_has_the_commands_and_subcommands_that_it_has_in_redis() {
    let redis = Redis::start();
    let Value::Many(_, categories) = Connection::open(redis.address).call(&["ACL", "CAT"]) else { panic!() };
    let users = categories.iter().map(Value::text).flat_map(|category| {
        let with = user(&format!("with-{category}"), "", &format!("on nopass ~* &* +@{category}"));
        let without = user(&format!("without-{category}"), "", &format!("on nopass ~* &* +@all -@{category}"));
        [with, without]
    });
    compare_all(&users.collect::<Vec<_>>(), &["1"]);
}

#[test]
fn each_command_needs_the_rights_to_its_keys_that_it_needs_in_redis() {
    let users = [
        user("both", "", "on nopass +@all %R~r:* %W~w:* &c*"),
        user("none", "", "on nopass +@all"),
        user("reads", "", "on nopass +@all &* %R~*"),
    ];
    compare_all(&users, &["1", "r:1", "w:1", "c", "x"]);
}

#[test]
fn a_rule_is_taken_where_redis_takes_it() {
    let redis = Redis::start();
    let mut control = Connection::open(redis.address);
    let long = "a".repeat(10 << 10);
    let (long_key, long_command) = (format!("~{long}"), format!("+{long}"));
    #[rustfmt::skip]
    let rules = [
        "on", "OFF", "nopass", "allkeys", "AllKeys", "resetkeys", "allchannels", "resetchannels", "allcommands", "nocommands",
        "~*", "~", "~a", "~* ~a", "~* resetkeys ~a", "~a ~a", "%R~a", "%r~a", "%RW~a", "%WR~", "%RR~a", "%~a", "%X~a", "%",
        "&*", "&", "&a", "&* &a", "&* resetchannels &a", "+get", "+GET", "-get", "+nosuch", "-nosuch", "+", "-", "+@read",
        "+@READ", "-@all", "+@all", "+@nosuch", "+@", "+config|get", "+config|nosuch", "-config|get", "-config|nosuch",
        "+config|", "+get|a", "-get|a", "+get|", "+get|a|b", "+config|get|x", "+|", "+|get", "nosuch", "ünïcode", "~ü",
        "+ü", "+@all -@all", "-shutdown", "+cluster|slots", "-debug", "+acl|setuser", "+latency|graph", &long_key, &long_command,
        "~[", "~[a-", "~\\", "~***************", "&[^", "--", "++", "+-get",
    ];
    for rule in rules {
        let one = user("someone", "", rule);
        let theirs = control.call(
            &["ACL", "SETUSER", "someone", "reset"]
                .map(str::to_owned)
                .into_iter()
                .chain(one.rules.iter().cloned())
                .collect::<Vec<_>>(),
        );
        let ours = check_user(&User { rules: [&one.rules[..], &["off".to_owned()]].concat(), ..one });
        assert_eq!(ours.is_ok(), theirs.text() == "OK", "{rule}: ours {ours:?}, Redis {theirs:?}");
    }
}

#[test]
fn what_the_store_does_not_have_is_refused_with_a_sentence_that_hides_passwords() {
    for (name, password, rules, said) in [
        ("", "x", "on", "name is empty"),
        ("default", "x", "on", "default user is there already"),
        ("headcount-node", "x", "on", "server's own"),
        ("a b", "x", "on", "space"),
        ("a\nb", "x", "on", "space"),
        (&"n".repeat(10 << 10), "x", "on", "256 bytes"),
        ("a", "", "on", "no password"),
        ("a", "x", "on nopass", "useless"),
        ("a", "x", "(~a +get)", "selector"),
        ("a", "x", ">hunter2", "about a password"),
        ("a", "x", "#hunter2", "about a password"),
        ("a", "x", "hunter2", "is no rule"),
        ("a", "x", "resetpass", "about a password"),
    ] {
        let problem = check_user(&user(name, password, rules)).unwrap_err().to_string();
        assert!(problem.contains(said) && !problem.contains("hunter2"), "{name} {rules}: {problem}");
    }
    let many = vec!["~a".to_owned(); 5000];
    assert!(check_user(&User { name: "a".to_owned(), password: None, rules: many }).is_err());
}

#[test]
fn extreme_names_keys_and_patterns_are_answered_as_in_redis() {
    let long = "a".repeat(10 << 10);
    let users = [
        user("long", "", &format!("on nopass +@all ~{long} &{long}*")),
        user("stars", "", "on nopass +@all ~*a*a*a*a*a*a*a*a*a*a*b &*a*a*a*a*a*a*a*b"),
        user("classes", "", "on nopass +@all ~[a-z]?\\* &h[^e]llo"),
        user("empty", "", "on nopass +@all ~ &"),
    ];
    let (ours, theirs) = both(&users);
    let mut pair = [ours.address, theirs.address].map(Connection::open);
    let texts: [&[u8]; 9] =
        [b"", b"a", b"ax*", b"hallo", b"hello", b"\xff\xfe", b"aaaaaaaaaaaaaaaaaaaaaaaaab", long.as_bytes(), b"*"];
    for name in ["long", "stars", "classes", "empty"] {
        for text in texts {
            for args in [
                vec![b"ACL", &b"DRYRUN"[..], name.as_bytes(), b"GET", text],
                vec![b"ACL", b"DRYRUN", name.as_bytes(), b"PUBLISH", text, b"x"],
                vec![b"ACL", b"DRYRUN", name.as_bytes(), b"PSUBSCRIBE", text],
            ] {
                let [a, b] = pair.each_mut().map(|connection| connection.call(&args));
                assert_eq!(a, b, "{name} {}", text.escape_ascii());
            }
        }
    }
    for text in texts {
        for args in [
            vec![&b"AUTH"[..], text, b"x"],
            vec![b"AUTH", b"long", text],
            vec![b"HELLO", b"2", b"AUTH", text, text],
            vec![b"ACL", b"GETUSER", text],
            vec![b"ACL", b"DRYRUN", text, b"GET", b"x"],
        ] {
            // An error is a text of some length here, and any bytes there.
            if args[1] == b"DRYRUN" && (text.len() > 128 || std::str::from_utf8(text).is_err()) {
                continue;
            }
            // Wrong passwords cost time here, and none there.
            let [a, b] =
                [ours.address, theirs.address].map(|address| without_ids(Connection::open(address).call(&args)));
            assert_eq!(a, b, "{:?}", args.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_took_long_is_told_without_passwords() {
    let users: Vec<User> = USERS.iter().map(|(name, password, rules)| user(name, password, rules)).collect();
    let (ours, theirs) = both(&users);
    let told = [ours.address, theirs.address].map(|address| {
        let mut control = Connection::open(address);
        control.call(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
        control.call(&["AUTH", "open", "hunter2"]);
        control.call(&["HELLO", "2", "AUTH", "default", "hunter2"]);
        control.call(&["ACL", "SETUSER", "x", ">hunter2"]);
        format!("{:?}", control.call(&["SLOWLOG", "GET", "10"]))
    });
    for text in told {
        assert!(text.contains("(redacted)") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_client_is_shown_with_its_user_and_closed_by_it() {
    let users: Vec<User> = USERS.iter().map(|(name, password, rules)| user(name, password, rules)).collect();
    let (ours, theirs) = both(&users);
    for address in [ours.address, theirs.address] {
        let mut control = Connection::open(address);
        let mut client = Connection::open(address);
        assert_eq!(client.call(&["AUTH", "half", "secret"]).text(), "OK");
        assert!(client.call(&["CLIENT", "INFO"]).text().contains(" user=half "));
        let list = control.call(&["CLIENT", "LIST"]).text();
        assert!(list.contains(" user=half ") && list.contains(" user=default "), "{list}");
        assert_eq!(control.call(&["CLIENT", "KILL", "USER", "half"]).text(), "1");
        assert_eq!(client.call(&["PING"]), Value::Closed);
        assert_eq!(control.call(&["PING"]).text(), "PONG");
    }
    let mut control = Connection::open(ours.address);
    for name in ["SETUSER", "DELUSER"] {
        assert!(control.call(&["ACL", name, "x"]).text().contains("[[store.users]]"));
    }
    // Where a name stands in the place of a word, the key that is read counts.
    let mut client = Connection::open(ours.address);
    client.call(&["AUTH", "half", "secret"]);
    let hidden = ["XREADGROUP", "COUNT", "1", "GROUP", "half:r", "STREAMS", "STREAMS", "other", ">"];
    assert!(client.call(&hidden).text().starts_with("NOPERM"));
}

proptest! {
    #[test]
    fn no_rule_is_too_strange_and_none_shows_a_password(
        rules in prop::collection::vec("[-+~%&@|>#()RWa-z*\\[\\]ü]{0,12}|on|off|nopass|\\+@all|\\+get|-@read|~\\*|.{0,8}", 0..12),
        name in ".{0,12}",
        password in prop::option::of("zq7[a-z]{8}"),
    ) {
        let hidden = password.clone().unwrap_or("zq7".to_owned());
        let mut rules = rules;
        let before = check_user(&User { name: name.clone(), password: password.clone(), rules: rules.clone() });
        if let Err(problem) = before {
            prop_assert!(!problem.to_string().contains(&hidden));
        }
        rules.insert(0, format!(">{hidden}"));
        let problem = check_user(&User { name, password, rules }).unwrap_err().to_string();
        prop_assert!(!problem.contains(&hidden), "{}", problem);
    }
}
