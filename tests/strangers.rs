//! A stranger's limits: connections, requests and channels have bounds for each address, and what is left
//! is for others and for health checks.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::support::client::Client;
use crate::support::http::{read_reply, request};
use crate::support::node::Node;
use crate::support::raw::Raw;
use crate::support::redis::{Redis, free_port};
use crate::support::wire::{FINAL, TEXT, UPGRADE, masked};
use crate::support::{SOON, alone, beside_others, eventually, same};

/// Opens connections until one is not served any more. Returns those that are open.
async fn fill(node: &Node, most: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..most {
        let Ok(stream) = TcpStream::connect(node.address).await else { break };
        open.push(stream);
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_hold_no_connection() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let burst = "GET /link.js HTTP/1.1\r\nHost: here\r\n\r\n".repeat(200);
    stream.write_all(burst.as_bytes()).await.unwrap();
    let mut answers = 0;
    while let Ok(reply) = timeout(SOON, read_reply(&mut stream)).await.expect("an answer or an end") {
        answers += 1;
        if reply.header("connection") == Some("close") {
            break;
        }
    }
    assert!(answers <= 64, "{answers}");
    // These read nothing at all.
    let mut unread = Vec::new();
    for _ in 0..20 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(node.address).await.unwrap();
        let _ = stream.write_all(burst.as_bytes()).await;
        unread.push(stream);
    }
    let gone = || async { same("open files", node.open_files() < 40, true) };
    eventually("they are let go", Duration::from_secs(40), gone).await;
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_one_address_have_a_bound_and_health_checks_a_reserve() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    // Room for few: a process that may have 400 files.
    let node = Node::on(&redis.url()).set("SERVER__WORKERS", "1").files(400).start().await;
    node.ready().await;
    let idle = fill(&node, 600).await;
    eventually("the log says so", SOON, || async {
        same("lines", node.log.lines_with("full: no more open files").len(), 1)
    })
    .await;
    for path in ["/readyz", "/healthz"] {
        let asked = || async { same("status", node.get(path).await?.status, 200) };
        eventually("a health check is answered", SOON, asked).await;
    }
    let page = node.get("/").await.unwrap();
    assert_eq!(page.status, 503, "{}", page.text());
    drop(idle);
    let served = || async { same("status", node.get("/").await?.status, 200) };
    eventually("the others are served again", SOON, served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_connects_too_often_gets_429_and_the_log_names_the_limit_once() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).among_strangers().set("LIMITS__CONNECTS_PER_SECOND", "5").start().await;
    let mut refused = 0;
    for _ in 0..80 {
        match node.get("/").await {
            Ok(reply) if reply.status == 429 => {
                assert_eq!(reply.must("retry-after"), "10");
                refused += 1;
            }
            Ok(reply) => assert_eq!(reply.status, 200),
            Err(why) => panic!("{why}"),
        }
    }
    assert!((10..=30).contains(&refused), "{refused} of 80");
    node.says(&["limits.connects_per_second"]).await;
    assert_eq!(node.log.lines_with("limits.connects_per_second").len(), 1, "{}", node.log.text());
    // Requests on an open connection count, too: a few may pass, as time gives back what they take.
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let mut statuses = Vec::new();
    while statuses.len() < 100 && statuses.last() != Some(&429) {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        statuses.push(read_reply(&mut stream).await.unwrap().status);
    }
    let (last, passed) = statuses.split_last().unwrap();
    assert!(*last == 429 && passed.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_have_bounds_for_a_node_and_for_an_address() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url())
        .among_strangers()
        .set("LIMITS__CHANNELS", "55")
        .set("LIMITS__NEW_CHANNELS_PER_SECOND", "5")
        .start()
        .await;
    node.ready().await;
    let join = |names: Vec<String>| json!({ "subscribe": names }).to_string();
    let codes = |error: &Value| {
        let also = error["also"].as_array().cloned().unwrap_or_default();
        let others = also.iter().map(|one| one["code"].clone());
        [error["code"].clone()].into_iter().chain(others).collect::<Vec<_>>()
    };
    let mut one = Raw::open(&node, "watch=public:x").await;
    one.text(&join((0..60).map(|n| format!("page:/{n}")).collect())).await;
    let error = next_error(&mut one).await;
    let refused = codes(&error);
    assert!(refused.iter().all(|code| code == "rate_limited") && (8..=13).contains(&refused.len()), "{error}");
    assert!(error["message"].as_str().unwrap().contains("limits.new_channels_per_second"), "{error}");
    // A channel that is there already is no new one.
    let mut other = Raw::open(&node, "watch=public:x").await;
    other.text(&join((0..40).map(|n| format!("page:/{n}")).collect())).await;
    other.text(r#"{"subscribe":["nowhere"]}"#).await;
    assert_eq!(next_error(&mut other).await["code"], "forbidden");
    // Then the node is full.
    let full = eventually("the node is full", SOON, || async {
        let mut third = Raw::open(&node, "watch=public:x").await;
        third.text(&join((100..110).map(|n| format!("page:/{n}")).collect())).await;
        third.text(r#"{"subscribe":["nowhere"]}"#).await;
        let error = next_error(&mut third).await;
        if error["code"] == "too_many_channels" { Ok(error) } else { Err(error.to_string()) }
    })
    .await;
    assert!(full["message"].as_str().unwrap().contains("limits.channels"), "{full}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_too_often_is_not_read_for_a_while() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).among_strangers().set("LIMITS__JOINS_PER_SECOND", "1").start().await;
    node.ready().await;
    let (mut flood, mut calm) = (Raw::open(&node, "watch=public:x").await, Raw::open(&node, "watch=public:x").await);
    let names: Vec<String> = (0..20).map(|n| format!("public:{n}")).collect();
    let message = json!({ "subscribe": names }).to_string();
    flood.send(&masked(FINAL | TEXT, message.as_bytes()).repeat(30)).await;
    assert_eq!(next_error(&mut flood).await["code"], "rate_limited");
    // Read on, it would have got an answer in each of these turns.
    for _ in 0..60 {
        calm.text("{}").await;
        assert_eq!(next_error(&mut calm).await["code"], "bad_request");
    }
    let answered = node.metric("headcount_limited_total{limit=\"Joins\"}").await.unwrap();
    assert!(answered < 20, "{answered} of 30 were answered");
    assert_eq!(next_error(&mut flood).await["code"], "rate_limited", "it is read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_while_it_is_not_read_wakes_nobody() {
    const MESSAGES: u64 = 400;
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url())
        .among_strangers()
        .set("SERVER__WORKERS", "1")
        .set("LIMITS__JOINS_PER_SECOND", "1")
        .start()
        .await;
    node.ready().await;
    let mut flood = Raw::open(&node, "watch=public:x").await;
    let names: Vec<String> = (0..20).map(|n| format!("public:{n}")).collect();
    let message = json!({ "subscribe": names }).to_string();
    flood.text(&message).await;
    assert_eq!(next_error(&mut flood).await["code"], "rate_limited");
    let before = node.wakeups();
    // One after another, so that each could wake the node.
    let mut pace = interval(Duration::from_millis(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..MESSAGES {
        flood.text(&message).await;
        pace.tick().await;
    }
    let wakeups = node.wakeups() - before;
    assert!(wakeups < MESSAGES / 8, "{wakeups} for {MESSAGES} messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_an_address_that_say_too_much_together_are_read_more_slowly() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url())
        .among_strangers()
        .set("SERVER__WORKERS", "1")
        .set("LIMITS__MESSAGES_PER_SECOND", "1000000")
        .set("LIMITS__MESSAGES_PER_ADDRESS", "1")
        .start()
        .await;
    node.ready().await;
    let mut flood = Raw::open(&node, "watch=public:x").await;
    flood.send(&masked(FINAL | TEXT, b"{}").repeat(400)).await;
    // Each of these is a turn of the node, and most are several.
    for _ in 0..120 {
        assert_eq!(node.get("/readyz").await.unwrap().status, 200);
    }
    let mut answers = 0;
    while flood.frame(Duration::from_millis(50)).await.is_ok() {
        answers += 1;
    }
    assert!(answers < 200, "{answers} of 400 were answered");
    assert_eq!(next_error(&mut flood).await["code"], "bad_request", "it is read on");
    node.says(&["limits.messages_per_address"]).await;
    assert_eq!(node.log.lines_with("limits.messages_per_address").len(), 1, "{}", node.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_opens_so_many_channels_and_others_when_those_are_left() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).among_strangers().set("LIMITS__CHANNELS_PER_ADDRESS", "5").start().await;
    node.ready().await;
    let names = |from: usize, to: usize| (from..to).map(|n| format!("page:/{n}")).collect::<Vec<_>>();
    // One is the channel that it comes with.
    let mut one = Raw::open(&node, "watch=public:x").await;
    one.text(&json!({ "subscribe": names(0, 7) }).to_string()).await;
    let error = next_error(&mut one).await;
    assert_eq!((&error["code"], error["also"].as_array().map(Vec::len)), (&json!("too_many_channels"), Some(2)));
    assert!(error["message"].as_str().unwrap().contains("limits.channels_per_address"), "{error}");
    // Those that are there are anybody's, and take no place.
    let mut other = Raw::open(&node, "watch=public:x").await;
    other.text(&json!({ "subscribe": names(0, 4), "watch": ["nowhere"] }).to_string()).await;
    assert_eq!(next_error(&mut other).await["code"], "forbidden");
    drop(one);
    other.text(&json!({ "unsubscribe": names(0, 4) }).to_string()).await;
    eventually("others can be opened", SOON, || async {
        let mut third = Raw::open(&node, "watch=public:x").await;
        third.text(&json!({ "subscribe": names(10, 14), "watch": ["nowhere"] }).to_string()).await;
        match next_error(&mut third).await {
            error if error["code"] == "forbidden" => Ok(()),
            error => Err(error.to_string()),
        }
    })
    .await;
}

async fn next_error(raw: &mut Raw) -> Value {
    loop {
        let frame = raw.frame(SOON).await.unwrap();
        let message: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        if !message["error"].is_null() {
            return message["error"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_and_leaves_in_a_loop_sets_off_next_to_nothing_in_the_store() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let calm = Client::join(&node, &["public:calm"]).await;
    calm.until("joined", SOON, |m| m.iter().any(|m| m["subscribed"] == "public:calm").then_some(())).await;
    let subscriptions = || async {
        let stats = redis.must::<String>(&["INFO", "commandstats"]).await;
        stats.lines().filter(|line| line.contains("subscribe")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = subscriptions().await;
    let client = Client::open(&node, "watch=public:calm").await;
    for _ in 0..50 {
        client.subscribe("public:loop").await;
        client.unsubscribe("public:loop").await;
    }
    let after = subscriptions().await;
    let calls = |lines: &[String]| -> u64 {
        let count = |line: &String| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
        lines.iter().filter_map(count).sum()
    };
    assert!(calls(&after) - calls(&before) <= 3, "{before:?} {after:?}");
    // And it is left in the end.
    eventually("it is left", SOON, || async {
        let there: Vec<String> = redis.must(&["PUBSUB", "CHANNELS", "public:loop"]).await;
        same("subscribed", there.len(), 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_host_and_one_that_the_server_has() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("SERVER__HOSTS", "ours.example").start().await;
    node.ready().await;
    let ask = async |head: &str| {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        timeout(SOON, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: ours.example", "200"),
        ("GET / HTTP/1.1\r\nHost: OURS.example:3000", "200"),
        ("GET / HTTP/1.1\r\nHost: theirs.example", "421"),
        ("GET http://theirs.example/ HTTP/1.1\r\nHost: ours.example", "421"),
        ("GET / HTTP/1.1", "400"),
        ("GET / HTTP/1.1\r\nHost: ours.example\r\nHost: ours.example", "400"),
        ("GET / HTTP/1.1\r\nHost: ours.example/x", "400"),
        ("GET /readyz HTTP/1.1\r\nHost: 10.0.0.7:3000", "200"),
        ("GET /readyz HTTP/1.0", "200"),
    ] {
        assert_eq!(ask(head).await, status, "{head:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_hears_nothing_where_origins_are_listed_whatever_its_browser_leaves_out() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::on(&redis.url()).set("SERVER__ORIGINS", "https://ours.example").start().await;
    node.ready().await;
    let upgrade: Vec<&str> = UPGRADE.into_iter().chain(["Sec-Fetch-Site: cross-site"]).collect();
    for (path, headers) in [("/events", &["Sec-Fetch-Site: cross-site"][..]), ("/ws", &upgrade[..])] {
        let reply = request(node.address, "GET", path, headers).await.unwrap();
        assert_eq!(reply.status, 403, "{path}");
    }
    let started = Instant::now();
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: here\r\nSec-Fetch-Site: same-origin\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    timeout(SOON, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(&answer[9..], b"200", "after {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_an_address_of_their_own_and_health_is_on_both() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let own = free_port();
    let node = Node::on(&redis.url()).set("SERVER__METRICS", &format!("127.0.0.1:{own}")).start().await;
    node.ready().await;
    let there = std::net::SocketAddr::from(([127, 0, 0, 1], own));
    let ask = async |to, path: &str| request(to, "GET", path, &[]).await.unwrap().status;
    for (path, public, inside) in
        [("/metrics", 404, 200), ("/readyz", 200, 200), ("/healthz", 200, 200), ("/", 200, 404), ("/events", 200, 404)]
    {
        if path != "/events" {
            assert_eq!(ask(node.address, path).await, public, "{path}");
        }
        assert_eq!(ask(there, path).await, inside, "{path}");
    }
    let off = Node::on(&redis.url()).set("SERVER__METRICS", "127.0.0.1:9464").start().await;
    assert_eq!(ask(off.address, "/metrics").await, 404);
}
