//! Keys that are lost or damaged and stores that refuse: the count comes back by itself, nobody is sent
//! away, and each change is one line in the log.

use std::time::Duration;

use redis::Value;

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, beside_others, eventually, same, settles, stays};

const COUNT: &str = "users:count";
const PAGE: &str = "page:/here";
const HOLD: Duration = Duration::from_millis(700);

/// Two servers with three sockets on a channel that is named exactly, and three on one of a pattern.
struct World {
    redis: Redis,
    nodes: [Node; 2],
    clients: Vec<Client>,
}

async fn quick(redis: &Redis) -> Node {
    let node = Node::on(&redis.url())
        .set("PRESENCE__HEARTBEAT", "100ms")
        .set("PRESENCE__LEASE", "600ms")
        .set("PRESENCE__GRACE", "100ms")
        .set("PRESENCE__REPAIR", "1s")
        .start()
        .await;
    node.ready().await;
    node
}

impl World {
    async fn begin() -> World {
        World::on(Redis::start().await).await
    }

    async fn on(redis: Redis) -> World {
        let nodes = [quick(&redis).await, quick(&redis).await];
        let mut clients = Vec::new();
        for node in [&nodes[0], &nodes[0], &nodes[1]] {
            clients.push(Client::join(node, &[COUNT, PAGE]).await);
        }
        let world = World { redis, nodes, clients };
        world.is_right("at first", 3, SOON).await;
        world
    }

    async fn is_right(&self, when: &str, number: i64, within: Duration) {
        settles(&format!("{number} everywhere {when}"), within, HOLD, || async {
            for channel in [COUNT, PAGE] {
                same(channel, self.redis.get(channel).await?, Some(number))?;
                let tally: Vec<i64> = self.redis.run(&["HVALS", &key(channel, "tally")]).await?;
                // Sockets are counted on one channel, visitors on the other.
                let people: i64 = self.redis.run(&["HLEN", &key(channel, "people")]).await?;
                let shares = tally.iter().chain([&people]).map(|share| i128::from(*share)).sum();
                same("the shares", shares, i128::from(number))?;
                same("own", self.redis.get(&key(channel, "own")).await?, Some(number))?;
                self.clients.iter().try_for_each(|client| client.sees(channel, number))?;
            }
            Ok(())
        })
        .await;
        self.nobody_was_sent_away();
    }

