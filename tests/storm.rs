//! Nobody is flooded by a storm of joins. What it costs is a benchmark's business.

use tokio::time::Instant;

use crate::support::crowd::Crowd;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, alone, eventually, same};

const COUNT: &str = "users:count";
const STORM: usize = 5_000;

/// The default of `limits.pushes_per_second`.
const PUSHES_PER_SECOND: f64 = 10.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_five_thousand_joins_floods_nobody() {
    let _turn = alone().await;
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let before = node.cpu_time();
    let start = Instant::now();
    let crowd = Crowd::gather(&node, COUNT, STORM).await;
    eventually("everybody sees everybody", SOON, || async {
        same("GET", redis.get(COUNT).await?, Some(crowd.size()))?;
        crowd.sees(crowd.size())
    })
    .await;
    let lasted = start.elapsed();
    let each = (node.cpu_time() - before) / u32::try_from(STORM).unwrap();
    // The answer to the join, the first push at once, and then as many as the pace allows.
    let paced = 2 + (PUSHES_PER_SECOND * lasted.as_secs_f64()).ceil() as u64;
    let most = crowd.most_pushes();
    assert!(most <= paced, "a socket got {most} messages in {lasted:?}; paced were {paced}");
    println!("{STORM} joins in {lasted:.2?}: {each:?} of CPU each, at most {most} messages to one socket");
}
