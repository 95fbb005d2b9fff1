//! The holes that a count like this has, each with the order of events forced: the count ends right.
//!
//! A dead node is what it leaves in the store: an ended lease, a list of channels, tallies. So these
//! tests put just that there, or run the count's own scripts as a node would that is late.

use std::time::Duration;

use redis::{Script, Value};

use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::{Redis, connect};
use crate::support::{SOON, beside_others, eventually, same, settles};

const COUNT: &str = "users:count";
const TALLY: &str = "headcount:v1:{users:count}:tally";
const NODES: &str = "headcount:v1:nodes";

const OWN: &str = "headcount:v1:{users:count}:own";
const PEOPLE: &str = "headcount:v1:{users:count}:people";
const OWNER: &str = "headcount:v1:{users:count}:owner";
const MEMBERS: &str = "headcount:v1:{users:count}:members";
const KEYS: [&str; 6] = [COUNT, TALLY, OWN, PEOPLE, OWNER, MEMBERS];

const STATE: &str = concat!(
    include_str!("../src/presence/lua/enter.lua"),
    include_str!("../src/presence/lua/count.lua"),
    include_str!("../src/presence/lua/state.lua")
);
const REPAIR: &str = concat!(
    include_str!("../src/presence/lua/enter.lua"),
    include_str!("../src/presence/lua/count.lua"),
    include_str!("../src/presence/lua/members.lua"),
    include_str!("../src/presence/lua/people.lua"),
    include_str!("../src/presence/lua/repair.lua")
);
const HEARTBEAT: &str = include_str!("../src/presence/lua/heartbeat.lua");

/// A node with short times, so that what is to heal heals within the test.
async fn quick(redis: &Redis) -> Node {
    let node = Node::on(&redis.url())
        .set("PRESENCE__HEARTBEAT", "100ms")
        .set("PRESENCE__LEASE", "600ms")
        .set("PRESENCE__GRACE", "100ms")
        .set("PRESENCE__REPAIR", "500ms")
        .start()
        .await;
    node.ready().await;
    node
}

/// Runs one of the count's scripts as a node would.
async fn run(redis: &Redis, script: &str, keys: &[&str], arguments: &[&str]) -> Vec<Value> {
    let mut connection = connect(&redis.url()).await.unwrap();
    let script = Script::new(script);
    let mut call = script.prepare_invoke();
    for key in keys {
        call.key(*key);
    }
    for argument in arguments {
        call.arg(*argument);
    }
    call.invoke_async(&mut connection).await.unwrap()
}

fn word(reply: &[Value]) -> String {
    redis::from_redis_value(reply[0].clone()).unwrap()
}

/// The store's time in milliseconds.
async fn now(redis: &Redis) -> i64 {
    let time: Vec<i64> = redis.must(&["TIME"]).await;
    time[0] * 1000 + time[1] / 1000
}

/// Leaves in the store, in one step, what a node leaves that died long ago: its ended lease, its
/// list, and for each of its channels a tally that the total holds.
async fn leave_a_dead_node(redis: &Redis, id: &str, channels: &[(&str, &str)]) {
    let script = "for i = 2, #ARGV, 2 do
        redis.call('SADD', 'headcount:v1:node:' .. ARGV[1], ARGV[i])
        redis.call('HSET', 'headcount:v1:{' .. ARGV[i] .. '}:tally', ARGV[1], ARGV[i + 1])
        redis.call('INCRBY', ARGV[i], ARGV[i + 1])
        redis.call('INCRBY', 'headcount:v1:{' .. ARGV[i] .. '}:own', ARGV[i + 1])
      end
      redis.call('ZADD', 'headcount:v1:nodes', 1000, ARGV[1])";
    let mut command = vec!["EVAL", script, "0", id];
    command.extend(channels.iter().flat_map(|(channel, number)| [*channel, *number]));
    redis.must::<Value>(&command).await;
}

async fn count_is(redis: &Redis, clients: &[&Client], number: i64) {
    settles(&format!("{number} everywhere"), SOON, Duration::from_secs(1), || async {
        same("GET", redis.get(COUNT).await?, Some(number))?;
        clients.iter().try_for_each(|client| client.sees(COUNT, number))
    })
    .await;
}

