//! The scripts that count visitors, over a real store: whatever happens to a node, a reply or a key, the
//! total becomes the number of people who are here.
//!
//! A seed draws what happens; the nodes' own memories say what is right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headcount::presence::Profile;
use headcount::presence::visitors::{Batch, VisitorId, Visitors};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use crate::followed_list::Follower;
use crate::support::beside_others;
use crate::support::redis::Redis;

macro_rules! script {
    ($file:literal) => {
        concat!(
            include_str!("../src/presence/lua/count.lua"),
            include_str!("../src/presence/lua/members.lua"),
            include_str!("../src/presence/lua/people.lua"),
            include_str!(concat!("../src/presence/lua/", $file))
        )
    };
}

const VISIT: &str = script!("visit.lua");
const SWEEP: &str = script!("sweep.lua");
const REPAIR: &str = script!("repair.lua");
const STATE: &str =
    concat!(include_str!("../src/presence/lua/count.lua"), include_str!("../src/presence/lua/state.lua"));

/// How long a list may be.
pub const MOST: &[u8] = b"60";
const BYTES: &[u8] = b"4096";
const NEVER: &[u8] = b"9007199254740991";
/// The keys of one channel, as the scripts take them.
pub const KEYS: [&str; 6] =
    ["page:/", "{page:/}:tally", "{page:/}:own", "{page:/}:people", "{page:/}:owner", "{page:/}:members"];

/// A connection for scripts.
#[derive(Clone)]
pub struct Store(pub MultiplexedConnection);

/// What a script answers: its word, the total, what was damaged, and what it alone has to say.
#[derive(Debug, PartialEq)]
struct Answer {
    word: String,
    total: String,
    damage: String,
    more: [String; 4],
}

impl Store {
    async fn of(redis: &Redis) -> Store {
        let client = redis::Client::open(redis.url()).unwrap();
        let patient = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        Store(client.get_multiplexed_async_connection_with_config(&patient).await.unwrap())
    }

    async fn call(&mut self, name: &str, arguments: &[&[u8]]) -> RedisResult<Value> {
        redis::cmd(name).arg(arguments).query_async(&mut self.0).await
    }

    async fn run(&mut self, script: &str, arguments: &[&[u8]]) -> Answer {
        let reply: Vec<String> = redis::cmd("EVAL")
            .arg(script)
            .arg(KEYS.len())
            .arg(&KEYS)
            .arg(arguments)
            .query_async(&mut self.0)
            .await
            .unwrap();
        let part = |at: usize| reply.get(at).cloned().unwrap_or_default();
        Answer { word: part(0), total: part(1), damage: part(3), more: [part(4), part(5), part(6), part(7)] }
    }

    async fn total(&mut self) -> i64 {
        let total: Option<i64> = redis::cmd("GET").arg(KEYS[0]).query_async(&mut self.0).await.unwrap();
        total.unwrap_or_default()
    }

    async fn owners(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        redis::cmd("HGETALL").arg(KEYS[4]).query_async(&mut self.0).await.unwrap_or_default()
    }

    /// Sweeps everything that is dying, a page of `size` at a time.
    async fn sweep(&mut self, size: usize) {
        for (number, entry) in self.owners().await {
            if !entry.starts_with(b"!") {
                continue;
            }
            let mut cursor = String::from("0");
            loop {
                let size = size.to_string();
                let args = [&number, &entry, cursor.as_bytes(), size.as_bytes(), b"0", MOST, BYTES];
                let answer = self.run(SWEEP, &args).await;
                cursor = answer.more[0].clone();
                if cursor == "0" {
                    break;
                }
            }
        }
    }
}

/// A node as far as the scripts know it.
struct Node {
    id: String,
    olds: Vec<String>,
    stamps: u64,
    visitors: Visitors,
    /// Whether it keeps a list of members, and the secret that it would begin one with.
    lists: bool,
    secret: String,
}

impl Node {
    fn new(draw: &mut fastrand::Rng, lists: bool) -> Node {
        let (id, secret) = (format!("{:032x}", draw.u128(..)), format!("{:032x}", draw.u128(..)));
        Node { id, olds: Vec::new(), stamps: 0, visitors: Visitors::default(), lists, secret }
    }

