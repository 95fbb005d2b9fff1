//! With two thousand sockets on each of two servers that come and go, whatever happens: within 4
//! seconds, and for 2 seconds on end, the key and every surviving socket's last value are the number
//! of sockets that are open on living servers.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::crowd::Crowd;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{alone, same, settles};

const COUNT: &str = "users:count";
const EACH: usize = 2_000;

/// Joins, and leaves, a second on each server.
const RATE: usize = 200;

const WITHIN: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(2);

/// Two servers on one Redis, each with its crowd.
struct World {
    redis: Redis,
    nodes: [Node; 2],
    crowds: [Crowd; 2],
}

impl World {
    async fn begin() -> World {
        let redis = Redis::start().await;
        let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
        let (first, second) =
            tokio::join!(Crowd::gather(&nodes[0], COUNT, EACH), Crowd::gather(&nodes[1], COUNT, EACH));
        let world = World { redis, nodes, crowds: [first, second] };
        world.comes_right("after everybody came").await;
        world
    }

    async fn churn(&mut self, duration: Duration) {
        let [first, second] = &mut self.crowds;
        tokio::join!(first.churn(duration, RATE), second.churn(duration, RATE));
    }

    async fn comes_right(&self, when: &str) {
        comes_right(when, &self.redis, &self.crowds.each_ref()).await;
    }
}

async fn comes_right(when: &str, redis: &Redis, crowds: &[&Crowd]) {
    let open: i64 = crowds.iter().map(|crowd| crowd.size()).sum();
    settles(&format!("{when}, {open} everywhere"), WITHIN, HOLD, || async {
        crowds.iter().try_for_each(|crowd| crowd.sees(open))?;
        same("GET", redis.get(COUNT).await?, Some(open))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_right_within_4_s_of_a_servers_crash() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.churn(Duration::from_secs(20)).await;
    let World { redis, nodes: [victim, _survivor], crowds } = world;
    victim.crash().await;
    comes_right("after a crash", &redis, &[&crowds[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_right_within_4_s_of_a_flushall() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.churn(Duration::from_secs(5)).await;
    world.redis.must::<()>(&["FLUSHALL"]).await;
    world.comes_right("after FLUSHALL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_right_within_4_s_of_an_empty_redis_coming_back() {
    let _turn = alone().await;
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
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.churn(Duration::from_secs(5)).await;
    let frozen_at = Instant::now();
    world.nodes[0].freeze();
    comes_right("while one is frozen", &world.redis, &[&world.crowds[1]]).await;
    let rest = Duration::from_secs(10).saturating_sub(frozen_at.elapsed());
    world.crowds[1].churn(rest, RATE).await;
    world.nodes[0].thaw();
    world.comes_right("after it woke").await;
}
