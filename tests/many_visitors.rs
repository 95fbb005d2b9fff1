//! One node with very many visitors: they are stated, stated again after a loss, moved to a new id and reaped
//! within the times that hold for a few. How long a script keeps the store from others, `cargo bench -- people` measures.
//!
//!     VISITORS=100000 cargo test --release --test promises many_visitors:: -- --nocapture
//!
//! A process may not have so many sockets everywhere, so the node is its presence alone, in this process. What it
//! is for others is seen by a whole node beside it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use headcount::backplane::{Client as StoreClient, Keys};
use headcount::config::{Count, Overrides, load_from};
use headcount::metrics::Metrics;
use headcount::presence::{ChannelHandle, Household, Origin, Presence, VisitorId, presence};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::kinds::{Kind, Kinds};
use crate::support::node::Scratch;
use crate::support::redis::Redis;
use crate::support::{alone, eventually, same, settles, stays};

/// From each fault until the count is right.
const WITHIN: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(1);
const REPAIR: Duration = Duration::from_secs(2);
/// From where all of them come. A private address has no limit.
const ORIGIN: fn() -> Origin = || Origin { household: Household::of(None), limit: None };

/// How many visitors there are.
fn size() -> u32 {
    let asked = std::env::var("VISITORS").ok().map(|number| number.parse().expect("a number of visitors"));
    asked.unwrap_or(3_000)
}

/// A node without sockets. Dropped, it is as one that was killed.
struct Layer {
    handle: Arc<ChannelHandle>,
    _presence: Presence,
    _tasks: JoinSet<()>,
}

impl Layer {
    async fn start(redis: &Redis, kinds: &Kinds, channel: &str) -> Layer {
        let file = Scratch::write("layer.toml", &kinds.config());
        let overrides = Overrides { file: Some(file.0.clone()), redis_url: Some(redis.url()), ..Overrides::default() };
        // With a heartbeat that notices a lost lease before anybody else may act on it.
        let settings = [("REPAIR", format!("{REPAIR:?}")), ("HEARTBEAT", String::from("100ms"))];
        let settings = settings.map(|(key, value)| (format!("HEADCOUNT_PRESENCE__{key}"), value));
        let config = load_from(&overrides, settings.into()).unwrap().config;
        let (client, metrics) = (watch::channel(None).1, Metrics::default());
        let client = StoreClient::new(&config.redis, client, metrics.clone()).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(client.clone().keep_up());
        let (presence, task) = presence(config.presence, config.channels, client, Keys::new(""), metrics);
        tasks.spawn(task);
        let handle = presence.channel(channel.into(), Count::Visitors);
        let members = Keys::new("").members(channel);
        let mut messages = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
        messages.subscribe(&[channel, &members]).await.unwrap();
        handle.live();
        handle.listed();
        let hears = handle.clone();
        tasks.spawn(async move {
            while let Some(message) = messages.on_message().next().await {
                if message.get_channel_name() == members {
                    hears.news(Bytes::copy_from_slice(message.get_payload_bytes()));
                } else {
                    hears.heard();
                }
            }
        });
        Layer { handle, _presence: presence, _tasks: tasks }
    }

    fn welcome(&self, visitors: std::ops::Range<u32>) {
        for number in visitors {
            let id = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            self.handle.join(ORIGIN(), || (VisitorId(id.to_be_bytes()), None));
        }
    }
}

struct Scene {
    redis: Redis,
    channel: &'static str,
    watcher: Client,
}

impl Scene {
    fn key(&self, what: &str) -> String {
        format!("headcount:v1:{{{}}}:{what}", self.channel)
    }

    /// Waits until the store and the other node say this, and tells how long that took.
    async fn comes_to(&self, when: &str, number: i64) {
        let start = Instant::now();
        settles(&format!("{number} {when}"), WITHIN, HOLD, || self.sees(number)).await;
        println!("{}: {number} {when} after {:.2?}", self.channel, start.elapsed() - HOLD);
    }

