//! Keys that are lost or damaged and stores that refuse: the count comes back by itself, nobody is sent
//! away, and each change is one line in the log.

use std::time::Duration;

use redis::Value;

use crate::support::client::Client;
use crate::support::kinds::{KINDS, Kind, Kinds};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::tabs::Tabs;
use crate::support::{SOON, beside_others, eventually, same, settles, stays};

/// A channel that is named exactly, and one of a pattern.
const CHANNELS: [&str; 2] = ["users:count", "page:/here"];
const HOLD: Duration = Duration::from_millis(700);

/// Two servers with four tabs of three people, each tab on a channel of each kind of count. What is done to one is done
/// to the channels of all kinds.
struct World {
    redis: Redis,
    nodes: Vec<Node>,
    /// What the nodes' configuration names.
    _kinds: Kinds,
    tabs: Tabs,
}

async fn quick(kinds: &Kinds, redis: &Redis) -> Node {
    let node = kinds
        .on(redis)
        .set("PRESENCE__HEARTBEAT", "100ms")
        .set("PRESENCE__LEASE", "2s")
        .set("PRESENCE__GRACE", "300ms")
        .set("PRESENCE__REPAIR", "1s")
        .start()
        .await;
    node.ready().await;
    node
}

impl World {
    async fn begin() -> World {
        let (redis, kinds) = (Redis::start().await, Kinds::new());
        let nodes = vec![quick(&kinds, &redis).await, quick(&kinds, &redis).await];
        let mut world = World { redis, nodes, _kinds: kinds, tabs: Tabs::default() };
        for (node, who) in [(0, 1), (0, 2), (1, 1), (1, 3)] {
            world.comes(node, who).await;
        }
        world.is_right("at first", SOON).await;
        world
    }

    /// Somebody comes to one of the servers, or opens another tab.
    async fn comes(&mut self, node: usize, who: u32) {
        self.tabs.open(&self.nodes[node], who).await;
    }

    async fn is_right(&self, when: &str, within: Duration) {
        settles(&format!("the store is right {when}"), within, Duration::ZERO, || self.store_is_right()).await;
        self.tabs.come_right(when, &self.redis, within, HOLD).await;
        self.store_is_right().await.unwrap();
        self.nobody_was_sent_away();
    }

    async fn store_is_right(&self) -> Result<(), String> {
        for kind in KINDS {
            let (channel, number) = (kind.channel(), self.tabs.number(kind));
            let tally: Vec<i64> = self.redis.run(&["HVALS", &key(channel, "tally")]).await?;
            let people: i64 = self.redis.run(&["HLEN", &key(channel, "people")]).await?;
            let shares = tally.iter().chain([&people]).map(|share| i128::from(*share)).sum();
            same("the shares", shares, i128::from(number))?;
            same("own", self.redis.get(&key(channel, "own")).await?, Some(number))?;
            if kind == Kind::Members {
                let listed: i64 = self.redis.run(&["HLEN", &key(channel, "members")]).await?;
                same("the members in the store", listed, people + 1)?;
            }
        }
        Ok(())
    }

    fn nobody_was_sent_away(&self) {
        for client in self.tabs.clients() {
            assert_eq!(client.closed(), None);
            let errors: Vec<_> =
                client.messages().into_iter().filter(|message| message.get("error").is_some()).collect();
            assert_eq!(errors, Vec::<serde_json::Value>::new());
        }
    }

    fn lines(&self, needle: &str) -> usize {
        self.nodes.iter().map(|node| node.log.lines_with(needle).len()).sum()
    }

    async fn list_keys(&self) -> Vec<String> {
        self.redis.must(&["KEYS", "headcount:v1:node:*"]).await
    }
}

fn key(channel: &str, what: &str) -> String {
    if what == "total" { channel.to_owned() } else { format!("headcount:v1:{{{channel}}}:{what}") }
}

#[tokio::test]
async fn any_key_of_the_count_may_be_deleted() {
    let _turn = beside_others().await;
    let world = World::begin().await;
    for what in ["tally", "own", "people", "owner", "members", "total"] {
        for kind in KINDS {
            world.redis.must::<i64>(&["DEL", &key(kind.channel(), what)]).await;
        }
        world.is_right(&format!("after {what} was lost"), SOON).await;
    }
    for lost in world.list_keys().await {
        world.redis.must::<i64>(&["DEL", &lost]).await;
        world.is_right(&format!("after {lost} was lost"), SOON).await;
    }
    world.redis.must::<i64>(&["DEL", "headcount:v1:nodes"]).await;
    world.is_right("after the nodes were lost", SOON).await;
}