    fn nobody_was_sent_away(&self) {
        for client in &self.clients {
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
    format!("headcount:v1:{{{channel}}}:{what}")
}

#[tokio::test]
async fn any_key_of_the_count_may_be_deleted() {
    let _turn = beside_others().await;
    let world = World::begin().await;
    for channel in [COUNT, PAGE] {
        let ours = ["tally", "own", "people", "owner"].map(|what| key(channel, what));
        for lost in ours.iter().map(String::as_str).chain([channel]) {
            world.redis.must::<i64>(&["DEL", lost]).await;
            world.is_right(&format!("after {lost} was lost"), 3, SOON).await;
        }
    }
    for lost in world.list_keys().await {
        world.redis.must::<i64>(&["DEL", &lost]).await;
        world.is_right(&format!("after {lost} was lost"), 3, SOON).await;
    }
    world.redis.must::<i64>(&["DEL", "headcount:v1:nodes"]).await;
    world.is_right("after the nodes were lost", 3, SOON).await;
}

#[tokio::test]
async fn a_tally_that_is_lost_as_somebody_joins_is_not_counted_twice() {
    let _turn = beside_others().await;
    let mut world = World::begin().await;
    for channel in [COUNT, PAGE] {
        world.redis.must::<i64>(&["DEL", &key(channel, "tally")]).await;
    }
    world.clients.push(Client::join(&world.nodes[0], &[COUNT, PAGE]).await);
    world.is_right("after the tally was lost and one more came", 4, SOON).await;
}

#[tokio::test]
async fn any_key_of_ours_may_be_damaged() {
    let _turn = beside_others().await;
    let world = World::begin().await;
    for channel in [COUNT, PAGE] {
        let (tally, own) = (key(channel, "tally"), key(channel, "own"));
        let (people, owner) = (key(channel, "people"), key(channel, "owner"));
        let gzip = "\u{1f}\u{8b}\u{8}";
        for damage in [
            &["SET", &tally, "text"][..],
            &["HSET", &tally, "bogus", "abc"],
            &["HSET", &tally, "bogus", "9223372036854775807"],
            &["HSET", &tally, "bogus", "-5"],
            &["HSET", &tally, gzip, gzip],
            &["HSET", &tally, gzip, "7"],
            &["SET", &own, "abc"],
            &["SET", &own, "9223372036854775807"],
            &["SET", &own, "-1"],
            &["SET", &own, gzip],
            &["SET", &people, "text"],
            &["HSET", &people, "bogus", "abc"],
            &["HSET", &people, gzip, gzip],
            &["SET", &owner, "text"],
            &["HSET", &owner, "bogus", "abc"],
            &["HSET", &owner, "xy", "5 9223372036854775807 nobody"],
            &["HSET", &owner, gzip, gzip],
            &["HSET", &own, "a", "b"],
        ] {
            if damage[0] == "SET" || damage[1] == own {
                world.redis.must::<Value>(&["DEL", damage[1]]).await;
            }
            world.redis.must::<Value>(damage).await;
            world.is_right(&format!("after {damage:?}"), 3, SOON).await;
        }
    }
    for list in world.list_keys().await {
        world.redis.must::<Value>(&["SET", &list, "text"]).await;
        world.is_right("after a node's list was damaged", 3, SOON).await;
    }
    world.redis.must::<Value>(&["ZADD", "headcount:v1:nodes", "5", "\u{1f}\u{8b}"]).await;
    world.is_right("after a strange node came", 3, SOON).await;
    world.redis.must::<Value>(&["SET", "headcount:v1:nodes", "text"]).await;
    world.is_right("after the nodes were damaged", 3, SOON).await;
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
    world.is_right("beside a key of bytes", 3, SOON).await;
    assert_eq!(world.nodes[0].get("/readyz").await.unwrap().status, 200);
    assert_eq!(world.lines("degraded"), 0);
    let script = "redis.call('ZADD', 'headcount:v1:nodes', 5, '\\139\\255')
        return redis.call('HSET', KEYS[1], '\\139\\255', '3')";
    for channel in [COUNT, PAGE] {
        world.redis.must::<Value>(&["EVAL", script, "1", &key(channel, "tally")]).await;
    }
    world.is_right("after members of bytes came", 3, SOON).await;
    assert_eq!(world.lines("degraded"), 0);
}

#[tokio::test]
async fn a_total_that_holds_no_count_is_told_once_left_alone_and_right_when_it_is_freed() {
    let _turn = beside_others().await;
    let world = World::begin().await;
    for channel in [COUNT, PAGE] {
        for (index, damage) in
            [&["SET", channel, "9223372036854775807"][..], &["RPUSH", channel, "precious"]].iter().enumerate()
        {
            world.redis.must::<Value>(&["DEL", channel]).await;
            world.redis.must::<Value>(damage).await;
            eventually("both servers say so", SOON, || async {
                let said = world.nodes.each_ref().map(|node| node.log.lines_with("cannot be counted").len());
                let lines = index + 1 + if channel == PAGE { 2 } else { 0 };
                same("lines", said, [lines, lines])
            })
            .await;
            // People come and go meanwhile.
            drop(Client::join(&world.nodes[0], &[channel]).await);
            let kind: String = world.redis.must(&["TYPE", channel]).await;
            assert_eq!(kind, if index == 0 { "string" } else { "list" });
            world.nobody_was_sent_away();
            world.redis.must::<Value>(&["DEL", channel]).await;
            world.is_right(&format!("after {damage:?} was undone"), 3, SOON).await;
        }
    }
}

#[tokio::test]
async fn a_total_is_set_right_within_two_seconds_of_its_deletion_though_nobody_moves() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    // With the repair that everybody has, so that it cannot be what helps.
    let node = Node::start(&redis.url()).await;
    let clients = [Client::join(&node, &[COUNT, PAGE]).await, Client::join(&node, &[COUNT, PAGE]).await];
    for client in &clients {
        client.shows(COUNT, 2).await;
        client.shows(PAGE, 2).await;
    }
    for channel in [COUNT, PAGE] {
        // Another program's number is taken for its share, until the key is deleted.
        redis.must::<Value>(&["SET", channel, "50"]).await;
        redis.must::<Value>(&["DEL", channel]).await;
    }
    settles("2 everywhere", Duration::from_secs(2), HOLD, || async {
        for channel in [COUNT, PAGE] {
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
    let late = if grows {
        Some(Client::open(&world.nodes[0], &format!("channel={COUNT}&channel={PAGE}")).await)
    } else {
        None
    };
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
    world.clients.extend(late);
    world.is_right("after the store refused", world.clients.len() as i64, SOON).await;
    for node in &world.nodes {
        let told = node.log.lines_with("refused: the store answers").len();
        assert!(told <= 1, "{}", node.log.text());
        eventually("it says that it is over", SOON, || async {
            same("lines", node.log.lines_with("INFO live: ").len(), told + 1)
        })
        .await;
    }
    for client in &world.clients {
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
    world.clients.push(Client::open(&world.nodes[0], &format!("channel={COUNT}&channel={PAGE}")).await);
    world.is_right("with a full store", world.clients.len() as i64, SOON).await;
    assert_eq!(world.lines("refused: the store answers"), 0);
    world.nobody_was_sent_away();
}

#[tokio::test]
async fn a_store_that_is_out_of_memory_lets_people_leave() {
    let _turn = beside_others().await;
    let mut world = World::begin().await;
    world.redis.must::<Value>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    drop(world.clients.remove(0));
    world.is_right("after one has left a full store", 2, SOON).await;
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
    redis.must::<i64>(&["HSET", &key("page:/people", "owner"), "ab", "1 5 4567"]).await;
    redis.must::<i64>(&["HSET", &key("page:/people", "people"), "0123456789abcdef", "ab"]).await;
    redis.must::<Value>(&["SET", &key("page:/people", "own"), "1"]).await;
    redis.must::<Value>(&["SET", "page:/people", "1"]).await;
    redis.must::<i64>(&["SADD", "headcount:v1:node:89", "page:/listed"]).await;
    redis.must::<i64>(&["SADD", "headcount:v1:node:0123", "page:/listed"]).await;
    let _node = quick(&redis).await;
    eventually("only the keys of who lives are left", SOON, || async {
        let mut keys: Vec<String> = redis.must(&["KEYS", "*page:*"]).await;
        keys.extend(redis.must::<Vec<String>>(&["KEYS", "headcount:v1:node:*"]).await);
        same("keys", keys, vec![])
    })
    .await;
}
