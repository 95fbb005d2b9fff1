//! Who is here: one list, the same on every server, and each who comes or goes is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::client::Client;
use crate::support::listed::{Listed, alike, lists, lists_within};
use crate::support::node::{Node, Setup};
use crate::support::redis::Redis;
use crate::support::tokens::{Auth, CHANNELS, now, open, token};
use crate::support::{SOON, beside_others, eventually, same, settles, stays};

const ROOM: &str = "room:1";
const MEMBERS: &str = "headcount:v1:{room:1}:members";

/// A node that lists who is in a room.
pub fn listing(redis: &Redis, more: &str) -> Setup {
    Node::on(&redis.url()).config(&rooms(more)).set("PRESENCE__REPAIR", "2s")
}

pub fn rooms(more: &str) -> String {
    format!(
        "[[channels]]\npattern = \"room:*\"\ncount = \"visitors\"\ndeliver = \"latest\"\nmembers = true\n{more}\n\
         [[channels]]\npattern = \"users:count\"\ncount = \"sockets\"\ndeliver = \"latest\"\n"
    )
}

async fn start(redis: &Redis, more: &str) -> Node {
    let node = listing(redis, more).start().await;
    node.ready().await;
    node
}

async fn tab(node: &Node, visitor: &str) -> Client {
    Client::open(node, &format!("channel={ROOM}&visitor={visitor}-0123456789abcdef")).await
}

async fn nothing_is_left(redis: &Redis) {
    let keys = || async { redis.run::<Vec<String>>(&["KEYS", "*room:1*"]).await };
    eventually("nothing is left", SOON, || async { same("keys", keys().await?, vec![]) }).await;
}

#[tokio::test]
async fn whoever_joins_is_told_nothing_before_the_list_however_many_numbers_come_first() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let node = start(&redis, "").await;
    for n in 0..2 {
        let room = format!("room:{n}");
        let client = async {
            let client = Client::open(&node, &format!("channel={room}")).await;
            eventually("the list", SOON, || async {
                let joined = client.messages().iter().any(|message| message["subscribed"] == room.as_str());
                if joined { Ok(()) } else { Err(format!("{:?}", client.messages())) }
            })
            .await;
            client.messages().into_iter().find(|message| message.get("state").is_none())
        };
        let numbers = async {
            loop {
                // Always some on the way, but no more than a busy node keeps up with.
                let publish = "for n = 1, 5 do redis.call('PUBLISH', KEYS[1], n) end";
                redis.must::<Option<i64>>(&["EVAL", publish, "1", &room]).await;
            }
        };
        let first = tokio::select! {
            first = client => first.unwrap(),
            () = numbers => unreachable!("numbers come without end"),
        };
        assert_eq!(first["subscribed"], room.as_str(), "{first}");
    }
}

#[tokio::test]
async fn a_joiner_gets_the_list_and_everybody_else_hears_of_each_once() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [start(&redis, "").await, start(&redis, "").await];
    let watcher = Client::open(&nodes[1], &format!("watch={ROOM}")).await;
    assert_eq!(lists(&watcher, ROOM, Some(0)).await.lists, 1);
    let ann = tab(&nodes[0], "ann").await;
    lists(&watcher, ROOM, Some(1)).await;
    let bob = tab(&nodes[1], "bob").await;
    for client in [&watcher, &ann, &bob] {
        lists(client, ROOM, Some(2)).await;
    }
    eventually("all hold the same list", SOON, || async {
        alike(&watcher, &ann, ROOM)?;
        alike(&watcher, &bob, ROOM)
    })
    .await;
    let first = bob.messages()[0].clone();
    assert!(first["subscribed"] == ROOM && first["data"].is_i64() && first["members"].is_array(), "{first}");
    assert!(Listed::of(&ann, ROOM).members.unwrap().keys().all(|handle| handle.starts_with('~')), "handles are drawn");

    // A second tab, and one who is back within the linger, are told to nobody.
    let second = tab(&nodes[1], "ann").await;
    lists(&second, ROOM, Some(2)).await;
    ann.close().await;
    second.close().await;
    let ann = tab(&nodes[0], "ann").await;
    stays("nobody hears of it", Duration::from_secs(3), || async {
        same("comings and goings", Listed::of(&watcher, ROOM).events(), (2, 0))
    })
    .await;
    ann.close().await;
    let told = lists(&watcher, ROOM, Some(1)).await;
    assert_eq!((told.events(), told.lists), ((2, 1), 1));
    lists(&bob, ROOM, Some(1)).await;
    bob.close().await;
    lists(&watcher, ROOM, Some(0)).await;
    nothing_is_left(&redis).await;
}

