//! Clients beside each other: messages, waiting, limits, what is no Redis client at all.

use headcount::store::Options;

use super::servers::{Embedded, Redis};
use super::wire::{Connection, Value};

/// Runs the same on both servers.
fn on_both(promise: impl Fn(std::net::SocketAddr)) {
    promise(Embedded::start().address);
    promise(Redis::start().address);
}

#[test]
fn a_message_reaches_those_who_listen_and_as_a_push_those_who_speak_resp3() {
    on_both(|address| {
        let mut listeners = ["2", "3"].map(|protocol| {
            let mut listener = Connection::open(address);
            listener.call(&["HELLO", protocol]);
            listener.call(&["SUBSCRIBE", "news"]);
            listener.call(&["PSUBSCRIBE", "n*"]);
            listener
        });
        let mut publisher = Connection::open(address);
        assert_eq!(publisher.call(&["PUBLISH", "news", "hello"]).text(), "4");
        for (listener, kind) in listeners.iter_mut().zip(['*', '>']) {
            assert_eq!(format!("{:?}", listener.read()), format!("{kind}[$message, $news, $hello]"));
            assert_eq!(format!("{:?}", listener.read()), format!("{kind}[$pmessage, $n*, $news, $hello]"));
        }
        listeners[1].call(&["PING"]);
        assert_eq!(format!("{:?}", listeners[1].call(&["PUBLISH", "news", "me"])), ">[$message, $news, $me]");
    });
}

#[test]
fn a_blocked_client_is_served_by_the_next_write_first_come_first() {
    on_both(|address| {
        let mut waiting = [(); 2].map(|()| Connection::open(address));
        let mut writer = Connection::open(address);
        for (count, client) in waiting.iter_mut().enumerate() {
            client.send(&super::wire::request(&["BLPOP", "a", "b", "0"]));
            let blocked = format!("blocked_clients:{}\r\n", count + 1);
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while !writer.call(&["INFO", "clients"]).text().contains(&blocked) {
                assert!(std::time::Instant::now() < deadline, "it does not block");
            }
        }
        assert_eq!(writer.call(&["RPUSH", "b", "1", "2", "3"]).text(), "3");
        assert_eq!(format!("{:?}", waiting[0].read()), "*[$b, $1]");
        assert_eq!(format!("{:?}", waiting[1].read()), "*[$b, $2]");
        assert_eq!(writer.call(&["LLEN", "b"]).text(), "1");
    });
}

#[test]
fn a_password_that_is_taken_away_keeps_nobody_out_who_came_while_it_was_set() {
    on_both(|address| {
        let mut operator = Connection::open(address);
        assert_eq!(operator.call(&["CONFIG", "SET", "requirepass", "secret"]).text(), "OK");
        let mut client = Connection::open(address);
        assert!(client.call(&["PING"]).text().starts_with("NOAUTH"));
        assert_eq!(operator.call(&["CONFIG", "SET", "requirepass", ""]).text(), "OK");
        assert_eq!(client.call(&["PING"]).text(), "PONG");
        assert!(format!("{:?}", client.call(&["HELLO", "3"])).contains("proto"));
        assert_eq!(operator.call(&["CONFIG", "SET", "requirepass", "another"]).text(), "OK");
        assert!(client.call(&["PING"]).text().starts_with("NOAUTH"));
    });
}

#[test]
fn malformed_requests_are_told_and_cut_off() {
    for bytes in [
        &b"*x\r\n"[..],
        b"*1\r\n+PING\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-5\r\n",
        b"get \"a\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Host: x\r\n",
        b"*99999999999\r\n",
    ] {
        let answer = |address| {
            let mut client = Connection::open(address);
            client.send(bytes);
            [client.read(), client.read()]
        };
        let ours = answer(Embedded::start().address);
        assert_eq!(ours, answer(Redis::start().address), "{}", bytes.escape_ascii());
        assert_eq!(ours[1], Value::Closed);
    }
}

#[test]
fn without_the_password_nothing_is_told() {
    let options = Options { password: Some("secret".to_owned()), ..Options::default() };
    let store = Embedded::open(options).unwrap();
    let mut client = Connection::open(store.address);
    assert_eq!(client.call(&["GET", "a"]).text(), "NOAUTH Authentication required.");
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(client.call(&["AUTH", "nope"]).text(), wrong);
    assert!(client.call(&["HELLO", "3"]).text().starts_with("NOAUTH HELLO must be called"));
    assert_eq!(client.call(&["AUTH", "secret"]).text(), "OK");
    assert_eq!(client.call(&["SET", "a", "1"]).text(), "OK");
}

#[test]
fn a_full_store_refuses_what_needs_memory_and_evicts_nothing() {
    let store = Embedded::open(Options { max_memory: 10_000, ..Options::default() }).unwrap();
    let mut client = Connection::open(store.address);
    let mut stored = 0;
    let refusal = loop {
        let reply = client.call(&["SET", &format!("key{stored}"), "value"]).text();
        if reply != "OK" {
            break reply;
        }
        stored += 1;
    };
    assert_eq!(refusal, "OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(client.call(&["DBSIZE"]).text(), stored.to_string());
    assert_eq!(client.call(&["DEL", "key0", "key1"]).text(), "2");
    assert_eq!(client.call(&["SET", "key0", "value"]).text(), "OK");
}

#[test]
fn a_script_that_does_not_end_is_ended() {
    let store = Embedded::open(Options { script_time: 50, ..Options::default() }).unwrap();
    let mut client = Connection::open(store.address);
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local c = coroutine.create(function() while true do end end) while true do coroutine.resume(c) end",
    ] {
        let reply = client.call(&["EVAL", script, "0"]).text();
        assert!(reply.starts_with("ERR Script ended"), "{script}: {reply}");
        assert_eq!(client.call(&["PING"]).text(), "PONG");
    }
}

#[test]
fn a_script_cannot_reach_out_or_eat_the_memory() {
    let store = Embedded::open(Options { script_memory: 8 << 20, ..Options::default() }).unwrap();
    let mut client = Connection::open(store.address);
    for script in [
        "return os.time()",
        "return io.open('/etc/passwd')",
        "return require('x')",
        "return dofile('/etc/passwd')",
        "return loadstring(string.char(27)..'Lua')()",
        "string.rep = nil",
        "rawset(string, 'rep', 1)",
        "getmetatable('').__index = 1",
        "return setfenv(1, {})",
        "return ('x'):rep(100000000)",
        "local t = {} while true do t[#t+1] = {} end",
    ] {
        let reply = client.call(&["EVAL", script, "0"]);
        assert!(format!("{reply:?}").starts_with("-ERR"), "{script}: {reply:?}");
        assert_eq!(client.call(&["EVAL", "return ('x'):rep(3)", "0"]).text(), "xxx");
    }
}
