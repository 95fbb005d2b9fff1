//! Very many members come at once to a channel that lists fewer: what each client is sent stays small.
//!
//!     MEMBERS=10000 cargo test --release --test promises members_storm:: -- --nocapture

use std::time::{Duration, Instant};

use crate::support::crowd::Crowd;
use crate::support::redis::Redis;
use crate::support::{alone, same, settles};

const ROOM: &str = "room:1";
/// Of those who come, so many may be listed.
const LISTED: usize = 10;
/// The most bytes for each who may be listed: the list, those who come, and the list again.
const EACH: usize = 200;
/// For the numbers, ten a second, and what is said when somebody joins.
const BESIDE: usize = 32 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn very_many_who_join_at_once_are_counted_and_cost_each_client_little() {
    let _turn = alone().await;
    let asked = std::env::var("MEMBERS").ok().map(|number| number.parse().expect("a number of members"));
    let many: usize = asked.unwrap_or(1_500);
    let redis = Redis::start().await;
    let node = crate::members::listing(&redis, &format!("members_max = {}", many / LISTED)).start().await;
    node.ready().await;
    let (start, cpu) = (Instant::now(), node.cpu_time());
    let crowd = Crowd::gather(&node, ROOM, many).await;
    let joined = start.elapsed();
    settles("all are counted", Duration::from_secs(10), Duration::from_secs(1), || async {
        same("GET", redis.get(ROOM).await?, Some(many as i64))?;
        crowd.sees(many as i64)?;
        crowd.lists(|listed| same("members on a list", listed.len(), None))
    })
    .await;
    let (most, pushes) = (crowd.most_bytes(), crowd.most_pushes());
    println!(
        "{many} members joined within {joined:.2?}: at most {most} bytes in {pushes} frames to a client, {:.0?} of CPU a join",
        (node.cpu_time() - cpu) / many as u32
    );
    let bound = many / LISTED * EACH + BESIDE;
    assert!(most <= bound as u64, "{most} bytes of {bound}");
    assert!(asked.is_none() || joined < Duration::from_secs(10), "{joined:?}");
}
