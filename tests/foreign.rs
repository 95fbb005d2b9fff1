//! What other programs do to the totals, on channels of each kind of count: what they add stays, what they break is
//! mended, and nobody who is listed is told to have gone.

use std::time::Duration;

use redis::Value;

use crate::support::kinds::{KINDS, Kinds};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::tabs::Tabs;
use crate::support::{SOON, beside_others, same, settles};

const HOLD: Duration = Duration::from_secs(1);

struct Scene {
    redis: Redis,
    nodes: [Node; 2],
    tabs: Tabs,
    _kinds: Kinds,
}

impl Scene {
    /// Three tabs of two people on two nodes.
    async fn begin() -> Scene {
        let (redis, kinds) = (Redis::start().await, Kinds::new());
        let start = || async {
            let node = kinds.on(&redis).set("PRESENCE__REPAIR", "1s").start().await;
            node.ready().await;
            node
        };
        let nodes = [start().await, start().await];
        let mut tabs = Tabs::default();
        for (node, who) in [(0, 1), (1, 1), (1, 2)] {
            tabs.open(&nodes[node], who).await;
        }
        let scene = Scene { redis, nodes, tabs, _kinds: kinds };
        scene.comes_to("at first", 0).await;
        scene
    }

    /// The same command on the total of each channel.
    async fn all(&self, command: &[&str]) -> Vec<Value> {
        let mut replies = Vec::new();
        for kind in KINDS {
            replies.push(self.redis.must(&[&[command[0], kind.channel()], &command[1..]].concat()).await);
        }
        replies
    }

    /// Waits until everybody sees this many more than are here.
    async fn comes_to(&self, when: &str, more: i64) {
        settles(&format!("{more} more {when}"), SOON, HOLD, || async {
            for kind in KINDS {
                let (channel, number) = (kind.channel(), self.tabs.number(kind) + more);
                same(channel, self.redis.get(channel).await?, Some(number))?;
                self.tabs.clients().try_for_each(|client| client.sees(channel, number))?;
            }
            Ok(())
        })
        .await;
        settles("the lists", SOON, Duration::ZERO, || async { self.tabs.lists_are_right() }).await;
    }
}

#[tokio::test]
async fn what_another_program_adds_to_a_total_stays_while_people_come_and_go() {
    let _turn = beside_others().await;
    let mut scene = Scene::begin().await;
    for (command, more) in [("INCR", 1), ("INCR", 2), ("DECR", 1)] {
        let replies = scene.all(&[command]).await;
        for (kind, reply) in KINDS.into_iter().zip(replies) {
            let number: i64 = redis::from_redis_value(reply).unwrap();
            // Its publish is a step of its own, and says what it has read.
            scene.redis.must::<Value>(&["PUBLISH", kind.channel(), &number.to_string()]).await;
        }
        scene.comes_to(command, more).await;
    }
    scene.tabs.open(&scene.nodes[0], 3).await;
    scene.comes_to("after one has come", 1).await;
    scene.tabs.close_oldest();
    scene.tabs.close_oldest();
    scene.comes_to("after one has gone", 1).await;
    // One that adds and dies before it publishes is found by the next repair.
    scene.all(&["INCR"]).await;
    scene.comes_to("without a publish", 2).await;
}

#[tokio::test]
async fn a_total_that_another_program_breaks_is_repaired_on_channels_of_each_kind() {
    let _turn = beside_others().await;
    let scene = Scene::begin().await;
    for command in [&["DEL"][..], &["SET", "0"], &["SET", "banana"], &["SET", "-4"], &["PUBLISH", "77"]] {
        scene.all(command).await;
        scene.comes_to(&format!("after {command:?}"), 0).await;
    }
    scene.all(&["INCRBY", "10"]).await;
    scene.comes_to("that others have counted", 10).await;
}