#[tokio::test]
async fn a_share_that_is_lost_as_somebody_joins_is_not_counted_twice() {
    let _turn = beside_others().await;
    let mut world = World::begin().await;
    for (what, who) in [("tally", 4), ("people", 5), ("owner", 6), ("members", 7)] {
        for kind in KINDS {
            world.redis.must::<i64>(&["DEL", &key(kind.channel(), what)]).await;
        }
        world.comes(0, who).await;
        world.is_right(&format!("after {what} was lost and one more came"), SOON).await;
    }
}

#[tokio::test]
async fn any_key_of_ours_may_be_damaged() {
    let _turn = beside_others().await;
    let world = World::begin().await;
    let gzip = "\u{1f}\u{8b}\u{8}";
    for damage in [
        &["SET", "tally", "text"][..],
        &["HSET", "tally", "bogus", "abc"],
        &["HSET", "tally", "bogus", "9223372036854775807"],
        &["HSET", "tally", "bogus", "-5"],
        &["HSET", "tally", gzip, gzip],
        &["HSET", "tally", gzip, "7"],
        &["SET", "own", "abc"],
        &["SET", "own", "9223372036854775807"],
        &["SET", "own", "-1"],
        &["SET", "own", gzip],
        &["HSET", "own", "a", "b"],
        &["SET", "people", "text"],
        // More than there could be: one alone could be another tab's.
        &["HSET", "people", "bogus", "abc", "bogus too", "abc"],
        &["HSET", "people", gzip, gzip, "bogus", "abc"],
        &["SET", "owner", "text"],
        &["HSET", "owner", "bogus", "abc"],
        &["HSET", "owner", "xy", "5 9223372036854775807 nobody"],
        &["HSET", "owner", gzip, gzip],
        &["SET", "members", "text"],
        &["HSET", "members", "", "abc"],
        &["HSET", "members", "bogus", "abc"],
        &["HSET", "members", "0123456789abcdef", "17 1 3 evil"],
    ] {
        for kind in KINDS.into_iter().filter(|kind| damage[1] != "members" || *kind == Kind::Members) {
            let name = key(kind.channel(), damage[1]);
            if damage[0] == "SET" || damage[1] == "own" {
                world.redis.must::<Value>(&["DEL", &name]).await;
            }
            world.redis.must::<Value>(&[&[damage[0], &name], &damage[2..]].concat()).await;
        }
        world.is_right(&format!("after {damage:?}"), SOON).await;
    }
    for list in world.list_keys().await {
        world.redis.must::<Value>(&["SET", &list, "text"]).await;
        world.is_right("after a node's list was damaged", SOON).await;
    }
    world.redis.must::<Value>(&["ZADD", "headcount:v1:nodes", "5", "\u{1f}\u{8b}"]).await;
    world.is_right("after a strange node came", SOON).await;
    world.redis.must::<Value>(&["SET", "headcount:v1:nodes", "text"]).await;
    world.is_right("after the nodes were damaged", SOON).await;
}

/// Bytes that are no UTF-8, which a command line of texts cannot carry.
async fn put_bytes(redis: &Redis, key: &str) {
    let script = "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], '\\31\\139\\8\\255')";
    redis.must::<Value>(&["EVAL", script, "1", key]).await;
}

#[tokio::test]
async fn a_key_that_holds_bytes_concerns_nobody_but_its_own_channel() {
    let _turn = beside_others().await;
    let world = World::begin().await;
    put_bytes(&world.redis, "page:/home").await;
    let curious = Client::open(&world.nodes[0], "watch=page:/home").await;
    curious
        .until("refused", SOON, |got| got.iter().any(|message| message["error"]["code"] == "refused").then_some(()))
        .await;
    world.is_right("beside a key of bytes", SOON).await;
    assert_eq!(world.nodes[0].get("/readyz").await.unwrap().status, 200);
    assert_eq!(world.lines("degraded"), 0);
    let script = "redis.call('ZADD', 'headcount:v1:nodes', 5, '\\139\\255')
        return redis.call('HSET', KEYS[1], '\\139\\255', '3')";
    for kind in KINDS {
        world.redis.must::<Value>(&["EVAL", script, "1", &key(kind.channel(), "tally")]).await;
    }
    world.is_right("after members of bytes came", SOON).await;
    assert_eq!(world.lines("degraded"), 0);
}

