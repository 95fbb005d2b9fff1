//! A board that headcount keeps shows the channels with the most people, and is right again after whatever
//! the counts are right again after.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::crowd::Crowd;
use crate::support::node::{Node, Setup};
use crate::support::redis::Redis;
use crate::support::{SOON, alone, beside_others, eventually};

const BOARD: &str = "top:pages";
/// A repair, and what the counts themselves need after a fault.
const WITHIN: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"
[presence]
repair = "1s"

[[channels]]
pattern = "users:count"
count = "sockets"
deliver = "latest"

[[channels]]
pattern = "page:/*"
count = "sockets"
deliver = "latest"

[[channels]]
pattern = "top:pages"
source = "zset"
of = "page:/*"
top = 5
"#;

fn setup(redis: &Redis) -> Setup {
    Node::on(&redis.url()).config(CONFIG)
}

async fn start(redis: &Redis) -> Node {
    let node = setup(redis).start().await;
    node.ready().await;
    node
}

/// The pages with the most people, as the totals say it; pages with as many as another stand in no order.
async fn truth(redis: &Redis, pages: &[&str]) -> Result<Vec<(i64, String)>, String> {
    let mut top = Vec::new();
    for page in pages {
        let total = redis.get(page).await?.unwrap_or_default();
        if total >= 2 {
            top.push((total, (*page).to_owned()));
        }
    }
    top.sort();
    top.reverse();
    Ok(top)
}

async fn is_right(when: &str, redis: &Redis, pages: &[&str], clients: &[&Client]) {
    eventually(when, WITHIN, || async {
        let truth = truth(redis, pages).await?;
        let kept: Vec<(String, f64)> = redis.run(&["ZREVRANGE", BOARD, "0", "-1", "WITHSCORES"]).await?;
        let kept: Vec<(i64, String)> = kept.into_iter().map(|(page, total)| (total as i64, page)).collect();
        if kept != truth {
            return Err(format!("{kept:?} is kept, {truth:?} is true"));
        }
        let top: Vec<Value> = truth.iter().take(5).map(|(total, page)| json!([page, total])).collect();
        for client in clients {
            let shown = client.messages().iter().rev().find(|m| m["board"].is_array()).cloned().unwrap_or_default();
            if shown["board"] != json!(top) {
                return Err(format!("{shown} is shown, {top:?} is true"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_with_the_most_people_show_in_order_and_those_with_one_do_not() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let nodes = [start(&redis).await, start(&redis).await];
    let watcher = Client::open(&nodes[0], "watch=top:pages").await;
    let pages = ["page:/a", "page:/b", "page:/c", "page:/typed-by-one"];
    let mut a = Crowd::gather(&nodes[0], "page:/a", 3).await;
    let _b = [Crowd::gather(&nodes[0], "page:/b", 1).await, Crowd::gather(&nodes[1], "page:/b", 3).await];
    let _c = Crowd::gather(&nodes[1], "page:/c", 2).await;
    let _one = Client::join(&nodes[0], &["page:/typed-by-one"]).await;
    is_right("everybody is there", &redis, &pages, &[&watcher]).await;
    assert_eq!(truth(&redis, &pages).await.unwrap().len(), 3);
    a.shrink(2);
    is_right("a page is left by all but one", &redis, &pages, &[&watcher]).await;
    a.shrink(1);
    is_right("a page is left by all", &redis, &pages, &[&watcher]).await;
    assert!(watcher.messages().iter().all(|message| !message.to_string().contains("typed-by-one")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_board_is_right_again_after_each_fault() {
    let _turn = alone().await;
    let mut redis = Redis::start().await;
    let first = start(&redis).await;
    let mut second = start(&redis).await;
    let watcher = Client::open(&first, "watch=top:pages").await;
    let pages = ["page:/a", "page:/b", "page:/c", "page:/d", "page:/nobody"];
    let _here = [Crowd::gather(&first, "page:/a", 4).await, Crowd::gather(&first, "page:/b", 2).await];
    let there = [Crowd::gather(&second, "page:/b", 3).await, Crowd::gather(&second, "page:/c", 2).await];
    let clients: &[&Client] = &[&watcher];
    is_right("before any fault", &redis, &pages, clients).await;

    redis.must::<()>(&["DEL", BOARD]).await;
    is_right("after DEL", &redis, &pages, clients).await;
    redis.must::<()>(&["ZADD", BOARD, "99", "page:/nobody", "98", "users:count", "97", "page:/a"]).await;
    is_right("after another program wrote on it", &redis, &pages, clients).await;
    redis.must::<()>(&["SET", BOARD, "x"]).await;
    watcher
        .until("the refusal", SOON, |messages| {
            messages.iter().any(|m| m["error"]["code"] == "not_an_ordered_set").then_some(())
        })
        .await;
    redis.must::<()>(&["DEL", BOARD]).await;
    is_right("after it was of another type", &redis, &pages, clients).await;
    redis.must::<()>(&["FLUSHALL"]).await;
    is_right("after FLUSHALL", &redis, &pages, clients).await;
    redis.must::<()>(&["SET", "page:/b", "1"]).await;
    is_right("after a total was set too low", &redis, &pages, clients).await;
    redis.must::<()>(&["INCRBY", "page:/a", "7"]).await;
    redis.must::<()>(&["PUBLISH", "page:/a", "11"]).await;
    is_right("after another program counted its own", &redis, &pages, clients).await;

    second.freeze();
    is_right("while a server is paused", &redis, &pages, clients).await;
    second.thaw();
    is_right("after it went on", &redis, &pages, clients).await;
    redis.kill().await;
    redis.revive().await;
    is_right("after the store was restarted without its data", &redis, &pages, clients).await;

    drop(there);
    second.crash().await;
    eventually("its people are withdrawn", WITHIN, || async {
        match redis.get("page:/c").await?.unwrap_or_default() {
            0 => Ok(()),
            n => Err(format!("{n} on page:/c")),
        }
    })
    .await;
    is_right("after a server crashed", &redis, &pages, clients).await;
    second = start(&redis).await;
    let _there = Crowd::gather(&second, "page:/d", 9).await;
    is_right("after it came back", &redis, &pages, clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_everybody_has_left_nothing_is_left_of_the_board() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let mut node = start(&redis).await;
    let _crowd = Crowd::gather(&node, "page:/a", 4).await;
    is_right("before", &redis, &["page:/a"], &[]).await;
    node.signal(rustix::process::Signal::TERM);
    node.exit(SOON).await;
    assert_eq!(redis.must::<i64>(&["EXISTS", BOARD, "page:/a"]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_knows_of_the_board_only_where_it_is_switched_on() {
    let _turn = beside_others().await;
    let redis = Redis::start().await;
    let (with, without) = (start(&redis).await, Node::start(&redis.url()).await);
    let module = with.get("/default.js").await.unwrap().text();
    assert!(module.contains("export const TRENDING = \"top:pages\";"), "{module}");
    assert!(!without.get("/default.js").await.unwrap().text().contains("TRENDING"));
}
