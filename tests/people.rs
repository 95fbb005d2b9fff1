//! The scripts that count visitors, over a real store: whatever happens to a node, a reply or a key, the
//! total becomes the number of people who are here.
//!
//! A seed draws what happens; the nodes' own memories say what is right.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headcount::presence::Profile;
use headcount::presence::visitors::Batch;
use redis::Value;

use crate::followed_list::Follower;
use crate::scripted::{KEYS, NEVER, Node, STATE, Store, visitor};
use crate::support::beside_others;
use crate::support::redis::Redis;

/// Who is here, as the nodes were told.
type Here = Vec<BTreeSet<u32>>;

#[tokio::test]
async fn whatever_happens_the_total_becomes_the_number_of_people_who_are_here() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let runs: u64 = std::env::var("PEOPLE_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(40);
    let first: u64 = std::env::var("PEOPLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + runs {
        run(&redis, seed).await;
    }
}

async fn run(redis: &Redis, seed: u64) {
    let mut store = Store::of(redis).await;
    store.call("FLUSHALL", &[]).await.unwrap();
    let mut draw = fastrand::Rng::with_seed(seed);
    // Some runs with nodes that keep a list, some without, some with both.
    let lists = |at: u64| seed % 3 < 2 && (seed.is_multiple_of(3) || at > 0);
    let mut nodes: Vec<Node> = (0..3).map(|at| Node::new(&mut draw, lists(at))).collect();
    let mut follower = Follower::new(redis, &store).await;
    let mut here: Here = vec![BTreeSet::new(); 3];
    let mut late: Vec<(Node, Batch)> = Vec::new();
    let mut dead: Vec<String> = Vec::new();
    let (mut foreign, mut disturbed) = (0, false);
    for _ in 0..80 {
        let at = draw.usize(..nodes.len());
        match draw.u32(..100) {
            0..45 => {
                let who = draw.u32(..200);
                if !here[at].remove(&who) {
                    here[at].insert(who);
                }
                nodes[at].visitors.note(visitor(who), here[at].contains(&who), Instant::now(), Duration::ZERO);
                let profile = Profile { name: Some(who.to_string().into()), info: None, made: 1 };
                nodes[at].visitors.describe(visitor(who), Arc::new(profile));
                follower.follow().await;
            }
            45..70 => nodes[at].state(&mut store, &mut draw, "2").await,
            70..76 => {
                // The reply is lost; the batch is carried out now, later, or both.
                let batch = nodes[at].begin(&mut draw);
                if draw.bool() {
                    nodes[at].send(&mut store, &batch, "0").await;
                }
                if draw.bool() {
                    let copy = Node {
                        id: nodes[at].id.clone(),
                        olds: nodes[at].olds.clone(),
                        ..Node::new(&mut draw, nodes[at].lists)
                    };
                    late.push((copy, batch.clone()));
                }
                nodes[at].visitors.in_doubt(&batch);
            }
            76..80 => {
                if let Some((node, batch)) = late.pop() {
                    node.send(&mut store, &batch, "2").await;
                }
            }
            80..84 => {
                let old = std::mem::replace(&mut nodes[at].id, format!("{:032x}", draw.u128(..)));
                dead.push(old.clone());
                nodes[at].olds.push(old);
            }
            84..87 => {
                // A crash; it comes back under another id with nobody.
                dead.push(nodes[at].id.clone());
                nodes[at] = Node::new(&mut draw, nodes[at].lists);
                here[at].clear();
            }
            87..90 => {
                let ids: Vec<&str> = dead.iter().map(String::as_str).collect();
                nodes[at].repair(&mut store, &mut draw, &ids).await;
            }
            90..93 => store.sweep(draw.usize(1..50), b"1").await,
            93..95 => {
                // With the total goes what others had put there.
                let key = draw.usize(..KEYS.len());
                store.call("DEL", &[KEYS[key].as_bytes()]).await.unwrap();
                disturbed |= key == 0 || key == 2;
            }
            95..96 => {
                let key = draw.usize(1..KEYS.len());
                store.call("SET", &[KEYS[key].as_bytes(), b"nonsense"]).await.unwrap();
                disturbed |= key == 2;
            }
            96..97 => {
                // A visitor's numbers are damaged.
                if let Ok(Value::BulkString(who)) = store.call("HRANDFIELD", &[KEYS[3].as_bytes()]).await {
                    store.call("HSET", &[KEYS[3].as_bytes(), &who, b"xyz"]).await.unwrap();
                }
            }
            97..98 => {
                store.call("FLUSHALL", &[]).await.unwrap();
                (foreign, disturbed) = (0, false);
            }
            _ => {
                store.call("INCRBY", &[KEYS[0].as_bytes(), b"1"]).await.unwrap();
                foreign += 1;
            }
        }
    }
    // A late batch comes at last, and the nodes repair until nothing is left to do.
    for (node, batch) in late {
        node.send(&mut store, &batch, "2").await;
    }
    let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
    for _ in 0..3 {
        for node in &mut nodes {
            node.repair(&mut store, &mut draw, &dead).await;
        }
        store.sweep(draw.usize(1..50), b"1").await;
    }
    let everybody: BTreeSet<u32> = here.iter().flatten().copied().collect();
    let total = store.total().await;
    let people: i64 = redis.must(&["HLEN", KEYS[3]]).await;
    assert_eq!(people, everybody.len() as i64, "people of seed {seed}");
    if nodes.iter().all(|node| node.lists) {
        let names = everybody.iter().map(u32::to_string).collect();
        let shown = follower.all().await;
        let hidden = everybody.len() > 54 && shown.is_none();
        assert!(hidden || shown == Some(names), "the list of seed {seed}: {shown:?} for {everybody:?}");
    }
    if !disturbed {
        assert_eq!(total, everybody.len() as i64 + foreign, "the total of seed {seed}");
    }
    for (node, here) in nodes.iter_mut().zip(&here) {
        for who in here {
            node.visitors.note(visitor(*who), false, Instant::now(), Duration::ZERO);
        }
        node.repair(&mut store, &mut draw, &dead).await;
    }
    let left: Vec<String> = redis.must(&["KEYS", "*page:/*"]).await;
    let total = store.total().await;
    assert!(left.iter().all(|key| key == KEYS[0]), "seed {seed} leaves {left:?}");
    if !disturbed {
        assert_eq!(total, foreign, "what others had put there, seed {seed}");
    }
}