    async fn sees(&self, number: i64) -> Result<(), String> {
        same("GET", self.redis.get(self.channel).await?.unwrap_or_default(), number)?;
        same("people", self.redis.run(&["HLEN", &self.key("people")]).await?, number)?;
        self.watcher.sees(self.channel, number)
    }

    /// The number of whoever has the most visitors, and its id.
    async fn owner(&self) -> Result<(Vec<u8>, String), String> {
        let owners: HashMap<Vec<u8>, String> = self.redis.run(&["HGETALL", &self.key("owner")]).await?;
        let of = |entry: &str| entry.split(' ').next().and_then(|count| count.parse::<i64>().ok());
        let most = owners.into_iter().max_by_key(|(_, entry)| of(entry)).ok_or("nobody has visitors")?;
        Ok((most.0, most.1.rsplit(' ').next().unwrap_or_default().to_owned()))
    }
}

async fn go_through(kind: Kind) {
    let _turn = alone().await;
    let (redis, kinds, many) = (Redis::start().await, Kinds::new(), size());
    let node = kinds.on(&redis).set("PRESENCE__REPAIR", &format!("{REPAIR:?}")).start().await;
    node.ready().await;
    let channel = kind.channel();
    let watcher = Client::open(&node, &format!("channel={channel}&visitor=on-the-other-node")).await;
    let scene = Scene { redis, channel, watcher };
    let total = i64::from(many) + 1;

    let layer = Layer::start(&scene.redis, &kinds, channel).await;
    layer.welcome(0..many);
    scene.comes_to("once all have come", total).await;

    scene.redis.must::<()>(&["FLUSHALL"]).await;
    scene.comes_to("after FLUSHALL", total).await;

    scene.redis.must::<i64>(&["DEL", &scene.key("people")]).await;
    scene.comes_to("after the people were lost", total).await;

    if kind == Kind::Members {
        // Everybody is stated anew after the next repair, and is counted all the while.
        scene.redis.must::<i64>(&["DEL", &scene.key("members")]).await;
        let same_number = || async { same("GET", scene.redis.get(channel).await?, Some(total)) };
        stays("the number does not change as the list is lost", REPAIR + WITHIN, same_number).await;
        same("members", scene.redis.must(&["HLEN", &scene.key("members")]).await, total + 1).unwrap();
    }

    let (number, id) = scene.owner().await.unwrap();
    // A millisecond ago: in the one in which it ends, it may still be renewed.
    let end_lease = "local time = redis.call('TIME')
        return redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) - 1, ARGV[1])";
    scene.redis.must::<i64>(&["EVAL", end_lease, "1", "headcount:v1:nodes", &id]).await;
    let start = Instant::now();
    eventually("they are another id's, under the same number", WITHIN, || async {
        scene.sees(total).await?;
        let (same_number, other) = scene.owner().await?;
        same("the number is kept, and the id is another", (same_number == number, other != id), (true, true))
    })
    .await;
    println!("{channel}: moved to a new id after {:.2?}", start.elapsed());
    scene.comes_to("after the move", total).await;

    drop(layer);
    scene.comes_to("after the node has died", 1).await;
    let owners: i64 = scene.redis.must(&["HLEN", &scene.key("owner")]).await;
    assert_eq!(owners, 1, "the dead node's number is free");

    let Scene { redis, watcher, .. } = scene;
    watcher.close().await;
    let keys = || async { redis.run::<Vec<String>>(&["KEYS", &format!("*{channel}*")]).await };
    eventually("nothing is left", WITHIN, || async { same("keys", keys().await?, vec![]) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn very_many_visitors_are_stated_restated_moved_and_reaped_as_a_few_are() {
    go_through(Kind::Visitors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn very_many_members_are_stated_restated_moved_and_reaped_as_a_few_are() {
    go_through(Kind::Members).await;
}