#[tokio::test]
async fn a_list_that_is_too_long_is_not_shown_until_it_is_short_again() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [start(&redis, "members_max = 20").await, start(&redis, "members_max = 20").await];
    let watcher = Client::open(&nodes[1], &format!("watch={ROOM}")).await;
    let mut all = Vec::new();
    for number in 0..20 {
        all.push(tab(&nodes[number % 2], &format!("v{number}")).await);
    }
    lists(&watcher, ROOM, Some(20)).await;
    all.push(tab(&nodes[0], "one-too-many").await);
    // All of them: each thread of a server learns of it by itself.
    for client in all.iter().chain([&watcher]) {
        lists(client, ROOM, None).await;
    }
    let late = tab(&nodes[0], "late").await;
    let answer = late.until("the answer", SOON, |messages| messages.first().cloned()).await;
    assert!(answer["members"].is_null() && answer.get("members").is_some(), "{answer}");
    watcher.shows(ROOM, 22).await;
    all.truncate(10);
    watcher.shows(ROOM, 11).await;
    lists_within(&watcher, ROOM, Some(11), Duration::from_secs(30)).await;
    lists_within(&late, ROOM, Some(11), Duration::from_secs(30)).await;
    alike(&watcher, &late, ROOM).unwrap();
}

#[tokio::test]
async fn a_list_that_is_lost_is_told_again_by_everybody_and_nobody_is_told_to_have_gone() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [start(&redis, "").await, start(&redis, "").await];
    let watcher = Client::open(&nodes[0], &format!("watch={ROOM}")).await;
    lists(&watcher, ROOM, Some(0)).await;
    let mut all = Vec::new();
    for number in 0..10 {
        all.push(tab(&nodes[number % 2], &format!("v{number}")).await);
    }
    let before = lists(&watcher, ROOM, Some(10)).await;
    let damages: [&[&str]; 6] = [
        &["DEL", MEMBERS],
        &["SET", MEMBERS, "nonsense"],
        &["HSET", MEMBERS, "0123456789abcdef", "17 1 3 evil"],
        &["DEL", "headcount:v1:{room:1}:people"],
        // Everybody's lease is gone; nobody may take that for everybody's death.
        &["DEL", "headcount:v1:nodes"],
        &["FLUSHALL"],
    ];
    for damage in damages {
        redis.must::<redis::Value>(damage).await;
        // Another who comes and goes brings the damage to light; else a repair does.
        let guest = tab(&nodes[0], "guest").await;
        lists(&guest, ROOM, Some(11)).await;
        guest.close().await;
        settles(
            &format!("all are listed after {damage:?}"),
            Duration::from_secs(25),
            Duration::from_secs(4),
            || async {
                same("the total", redis.get(ROOM).await?, Some(10))?;
                same("the list", redis.run::<usize>(&["HLEN", MEMBERS]).await?, 11)?;
                same("the watcher's list", Listed::of(&watcher, ROOM).members, before.members.clone())
            },
        )
        .await;
        let told = Listed::of(&watcher, ROOM);
        let own = |told: &BTreeMap<String, usize>| {
            let listed = before.members.as_ref().unwrap();
            told.iter().filter(|(handle, _)| listed.contains_key(*handle)).map(|(_, times)| times).sum::<usize>()
        };
        let moved = (own(&told.joined), own(&told.left));
        assert_eq!(moved, (10, 0), "nobody who stayed was told to have moved after {damage:?}: {told:?}");
    }
    drop(all);
    lists(&watcher, ROOM, Some(0)).await;
    nothing_is_left(&redis).await;
}

#[tokio::test]
async fn what_strangers_publish_about_a_list_changes_nothing() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let node = start(&redis, "").await;
    let (ann, bob) = (tab(&node, "ann").await, tab(&node, "bob").await);
    lists(&ann, ROOM, Some(2)).await;
    for nonsense in
        ["", "?", "\n", "a 1 b c d\n?", "ab 99999999999999999999 0 0 0\n-0123456789abcdef", "\u{fffd}\u{0}{}"]
    {
        redis.must::<i64>(&["PUBLISH", MEMBERS, nonsense]).await;
    }
    let forged = "abcd 1 0 ef 12\n+0123456789abcdef4:17 0";
    redis.must::<i64>(&["PUBLISH", MEMBERS, forged]).await;
    let guest = tab(&node, "guest").await;
    for client in [&ann, &bob, &guest] {
        settles("the list is right", SOON, Duration::from_secs(1), || async {
            same("members", Listed::of(client, ROOM).len(), Some(3))
        })
        .await;
    }
    assert!(node.get("/healthz").await.is_ok());
}