#[tokio::test]
async fn a_batch_that_takes_too_long_is_cut_and_goes_on() {
    let _place = beside_others().await;
    let redis = Redis::start_real().await;
    let mut store = Store::of(&redis).await;
    let mut draw = fastrand::Rng::with_seed(1);
    let mut node = Node::new(&mut draw, true);
    for who in 0..1000 {
        node.visitors.note(visitor(who), true, Instant::now(), Duration::ZERO);
    }
    let mut batches = 0;
    while node.visitors.unstated() {
        // A microsecond, which no hundred visitors take. A batch gets on all the same.
        node.state(&mut store, &mut draw, "0.001").await;
        batches += 1;
    }
    assert_eq!((batches, store.total().await), (10, 1000));
}

#[tokio::test]
async fn nobody_is_missing_while_a_node_states_its_visitors_under_another_number() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let mut store = Store::of(&redis).await;
    let mut draw = fastrand::Rng::with_seed(1);
    let mut node = Node::new(&mut draw, true);
    for who in 0..1500 {
        node.visitors.note(visitor(who), true, Instant::now(), Duration::ZERO);
    }
    node.repair(&mut store, &mut draw, &[]).await;
    node.visitors.lost();
    let mut batches = 0;
    while node.visitors.unstated() {
        node.state(&mut store, &mut draw, "2").await;
        batches += 1;
        // Another node meets the old number, and the node itself when all are stated.
        let settled = if node.visitors.unstated() { b"0" } else { b"1" };
        store.sweep(100, settled).await;
        assert_eq!(store.total().await, 1500, "after batch {batches}");
    }
    assert!(batches > 1 && store.owners().await.len() == 1, "{batches} batches");
}

#[tokio::test]
async fn nodes_that_count_sockets_and_nodes_that_count_visitors_share_a_total() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let mut store = Store::of(&redis).await;
    let mut draw = fastrand::Rng::with_seed(1);
    let (mut node, mut other) = (Node::new(&mut draw, true), Node::new(&mut draw, true));
    store.run(STATE, &[b"sockets", b"5", NEVER, b"0", b"0", b""]).await;
    for who in 0..3 {
        node.visitors.note(visitor(who), true, Instant::now(), Duration::ZERO);
        other.visitors.note(visitor(who + 1), true, Instant::now(), Duration::ZERO);
    }
    node.state(&mut store, &mut draw, "2").await;
    other.state(&mut store, &mut draw, "2").await;
    assert_eq!(store.total().await, 5 + 4);
    // A node that counted sockets before counts visitors from now on.
    node.olds.push(String::from("sockets"));
    node.state(&mut store, &mut draw, "2").await;
    assert_eq!(store.total().await, 4);
}
