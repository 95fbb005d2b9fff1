//! With two thousand sockets and some hundred people on each of two servers that come and go, whatever happens:
//! within 4 seconds, and for 2 seconds on end, the keys and every surviving socket's last values are the number
//! of sockets, and of people, that are there on living servers. Nobody is told of somebody who has left and has
//! not, and every list of who is here is right once those who were missing have had their time.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::kinds::{Kinds, MISSING};
use crate::support::node::Node;
use crate::support::party::{Guests, Party, Truth};
use crate::support::redis::Redis;
use crate::support::{beside_one_other, same, settles};

const EACH: usize = 2_000;

/// Joins, and leaves, a second on each server.
const RATE: usize = 200;

const WITHIN: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(2);

/// Two servers on one Redis, each with its crowds.
struct World {
    redis: Redis,
    nodes: [Node; 2],
    parties: [Party; 2],
    /// What the nodes' configuration names.
    _kinds: Kinds,
}

impl World {
    async fn begin() -> World {
        let (redis, kinds, guests) = (Redis::start().await, Kinds::new(), Guests::default());
        let nodes = [kinds.start(&redis).await, kinds.start(&redis).await];
        let (first, second) =
            tokio::join!(Party::gather(&nodes[0], &guests, EACH), Party::gather(&nodes[1], &guests, EACH));
        let world = World { redis, nodes, parties: [first, second], _kinds: kinds };
        world.comes_right("after everybody came").await;
        world
    }

    async fn churn(&mut self, duration: Duration) {
        let [first, second] = &mut self.parties;
        tokio::join!(first.churn(duration, RATE), second.churn(duration, RATE));
    }

    async fn comes_right(&self, when: &str) {
        comes_right(when, &self.redis, &self.parties.each_ref(), &BTreeSet::new()).await;
    }
}

/// `excused`: those who have left as far as anybody could tell.
async fn comes_right(when: &str, redis: &Redis, parties: &[&Party], excused: &BTreeSet<String>) {
    let truth = Truth::of(parties);
    let start = Instant::now();
    settles(&format!("{when}, {:?} everywhere", truth.numbers), WITHIN, HOLD, || async {
        truth.is_told(parties)?;
        for (channel, number) in truth.numbers {
            same(channel, redis.get(channel).await?, Some(number))?;
        }
        Ok(())
    })
    .await;
    let left = (WITHIN + MISSING).saturating_sub(start.elapsed());
    settles(&format!("{when}, the lists"), left, Duration::ZERO, || async { truth.is_listed(parties, excused) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_right_within_4_s_of_a_servers_crash() {
    let _turn = beside_one_other().await;
    let mut world = World::begin().await;
    world.churn(Duration::from_secs(20)).await;
    let World { redis, nodes: [victim, _survivor], parties, _kinds } = world;
    victim.crash().await;
    comes_right("after a crash", &redis, &[&parties[1]], &BTreeSet::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_right_within_4_s_of_a_flushall() {
    let _turn = beside_one_other().await;
    let mut world = World::begin().await;
    world.churn(Duration::from_secs(5)).await;
    world.redis.must::<()>(&["FLUSHALL"]).await;
    world.comes_right("after FLUSHALL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_right_within_4_s_of_an_empty_redis_coming_back() {
    let _turn = beside_one_other().await;
    let mut world = World::begin().await;
    world.churn(Duration::from_secs(5)).await;
    world.redis.kill().await;
    // People come and go meanwhile.
    world.churn(Duration::from_secs(3)).await;
    world.redis.revive().await;
    world.comes_right("after Redis came back empty").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_right_while_a_server_is_frozen_and_within_4_s_of_its_waking() {
    let _turn = beside_one_other().await;
    let mut world = World::begin().await;
    world.churn(Duration::from_secs(5)).await;
    let frozen_at = Instant::now();
    world.nodes[0].freeze();
    comes_right("while one is frozen", &world.redis, &[&world.parties[1]], &BTreeSet::new()).await;
    let rest = Duration::from_secs(10).saturating_sub(frozen_at.elapsed());
    world.parties[1].churn(rest, RATE).await;
    world.nodes[0].thaw();
    // It was gone for longer than its lease, and everybody on it.
    let gone = Truth::of(&[&world.parties[0]]);
    comes_right("after it woke", &world.redis, &world.parties.each_ref(), gone.names()).await;
}