#[tokio::test]
async fn a_list_begins_and_ends_with_a_reload() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let without = rooms("").replace("members = true\n", "");
    let node = Node::on(&redis.url()).config(&without).start().await;
    node.ready().await;
    let (ann, bob) = (tab(&node, "ann").await, tab(&node, "bob").await);
    ann.shows(ROOM, 2).await;
    assert!(ann.messages()[0].get("members").is_none());
    node.reload(&rooms(""));
    lists(&ann, ROOM, Some(2)).await;
    lists(&bob, ROOM, Some(2)).await;
    node.reload(&without);
    lists(&ann, ROOM, None).await;
    let carl = tab(&node, "carl").await;
    ann.shows(ROOM, 3).await;
    assert!(carl.messages()[0].get("members").is_none());
    drop((ann, bob, carl));
    nothing_is_left(&redis).await;
}

#[tokio::test]
async fn a_list_needs_visitors_and_bounds() {
    let _place = beside_others().await;
    for (wrong, said) in [
        (rooms("").replace("visitors", "sockets"), "needs count = \"visitors\""),
        (rooms("members_max = 0"), "members_max"),
        (rooms("members_bytes = 99999999999999"), "members_bytes"),
        (rooms("").replace("members = true", "members = 1"), "must be true or false"),
        (rooms("").replace("members = true", "members_max = 5"), "needs members = true"),
    ] {
        let file = crate::support::node::Scratch::write("rooms.toml", &wrong);
        let output =
            crate::support::node::headcount().arg("check").arg("--config").arg(&file.0).output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(said), "{said}: {told}");
    }
}

#[tokio::test]
async fn members_of_a_node_that_died_have_left_when_its_visitors_have() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [start(&redis, "").await, start(&redis, "").await];
    let watcher = Client::open(&nodes[0], &format!("watch={ROOM}")).await;
    lists(&watcher, ROOM, Some(0)).await;
    let (stays_here, both) = (tab(&nodes[0], "stays").await, tab(&nodes[0], "both").await);
    let (_there, _both) = (tab(&nodes[1], "there").await, tab(&nodes[1], "both").await);
    lists(&watcher, ROOM, Some(3)).await;
    let [_, gone] = nodes;
    gone.crash().await;
    let told = lists(&watcher, ROOM, Some(2)).await;
    assert_eq!(told.events(), (3, 1), "whoever is elsewhere, too, has not left");
    for client in [&stays_here, &both] {
        lists(client, ROOM, Some(2)).await;
    }
}

#[tokio::test]
async fn a_member_is_called_what_its_newest_token_says_and_that_is_text() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let auth = Auth::new();
    let node = Node::on(&redis.url()).config(&auth.config("").replace(CHANNELS, &rooms(""))).start().await;
    node.ready().await;
    let watcher = Client::open(&node, &format!("watch={ROOM}")).await;
    lists(&watcher, ROOM, Some(0)).await;
    let sub = "<b>\"ann\"\u{202e}";
    let claims = |iat: u64, name: &str| json!({ "sub": sub, "iat": iat, "exp": now() + 300, "info": { "name": name }, "headcount": { "join": ["room:*"] } });
    let query = format!("channel={ROOM}");
    let _first = open(&node, &query, &token(claims(now() - 20, "Ann"))).await.unwrap();
    let told = lists(&watcher, ROOM, Some(1)).await;
    assert_eq!(told.members.unwrap()[sub], json!({ "id": sub, "info": { "name": "Ann" } }));
    // A second tab with an older token changes nothing, one with a newer token does.
    let _older = open(&node, &query, &token(claims(now() - 50, "Nobody"))).await.unwrap();
    let _newer = open(&node, &query, &token(claims(now() - 10, "<i>Ann</i>"))).await.unwrap();
    eventually("the newest name is told", SOON, || async {
        let members = Listed::of(&watcher, ROOM).members.unwrap_or_default();
        same("the name", members[sub]["info"]["name"].clone(), json!("<i>Ann</i>"))
    })
    .await;
    assert_eq!(Listed::of(&watcher, ROOM).events(), (2, 0), "the same member with other info");
    let guest = tab(&node, "guest").await;
    assert_eq!(lists(&guest, ROOM, Some(2)).await.lists, 1);
}