#[tokio::test]
async fn a_total_that_holds_no_count_is_told_once_left_alone_and_right_when_it_is_freed() {
    let _turn = beside_others().await;
    let world = World::begin().await;
    for (index, damage) in [&["SET", "9223372036854775807"][..], &["RPUSH", "precious"]].iter().enumerate() {
        for kind in KINDS {
            world.redis.must::<Value>(&["DEL", kind.channel()]).await;
            world.redis.must::<Value>(&[&[damage[0], kind.channel()], &damage[1..]].concat()).await;
        }
        eventually("both servers say so", SOON, || async {
            let said = world.nodes.iter().map(|node| node.log.lines_with("cannot be counted").len()).collect();
            same("lines", said, vec![KINDS.len() * (index + 1); 2])
        })
        .await;
        for kind in KINDS {
            // People come and go meanwhile.
            drop(Client::join(&world.nodes[0], &[kind.channel()]).await);
            let there: String = world.redis.must(&["TYPE", kind.channel()]).await;
            assert_eq!(there, if index == 0 { "string" } else { "list" });
        }
        world.nobody_was_sent_away();
        for kind in KINDS {
            world.redis.must::<Value>(&["DEL", kind.channel()]).await;
        }
        world.is_right(&format!("after {damage:?} was undone"), SOON).await;
    }
}

#[tokio::test]
async fn a_total_is_set_right_within_two_seconds_of_its_deletion_though_nobody_moves() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    // With the repair that everybody has, so that it cannot be what helps.
    let node = Node::start(&redis.url()).await;
    let clients = [Client::join(&node, &CHANNELS).await, Client::join(&node, &CHANNELS).await];
    for client in &clients {
        client.shows(CHANNELS[0], 2).await;
        client.shows(CHANNELS[1], 2).await;
    }
    for channel in CHANNELS {
        // Another program's number is taken for its share, until the key is deleted.
        redis.must::<Value>(&["SET", channel, "50"]).await;
        redis.must::<Value>(&["DEL", channel]).await;
    }
    settles("2 everywhere", Duration::from_secs(2), HOLD, || async {
        for channel in CHANNELS {
            same(channel, redis.get(channel).await?, Some(2))?;
            clients.iter().try_for_each(|client| client.sees(channel, 2))?;
        }
        Ok(())
    })
    .await;
}