async fn nobody_is_dead(redis: &Redis, alive: usize) {
    eventually("only living nodes are left", SOON, || async {
        let nodes: Vec<String> = redis.run(&["ZRANGE", NODES, "0", "-1"]).await?;
        let tallies: Vec<String> = redis.run(&["HKEYS", TALLY]).await?;
        let strangers = tallies.iter().filter(|id| !nodes.contains(id)).count();
        same("nodes, and tallies of strangers", (nodes.len(), strangers), (alive + redis.nodes(), 0))
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_arrives_after_its_lease_ended_changes_nothing() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let end = now(&redis).await + 60_000;
    let in_time = run(&redis, STATE, &KEYS, &["a", "5", &end.to_string(), "1", "0", ""]).await;
    assert_eq!((word(&in_time), redis.get(COUNT).await), ("ok".into(), Ok(Some(5))));
    let past = now(&redis).await - 1;
    let late = run(&redis, STATE, &KEYS, &["a", "9", &past.to_string(), "1", "1", ""]).await;
    assert_eq!((word(&late), redis.get(COUNT).await), ("late".into(), Ok(Some(5))));
}

#[tokio::test]
async fn a_channel_is_listed_in_the_step_that_states_it_and_not_after_the_lease_ended() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let list = "headcount:v1:node:a";
    let keys = [&KEYS[..], &[NODES, list]].concat();
    let past = (now(&redis).await - 1).to_string();
    let late = run(&redis, STATE, &keys, &["a", "5", &past, "1", "0", COUNT]).await;
    let listed: Vec<String> = redis.must(&["SMEMBERS", list]).await;
    // A server that serves the store has set the number up.
    let number = redis.get(COUNT).await.map(Option::unwrap_or_default);
    assert_eq!((word(&late), number, listed), ("late".into(), Ok(0), vec![]));
    let end = (now(&redis).await + 60_000).to_string();
    for damaged in [false, true] {
        if damaged {
            redis.must::<Value>(&["SET", list, "no set"]).await;
        }
        let stated = run(&redis, STATE, &keys, &["a", "5", &end, "1", "0", COUNT]).await;
        let listed: Vec<String> = redis.must(&["SMEMBERS", list]).await;
        assert_eq!((word(&stated), redis.get(COUNT).await, listed), ("ok".into(), Ok(Some(5)), vec![COUNT.into()]));
    }
}

#[tokio::test]
async fn a_repair_that_finds_somebody_who_is_no_node_does_nothing_unless_all_nodes_were_lost() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let end = (now(&redis).await + 60_000).to_string();
    for id in ["me", "dead"] {
        run(&redis, STATE, &KEYS, &[id, "2", &end, "1", "0", ""]).await;
    }
    redis.must::<Value>(&["SET", COUNT, "1"]).await;
    let keys = [&KEYS[..], &[NODES, "headcount:v1:node:me"]].concat();
    let repair = || run(&redis, REPAIR, &keys, &["me", "2", "1", "", "", "", "0", "0", "1", "", ""]);
    redis.must::<Value>(&["ZADD", NODES, "1", "me"]).await;
    assert_eq!((word(&repair().await), redis.get(COUNT).await), ("strangers".into(), Ok(Some(1))));
    redis.must::<Value>(&["DEL", NODES]).await;
    assert_eq!((word(&repair().await), redis.get(COUNT).await), ("ok".into(), Ok(Some(4))));
    redis.must::<Value>(&["ZADD", NODES, "1", "me", "1", "dead"]).await;
    assert_eq!((word(&repair().await), redis.get(COUNT).await), ("ok".into(), Ok(Some(4))));
}

#[tokio::test]
async fn stating_a_number_twice_changes_nothing_and_older_ids_are_taken_out_in_the_same_step() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let end = (now(&redis).await + 60_000).to_string();
    for _ in 0..3 {
        run(&redis, STATE, &KEYS, &["old", "5", &end, "1", "0", ""]).await;
    }
    assert_eq!(redis.get(COUNT).await, Ok(Some(5)));
    for _ in 0..3 {
        run(&redis, STATE, &KEYS, &["new", "6", &end, "1", "1", "", "old"]).await;
    }
    let tally: Vec<String> = redis.must(&["HGETALL", TALLY]).await;
    assert_eq!((redis.get(COUNT).await, tally), (Ok(Some(6)), vec!["new".into(), "6".into()]));
}

#[tokio::test]
async fn an_ended_lease_is_never_renewed() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    redis.must::<()>(&["ZADD", NODES, "1000", "a"]).await;
    let beat = run(&redis, HEARTBEAT, &[NODES], &["a", "2500", "500", "0"]).await;
    assert_eq!(word(&beat), "gone");
    let stranger = run(&redis, HEARTBEAT, &[NODES], &["b", "2500", "500", "0"]).await;
    assert_eq!(word(&stranger), "gone");
}

