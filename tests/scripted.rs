//! A node as far as the scripts that count visitors know it, and the store that they run on.

use std::collections::BTreeMap;

use headcount::presence::visitors::{Batch, VisitorId, Visitors};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use crate::support::redis::{Redis, connect};

macro_rules! script {
    ($file:literal) => {
        concat!(
            include_str!("../src/presence/lua/enter.lua"),
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
pub const STATE: &str = concat!(
    include_str!("../src/presence/lua/enter.lua"),
    include_str!("../src/presence/lua/count.lua"),
    include_str!("../src/presence/lua/state.lua")
);

/// How long a list may be.
pub const MOST: &[u8] = b"60";
const BYTES: &[u8] = b"4096";
pub const NEVER: &[u8] = b"9007199254740991";
/// The keys of one channel, as the scripts take them.
pub const KEYS: [&str; 6] =
    ["page:/", "{page:/}:tally", "{page:/}:own", "{page:/}:people", "{page:/}:owner", "{page:/}:members"];

/// A connection for scripts.
#[derive(Clone)]
pub struct Store(pub MultiplexedConnection);

/// What a script answers: its word, the total, what was damaged, and what it alone has to say.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub word: String,
    pub total: String,
    pub damage: String,
    pub more: [String; 4],
}

impl Store {
    pub async fn of(redis: &Redis) -> Store {
        Store(connect(&redis.url()).await.unwrap())
    }

    pub async fn call(&mut self, name: &str, arguments: &[&[u8]]) -> RedisResult<Value> {
        redis::cmd(name).arg(arguments).query_async(&mut self.0).await
    }

    pub async fn run(&mut self, script: &str, arguments: &[&[u8]]) -> Answer {
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

    pub async fn total(&mut self) -> i64 {
        let total: Option<i64> = redis::cmd("GET").arg(KEYS[0]).query_async(&mut self.0).await.unwrap();
        total.unwrap_or_default()
    }

    pub async fn owners(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        redis::cmd("HGETALL").arg(KEYS[4]).query_async(&mut self.0).await.unwrap_or_default()
    }

    /// Sweeps everything that is dying, a page of `size` at a time; `settled` as the script has it.
    pub async fn sweep(&mut self, size: usize, settled: &[u8]) {
        for (number, entry) in self.owners().await {
            if !entry.starts_with(b"!") {
                continue;
            }
            let mut cursor = String::from("0");
            loop {
                let size = size.to_string();
                let args = [&number, &entry, cursor.as_bytes(), size.as_bytes(), b"0", MOST, BYTES, settled];
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
pub struct Node {
    pub id: String,
    pub olds: Vec<String>,
    pub stamps: u64,
    pub visitors: Visitors,
    /// Whether it keeps a list of members, and the secret that it would begin one with.
    pub lists: bool,
    pub secret: String,
}

impl Node {
    pub fn new(draw: &mut fastrand::Rng, lists: bool) -> Node {
        let (id, secret) = (format!("{:032x}", draw.u128(..)), format!("{:032x}", draw.u128(..)));
        Node { id, olds: Vec::new(), stamps: 0, visitors: Visitors::default(), lists, secret }
    }

    pub fn begin(&mut self, draw: &mut fastrand::Rng) -> Batch {
        self.stamps += 1;
        // Few numbers, so that nodes want the same ones.
        self.visitors.batch([0, draw.u8(..8)], self.stamps)
    }

    pub async fn send(&self, store: &mut Store, batch: &Batch, budget: &str) -> Answer {
        let (from, to, olds) = (batch.from.to_string(), batch.to.to_string(), self.olds.len().to_string());
        let mut all: Vec<Vec<u8>> = vec![self.id.clone().into(), batch.number.to_vec(), from.into(), to.into()];
        let lists: &[u8] = if self.lists { b"1" } else { b"0" };
        all.extend([NEVER, b"0", b"1", budget.as_bytes(), lists].map(<[u8]>::to_vec));
        let (epoch, secret) = (self.visitors.epoch().as_bytes(), self.secret.as_bytes());
        all.extend([epoch, secret, MOST, BYTES, olds.as_bytes(), b""].map(<[u8]>::to_vec));
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
    pub fn settle(&mut self, batch: &Batch, answer: &Answer) {
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

    pub async fn state(&mut self, store: &mut Store, draw: &mut fastrand::Rng, budget: &str) {
        let batch = self.begin(draw);
        let answer = self.send(store, &batch, budget).await;
        self.settle(&batch, &answer);
    }

    /// A repair: what the store has is compared, and all that is unstated is stated.
    pub async fn repair(&mut self, store: &mut Store, draw: &mut fastrand::Rng, dead: &[&str]) {
        for _ in 0..1000 {
            if self.visitors.unstated() || !self.olds.is_empty() {
                self.state(store, draw, "2").await;
                continue;
            }
            let (number, stamp) = self.visitors.confirmed().unwrap().map_or((Vec::new(), 0), |(n, s)| (n.to_vec(), s));
            let stamp = stamp.to_string();
            let epoch = self.visitors.epoch().to_owned();
            let mut all: Vec<&[u8]> = vec![self.id.as_bytes(), b"0", b"0", &number, stamp.as_bytes()];
            all.extend([epoch.as_bytes(), MOST, BYTES, b"0", b"", b""]);
            all.extend(dead.iter().map(|id| id.as_bytes()));
            if store.run(REPAIR, &all).await.word != "lost" {
                return;
            }
            self.visitors.lost();
        }
        panic!("a repair does not end");
    }
}

pub fn visitor(number: u32) -> VisitorId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    VisitorId(id)
}
