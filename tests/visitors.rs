//! People, not sockets: somebody with three tabs is one visitor, and a click from page to page changes
//! no number.

use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::listed::{Listed, alike, lists};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, alone, beside_others, eventually, same, settles, stays};

const PAGE: &str = "page:/";

/// Opens a tab of a visitor on [`PAGE`].
async fn tab(node: &Node, visitor: &str) -> Client {
    Client::open(node, &format!("channel={PAGE}&visitor={visitor}-0123456789abcdef")).await
}

async fn counts(redis: &Redis, people: i64) {
    eventually("the count", SOON, || async { same("GET", redis.get(PAGE).await?.unwrap_or_default(), people) }).await;
}

/// Whether every number that was pushed to a client since the first so many is this one.
fn told_only(client: &Client, since: usize, number: i64) -> Result<(), String> {
    let others = client.payloads(PAGE).into_iter().skip(since).filter(|pushed| *pushed != number);
    same("other numbers", others.collect(), Vec::<serde_json::Value>::new())
}

/// Every key of the channel.
async fn keys(redis: &Redis) -> Result<Vec<String>, String> {
    redis.run(&["KEYS", "*page:/*"]).await
}

#[tokio::test]
async fn somebody_with_many_tabs_on_many_nodes_is_one() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let first = tab(&nodes[0], "ann").await;
    first.shows(PAGE, 1).await;
    let mut tabs = vec![tab(&nodes[0], "ann").await, tab(&nodes[1], "ann").await];
    let bob = tab(&nodes[1], "bob").await;
    bob.shows(PAGE, 2).await;
    first.shows(PAGE, 2).await;
    stays("two people are two", Duration::from_secs(2), || async { same("GET", redis.get(PAGE).await?, Some(2)) })
        .await;
    first.close().await;
    tabs.remove(0).close().await;
    stays("one tab is left", Duration::from_secs(2), || async { same("GET", redis.get(PAGE).await?, Some(2)) }).await;
    tabs.remove(0).close().await;
    bob.shows(PAGE, 1).await;
    bob.close().await;
    eventually("nothing is left", SOON, || async { same("keys", keys(&redis).await?, vec![]) }).await;
}

#[tokio::test]
async fn a_click_from_page_to_page_changes_no_number() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let bob = tab(&nodes[0], "bob").await;
    let mut ann = tab(&nodes[0], "ann").await;
    bob.shows(PAGE, 2).await;
    let heard = bob.payloads(PAGE).len();
    for turn in 0..6 {
        ann.close().await;
        ann = tab(&nodes[turn % 2], "ann").await;
        ann.shows(PAGE, 2).await;
    }
    stays("nobody was told of another number", Duration::from_secs(2), || async { told_only(&bob, heard, 2) }).await;
}

#[tokio::test]
async fn without_an_id_each_connection_is_a_visitor() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let query = format!("channel={PAGE}");
    let (first, _second) = (Client::open(&node, &query).await, Client::open(&node, &query).await);
    counts(&redis, 2).await;
    first.unsubscribe(PAGE).await;
    counts(&redis, 1).await;
    first.subscribe(PAGE).await;
    first.watch(PAGE).await;
    counts(&redis, 1).await;
}

#[tokio::test]
async fn visitors_of_a_node_that_died_are_withdrawn_and_those_who_are_elsewhere_too_stay() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let (node, doomed) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let mut here = Vec::new();
    for name in ["ann", "bob", "cid"] {
        here.push(tab(&doomed, name).await);
    }
    here.push(tab(&node, "ann").await);
    counts(&redis, 3).await;
    doomed.crash().await;
    counts(&redis, 1).await;
    let owners: i64 = redis.must(&["HLEN", "headcount:v1:{page:/}:owner"]).await;
    assert_eq!(owners, 1);
}