    fn begin(&mut self, draw: &mut fastrand::Rng) -> Batch {
        self.stamps += 1;
        // Few numbers, so that nodes want the same ones.
        self.visitors.batch([0, draw.u8(..8)], self.stamps)
    }

    async fn send(&self, store: &mut Store, batch: &Batch, budget: &str) -> Answer {
        let (from, to, olds) = (batch.from.to_string(), batch.to.to_string(), self.olds.len().to_string());
        let mut all: Vec<Vec<u8>> = vec![self.id.clone().into(), batch.number.to_vec(), from.into(), to.into()];
        let lists: &[u8] = if self.lists { b"1" } else { b"0" };
        all.extend([NEVER, b"0", b"1", budget.as_bytes(), lists].map(<[u8]>::to_vec));
        let (epoch, secret) = (self.visitors.epoch().as_bytes(), self.secret.as_bytes());
        all.extend([epoch, secret, MOST, BYTES, olds.as_bytes()].map(<[u8]>::to_vec));
        all.extend(self.olds.iter().map(|old| old.clone().into_bytes()));
        all.extend(batch.changes.iter().map(|change| {
            let profile = change.profile.as_ref().map(|who| {
                let name = who.name.as_deref().unwrap();
                format!("{} {} {name}", who.made, name.len())
            });
            match change.here {
                true => [b"+", &change.visitor.0[..], profile.unwrap_or("0".into()).as_bytes()].concat(),
                false => [b"-", &change.visitor.0[..]].concat(),
            }
        }));
        let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        store.run(VISIT, &all).await
    }

    /// Takes in an answer, as the presence does.
    fn settle(&mut self, batch: &Batch, answer: &Answer) {
        let [count, done, ..] = answer.more.each_ref().map(|number| number.parse().unwrap_or_default());
        match answer.word.as_str() {
            "ok" | "unusable" => {
                self.olds.clear();
                self.visitors.listed(&answer.more[2]);
                self.visitors.made(batch, done, count);
            }
            "taken" => self.visitors.taken(batch),
            "lost" => self.visitors.lost(),
            word => panic!("{word}"),
        }
    }

    async fn state(&mut self, store: &mut Store, draw: &mut fastrand::Rng, budget: &str) {
        let batch = self.begin(draw);
        let answer = self.send(store, &batch, budget).await;
        self.settle(&batch, &answer);
    }

    /// A repair: what the store has is compared, and all that is unstated is stated.
    async fn repair(&mut self, store: &mut Store, draw: &mut fastrand::Rng, dead: &[&str]) {
        for _ in 0..1000 {
            if self.visitors.unstated() || !self.olds.is_empty() {
                self.state(store, draw, "2").await;
                continue;
            }
            let (number, stamp) = self.visitors.confirmed().unwrap().map_or((Vec::new(), 0), |(n, s)| (n.to_vec(), s));
            let stamp = stamp.to_string();
            let epoch = self.visitors.epoch().to_owned();
            let mut all: Vec<&[u8]> = vec![self.id.as_bytes(), b"0", b"0", &number, stamp.as_bytes()];
            all.extend([epoch.as_bytes(), MOST, BYTES]);
            all.extend(dead.iter().map(|id| id.as_bytes()));
            if store.run(REPAIR, &all).await.word != "lost" {
                return;
            }
            self.visitors.lost();
        }
        panic!("a repair does not end");
    }
}

fn visitor(number: u32) -> VisitorId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    VisitorId(id)
}

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
            90..93 => store.sweep(draw.usize(1..50)).await,
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
        store.sweep(draw.usize(1..50)).await;
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
        // Without any time a batch gets on all the same.
        node.state(&mut store, &mut draw, "0").await;
        batches += 1;
    }
    assert_eq!((batches, store.total().await), (10, 1000));
}

#[tokio::test]
async fn nodes_that_count_sockets_and_nodes_that_count_visitors_share_a_total() {
    let _place = beside_others().await;
    let redis = Redis::start().await;
    let mut store = Store::of(&redis).await;
    let mut draw = fastrand::Rng::with_seed(1);
    let (mut node, mut other) = (Node::new(&mut draw, true), Node::new(&mut draw, true));
    store.run(STATE, &[b"sockets", b"5", NEVER, b"0", b"0"]).await;
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