#[tokio::test]
async fn two_reapers_at_once_withdraw_a_dead_node_once() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [quick(&redis).await, quick(&redis).await];
    let clients = [Client::open(&nodes[0], "").await, Client::open(&nodes[1], "").await];
    count_is(&redis, &[&clients[0], &clients[1]], 2).await;
    leave_a_dead_node(&redis, "dead", &[(COUNT, "7")]).await;
    // Beside the two nodes, withdraw it by hand as well, several times at once.
    let by_hand = || run(&redis, REPAIR, &KEYS, &["me", "", "1", "", "", "", "0", "0", "0", "", "", "dead"]);
    tokio::join!(by_hand(), by_hand(), by_hand());
    nobody_is_dead(&redis, 2).await;
    count_is(&redis, &[&clients[0], &clients[1]], 2).await;
}

#[tokio::test]
async fn a_reaper_that_dies_midway_is_followed_by_another() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    // The dead reaper had withdrawn the one channel and not the other, nor struck the node.
    leave_a_dead_node(&redis, "dead", &[(COUNT, "7"), ("page:/a", "3")]).await;
    run(&redis, REPAIR, &KEYS, &["me", "", "1", "", "", "", "0", "0", "0", "", "", "dead"]).await;
    assert_eq!(redis.get(COUNT).await, Ok(Some(0)));

    let node = quick(&redis).await;
    let client = Client::open(&node, "").await;
    nobody_is_dead(&redis, 1).await;
    eventually("page:/a is gone with its last tally", SOON, || async {
        same("GET page:/a", redis.get("page:/a").await?, None)
    })
    .await;
    count_is(&redis, &[&client], 1).await;
}

#[tokio::test]
async fn a_node_that_wakes_while_it_is_reaped_is_counted_once() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = quick(&redis).await;
    let client = Client::open(&node, "").await;
    count_is(&redis, &[&client], 1).await;
    let ids: Vec<String> = redis.must(&["HKEYS", TALLY]).await;

    node.freeze();
    eventually("the lease has ended", SOON, || async {
        let end: i64 = redis.run(&["ZSCORE", NODES, &ids[0]]).await?;
        if now(&redis).await > end { Ok(()) } else { Err(format!("it ends at {end}")) }
    })
    .await;
    // A reaper has withdrawn the tally, and not yet struck the node.
    run(&redis, REPAIR, &KEYS, &["me", "", "1", "", "", "", "0", "0", "0", "", "", &ids[0]]).await;
    assert_eq!(redis.get(COUNT).await, Ok(Some(0)));
    node.thaw();

    count_is(&redis, &[&client], 1).await;
    let _: i64 = redis.must(&["ZREM", NODES, &ids[0]]).await;
    count_is(&redis, &[&client], 1).await;
    nobody_is_dead(&redis, 1).await;
}

#[tokio::test]
async fn a_total_that_another_program_breaks_is_repaired() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = quick(&redis).await;
    let clients = [Client::open(&node, "").await, Client::open(&node, "").await];
    let both = [&clients[0], &clients[1]];
    count_is(&redis, &both, 2).await;
    for broken in [&["DEL", COUNT][..], &["SET", COUNT, "0"], &["SET", COUNT, "banana"], &["SET", COUNT, "-4"]] {
        redis.must::<Value>(broken).await;
        count_is(&redis, &both, 2).await;
    }
    // What others have counted on top is theirs, and stays.
    redis.must::<()>(&["SET", COUNT, "12"]).await;
    count_is(&redis, &both, 12).await;
}

#[tokio::test]
async fn a_key_of_another_type_is_left_alone_and_the_count_returns_when_it_is_freed() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    // In one step, whatever a node that serves the store has put there.
    let put = "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'precious')";
    redis.must::<i64>(&["EVAL", put, "1", COUNT]).await;
    let node = quick(&redis).await;
    let client = Client::open(&node, "").await;
    eventually("the log says it", SOON, || async { same("lines", node.log.lines_with("cannot be counted").len(), 1) })
        .await;
    let joined = |got: &[serde_json::Value]| got.iter().any(|message| message["subscribed"] == COUNT).then_some(());
    client.until("joined", SOON, joined).await;
    redis.must::<()>(&["PUBLISH", COUNT, "hello"]).await;
    client.shows(COUNT, "hello").await;
    assert_eq!(redis.must::<String>(&["LINDEX", COUNT, "0"]).await, "precious");
    redis.must::<()>(&["DEL", COUNT]).await;
    count_is(&redis, &[&client], 1).await;
}