#[tokio::test]
async fn any_one_key_of_the_channel_may_be_lost_or_damaged() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let setup = || Node::on(&redis.url()).set("presence.repair", "1s");
    let nodes = [setup().start().await, setup().start().await];
    let mut here = Vec::new();
    for (index, name) in ["ann", "bob", "cid", "dan", "eve", "ann"].iter().enumerate() {
        here.push(tab(&nodes[index % 2], name).await);
    }
    counts(&redis, 5).await;
    for key in ["page:/", "headcount:v1:{page:/}:people", "headcount:v1:{page:/}:owner", "headcount:v1:{page:/}:own"] {
        for damage in [&["DEL", key][..], &["SET", key, "nonsense"], &["FLUSHALL"]] {
            if key == PAGE && damage[0] == "SET" {
                continue;
            }
            redis.must::<redis::Value>(damage).await;
            settles(&format!("{damage:?} heals"), SOON, Duration::from_secs(2), || async {
                same("people", redis.run(&["HLEN", "headcount:v1:{page:/}:people"]).await?, 5)?;
                same("GET", redis.get(PAGE).await?, Some(5))
            })
            .await;
        }
    }
    here.clear();
    eventually("nothing is left", SOON, || async { same("keys", keys(&redis).await?, vec![]) }).await;
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_with_the_reason() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    for path in ["/ws?visitor=short", "/events?visitor=short", "/events?visitor=spaces+are+no+part+of+it"] {
        let reply = node.get(path).await.unwrap();
        let expected = if path.starts_with("/ws") { 426 } else { 400 };
        assert_eq!(reply.status, expected, "{path}");
    }
    let refused = Client::try_open(node.address, "visitor=short").await.err().unwrap();
    assert!(refused.contains("400"), "{refused}");
}

#[tokio::test]
async fn a_node_that_stops_keeps_its_visitors_until_they_have_had_time_to_come_elsewhere() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let (mut node, other) = (Node::start(&redis.url()).await, Node::start(&redis.url()).await);
    let bob = tab(&other, "bob").await;
    let ann = tab(&node, "ann").await;
    bob.shows(PAGE, 2).await;
    let heard = bob.payloads(PAGE).len();
    node.signal(rustix::process::Signal::TERM);
    ann.closes(SOON).await;
    let ann = tab(&other, "ann").await;
    ann.shows(PAGE, 2).await;
    assert!(node.exit(SOON).await.success());
    stays("nobody was told of another number", Duration::from_secs(1), || async { told_only(&bob, heard, 2) }).await;
}

#[tokio::test]
async fn an_address_counts_for_so_many_people_and_the_next_one_when_a_place_is_free() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    // The proxy is believed, so that the address is not this machine's own.
    let config = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[limits]\nvisitors_per_address = 2\n";
    let node = Node::on(&redis.url()).config(config).start().await;
    let from = async |name: &str, address: &str| {
        let query = format!("channel={PAGE}&visitor={name}-0123456789abcdef");
        Client::open_with(&node, &query, &[("X-Forwarded-For", address)]).await
    };
    let first = from("ann", "203.0.113.9").await;
    let _second = from("bob", "203.0.113.9").await;
    counts(&redis, 2).await;
    let third = from("cid", "203.0.113.9").await;
    let told = third.until("it is told", SOON, |all| all.iter().find(|frame| !frame["error"].is_null()).cloned()).await;
    assert_eq!((&told["error"]["code"], &told["error"]["channel"]), (&"not_counted".into(), &PAGE.into()));
    third.shows(PAGE, 2).await;
    let other = from("dan", "203.0.113.10").await;
    other.shows(PAGE, 3).await;
    assert_eq!(node.metric("headcount_visitors_not_counted_total").await, Ok(1));
    first.close().await;
    other.close().await;
    settles("its place is taken", SOON, Duration::from_secs(1), || async {
        same("GET", redis.get(PAGE).await?, Some(2))
    })
    .await;
    third.close().await;
    counts(&redis, 1).await;
}

#[tokio::test]
async fn an_id_that_is_offered_as_a_subprotocol_is_taken_and_answered() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    // The client fails where the server answers none of what it offers, or something else.
    let offered = "headcount, headcount.visitor.ann-0123456789abcdef";
    let query = format!("channel={PAGE}");
    let _first = Client::open_with(&node, &query, &[("Sec-WebSocket-Protocol", offered)]).await;
    let alone = "headcount.visitor.ann-0123456789abcdef";
    let second = Client::open_with(&node, &query, &[("Sec-WebSocket-Protocol", alone)]).await;
    let _third = tab(&node, "ann").await;
    second.shows(PAGE, 1).await;
    stays("they are one", Duration::from_secs(2), || async { same("GET", redis.get(PAGE).await?, Some(1)) }).await;
}