/// Lets the store refuse for two seconds while people come and go, and undoes it.
async fn outlives(refuse: &[&[&str]], undo: &[&[&str]], grows: bool) {
    let mut world = World::begin().await;
    for command in refuse {
        world.redis.must::<Value>(command).await;
    }
    if grows {
        world.comes(0, 9).await;
    }
    eventually("a server says so", SOON, || async {
        if world.lines("refused: the store answers") > 0 { Ok(()) } else { Err("nobody does".to_owned()) }
    })
    .await;
    stays("nobody is sent away", Duration::from_secs(2), || async {
        world.nobody_was_sent_away();
        Ok(())
    })
    .await;
    for command in undo {
        world.redis.must::<Value>(command).await;
    }
    world.is_right("after the store refused", SOON).await;
    for node in &world.nodes {
        let told = node.log.lines_with("refused: the store answers").len();
        assert!(told <= 1, "{}", node.log.text());
        eventually("it says that it is over", SOON, || async {
            same("lines", node.log.lines_with("INFO live: ").len(), told + 1)
        })
        .await;
    }
    for client in world.tabs.clients() {
        let states: Vec<_> = client.messages().into_iter().filter(|message| message.get("state").is_some()).collect();
        assert!(states.len() <= 4, "{states:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_out_of_memory_sends_nobody_away() {
    let _turn = beside_others().await;
    let mut world = World::begin().await;
    if world.redis.nodes() == 0 {
        outlives(&[&["CONFIG", "SET", "maxmemory", "1"]], &[&["CONFIG", "SET", "maxmemory", "0"]], true).await;
        return;
    }
    // The embedded store refuses others, and never the count.
    world.redis.must::<Value>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    world.redis.run::<Value>(&["SET", "other", "x"]).await.expect_err("others are refused");
    world.comes(0, 9).await;
    world.is_right("with a full store", SOON).await;
    assert_eq!(world.lines("refused: the store answers"), 0);
    world.nobody_was_sent_away();
}

#[tokio::test]
async fn a_store_that_is_out_of_memory_lets_people_leave() {
    let _turn = beside_others().await;
    let mut world = World::begin().await;
    world.redis.must::<Value>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // Two tabs, of which one was the last of somebody.
    world.tabs.close_oldest();
    world.tabs.close_oldest();
    world.is_right("after one has left a full store", SOON).await;
    assert_eq!(world.lines("lease had ended"), 0, "a full store ends no lease");
    world.redis.must::<Value>(&["CONFIG", "SET", "maxmemory", "0"]).await;
}

#[tokio::test]
async fn a_store_without_its_replicas_sends_nobody_away() {
    let _turn = beside_others().await;
    if Redis::start().await.nodes() > 0 {
        return; // The embedded store has no replicas.
    }
    let (refuse, undo) =
        (["CONFIG", "SET", "min-replicas-to-write", "1"], ["CONFIG", "SET", "min-replicas-to-write", "0"]);
    outlives(&[&refuse], &[&undo], true).await;
}

#[tokio::test]
async fn a_store_that_turns_into_a_replica_sends_nobody_away() {
    let _turn = beside_others().await;
    if Redis::start().await.nodes() > 0 {
        return; // The embedded store is never a replica.
    }
    // Of a server that does not exist, so that it keeps its data.
    outlives(&[&["REPLICAOF", "127.0.0.1", "1"]], &[&["REPLICAOF", "NO", "ONE"]], false).await;
}

#[tokio::test]
async fn a_right_that_is_missing_sends_nobody_away() {
    let _turn = beside_others().await;
    if Redis::start().await.nodes() > 0 {
        return; // The embedded store has one user, who may do everything.
    }
    let (refuse, undo) = (["ACL", "SETUSER", "default", "-zadd"], ["ACL", "SETUSER", "default", "+zadd"]);
    outlives(&[&refuse], &[&undo], true).await;
}

/// What a dead server leaves on a channel that nobody has, once its entry among the nodes is lost: its list,
/// and a share that no list names.
#[tokio::test]
async fn what_a_dead_server_left_is_found_though_nobody_has_the_channel() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    for page in ["page:/listed", "page:/unlisted"] {
        redis.must::<i64>(&["HSET", &key(page, "tally"), "0123", "3"]).await;
        redis.must::<Value>(&["SET", &key(page, "own"), "3"]).await;
        redis.must::<Value>(&["SET", page, "3"]).await;
    }
    for channel in ["page:/people", "room:left"] {
        redis.must::<i64>(&["HSET", &key(channel, "owner"), "ab", "1 5 4567"]).await;
        redis.must::<i64>(&["HSET", &key(channel, "people"), "0123456789abcdef", "ab"]).await;
        redis.must::<Value>(&["SET", &key(channel, "own"), "1"]).await;
        redis.must::<Value>(&["SET", channel, "1"]).await;
    }
    redis.must::<i64>(&["HSET", &key("room:left", "members"), "", "a1 1 b2 c3", "0123456789abcdef", "17 0"]).await;
    redis.must::<i64>(&["HSET", &key("room:alone", "members"), "", "a1 1 b2 c3", "0123456789abcdef", "17 0"]).await;
    redis.must::<i64>(&["SADD", "headcount:v1:node:89", "page:/listed"]).await;
    redis.must::<i64>(&["SADD", "headcount:v1:node:0123", "page:/listed"]).await;
    let kinds = Kinds::new();
    let _node = quick(&kinds, &redis).await;
    eventually("only the keys of who lives are left", SOON, || async {
        let mut keys: Vec<String> = redis.must(&["KEYS", "*page:*"]).await;
        keys.extend(redis.must::<Vec<String>>(&["KEYS", "*room:*"]).await);
        keys.extend(redis.must::<Vec<String>>(&["KEYS", "headcount:v1:node:*"]).await);
        same("keys", keys, vec![])
    })
    .await;
}