#[tokio::test]
async fn a_channel_of_a_pattern_never_touches_a_key_that_is_somebody_elses() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    redis.must::<()>(&["SET", "page:/secret", "5"]).await;
    let node = quick(&redis).await;
    let client = Client::open(&node, "channel=page:/secret").await;
    let refused = client
        .until("an error", SOON, |got| got.iter().find(|message| message["error"]["code"] == "refused").cloned())
        .await;
    assert_eq!(refused["error"]["channel"], "page:/secret");
    let watcher = Client::open(&node, "watch=page:/secret").await;
    let refused =
        |got: &[serde_json::Value]| got.iter().any(|message| message["error"]["code"] == "refused").then_some(());
    watcher.until("an error for the watcher too", SOON, refused).await;
    assert_eq!(watcher.last("page:/secret"), None);
    assert_eq!(redis.get("page:/secret").await, Ok(Some(5)));
}

#[tokio::test]
async fn a_publish_that_crosses_another_programs_ends_at_the_keys_value() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let node = quick(&redis).await;
    let client = Client::open(&node, "").await;
    count_is(&redis, &[&client], 1).await;
    // Two programs INCR, and their publishes arrive in the wrong order.
    redis.must::<()>(&["INCR", COUNT]).await;
    redis.must::<()>(&["INCR", COUNT]).await;
    redis.must::<()>(&["PUBLISH", COUNT, "3"]).await;
    redis.must::<()>(&["PUBLISH", COUNT, "2"]).await;
    count_is(&redis, &[&client], 3).await;
    // One that INCRs and dies before it publishes is found by the next repair.
    redis.must::<()>(&["INCR", COUNT]).await;
    count_is(&redis, &[&client], 4).await;
}

#[tokio::test]
async fn a_subscription_that_dropped_while_values_changed_ends_at_the_keys_value() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    // Repairs are too far apart to help.
    let node = Node::start(&redis.url()).await;
    let client = Client::open(&node, "").await;
    count_is(&redis, &[&client], 1).await;
    // In one step: the subscription is cut, and the value changes while nobody hears it.
    let cut = "redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub') redis.call('INCRBY', KEYS[1], 5) redis.call('PUBLISH', KEYS[1], 6)";
    let killed: Result<Value, String> = redis.run(&["EVAL", cut, "1", COUNT]).await;
    if killed.is_err() {
        // A server that does not let a script cut connections: two steps, in the same order.
        redis.must::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        redis.must::<()>(&["INCRBY", COUNT, "5"]).await;
    }
    count_is(&redis, &[&client], 6).await;
}

#[tokio::test]
async fn the_last_value_is_pushed_to_one_who_joined_in_between_though_the_others_have_it() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    // One push a second, and no reading of the key that would repair what pacing left out.
    let node = Node::on(&redis.url())
        .set("LIMITS__PUSHES_PER_SECOND", "1")
        .set("PRESENCE__QUIET", "60s")
        .set("PRESENCE__REPAIR", "1h")
        .start()
        .await;
    node.ready().await;
    let first = Client::open(&node, "watch=users:count").await;
    first.shows(COUNT, 0).await;
    redis.must::<()>(&["PUBLISH", COUNT, "5"]).await;
    first.shows(COUNT, 5).await;
    redis.must::<()>(&["PUBLISH", COUNT, "6"]).await;
    // The joiner is told 6, which is still kept from the others.
    let second = eventually("a joiner is told 6", SOON, || async {
        let client = Client::open(&node, "watch=users:count").await;
        client.shows(COUNT, 6).await;
        Ok::<_, String>(client)
    })
    .await;
    redis.must::<()>(&["PUBLISH", COUNT, "5"]).await;
    second.shows(COUNT, 5).await;
    first.shows(COUNT, 5).await;
}

#[tokio::test]
async fn an_outage_that_outlasts_all_leases_leaves_every_node_counted_once() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [quick(&redis).await, quick(&redis).await];
    let clients = [Client::open(&nodes[0], "").await, Client::open(&nodes[1], "").await];
    let both = [&clients[0], &clients[1]];
    count_is(&redis, &both, 2).await;
    let before: Vec<String> = redis.must(&["HKEYS", TALLY]).await;

    redis.pause().await;
    for client in &clients {
        client
            .until("the outage is told", SOON, |got| got.iter().find(|message| message["state"] == "degraded").cloned())
            .await;
    }
    redis.resume().await;

    count_is(&redis, &both, 2).await;
    nobody_is_dead(&redis, 2).await;
    let after: Vec<String> = redis.must(&["HKEYS", TALLY]).await;
    assert!(before.iter().all(|id| !after.contains(id)), "every node took a new id");
}