/// Who has which tabs open.
struct Person {
    name: String,
    tabs: Vec<Client>,
}

impl Person {
    /// Opens a tab, closes one, drops one without a word, or moves one to the other node.
    async fn act(mut self, nodes: &[Node; 2], choice: u32) -> Person {
        let node = &nodes[choice as usize % 2];
        match (choice / 2 % 4, self.tabs.len()) {
            (_, 0) | (0, 1 | 2) => self.tabs.push(tab(node, &self.name).await),
            (1, _) => drop(self.tabs.pop()),
            (2, _) => {
                // The page that a link leads to is open before the linger of the one before is over.
                let (before, next) = (self.tabs.pop(), tab(node, &self.name).await);
                drop(before);
                self.tabs.push(next);
            }
            (_, _) => {
                if let Some(last) = self.tabs.pop() {
                    last.close().await;
                }
            }
        }
        self
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_with_many_tabs_who_come_go_and_move_are_counted_and_listed_to_the_last_and_never_twice() {
    let _turn = alone().await;
    let number = |name: &str, default: usize| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (people, rounds) = (number("PEOPLE", 100), number("ROUNDS", 5));
    let redis = Redis::start().await;
    let pages = crate::members::rooms("").replace("room:", "page:/");
    let nodes =
        [Node::on(&redis.url()).config(&pages).start().await, Node::on(&redis.url()).config(&pages).start().await];
    for node in &nodes {
        node.ready().await;
    }
    let watcher = Client::open(&nodes[0], &format!("watch={PAGE}")).await;
    lists(&watcher, PAGE, Some(0)).await;
    let mut draw = fastrand::Rng::with_seed(number("SEED", 1) as u64);
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    let mut all: Vec<Person> = (0..people).map(|n| Person { name: format!("person-{n}"), tabs: Vec::new() }).collect();
    for round in 0..rounds {
        for _ in 0..3 {
            let acts = all.into_iter().map(|person| person.act(&nodes, draw.u32(..)));
            all = futures_util::future::join_all(acts).await;
        }
        let here = all.iter().filter(|person| !person.tabs.is_empty()).count() as i64;
        let (pause, hold) = (Instant::now(), Duration::from_millis(1500));
        settles(&format!("all are counted after round {round}"), SOON, hold, || async {
            same("GET", redis.get(PAGE).await?.unwrap_or_default(), here)?;
            watcher.sees(PAGE, here)?;
            // Each client's list, from what it alone was told, is that of all.
            let mut tabs = all.iter().flat_map(|person| &person.tabs).step_by(7);
            same("the list", Listed::of(&watcher, PAGE).len(), Some(here as usize))?;
            tabs.try_for_each(|tab| alike(&watcher, tab, PAGE))
        })
        .await;
        longest = longest.max(pause.elapsed() - hold);
        let told = Listed::of(&watcher, PAGE);
        for (who, joined) in &told.joined {
            let here = told.members.as_ref().is_some_and(|members| members.contains_key(who));
            let left = told.left.get(who).copied().unwrap_or_default();
            assert_eq!(*joined, left + usize::from(here), "each coming and going of {who} is told once");
        }
        let most = watcher.payloads(PAGE).iter().filter_map(serde_json::Value::as_i64).max().unwrap_or_default();
        assert!(most <= people as i64, "{most} of {people} people");
    }
    println!(
        "{people} people, {} acts in {:.0?}; right {longest:.1?} after the last of a round, at the latest; {:?} told to have come and gone",
        people * rounds * 3,
        begun.elapsed(),
        Listed::of(&watcher, PAGE).events()
    );
    all.clear();
    eventually("nothing is left", SOON, || async { same("keys", keys(&redis).await?, vec![]) }).await;
}
