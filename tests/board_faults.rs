//! Boards after faults, as two people see them in two browsers on two servers; and after a long run of
//! random writes, as the store has them.
//!
//! `BOARD_MEMBERS`, `BOARD_SECONDS` and `BOARD_FOLLOWED` make the run longer: 100000, 60 and 1000 take two
//! minutes.

use std::time::{Duration, Instant};

use fantoccini::wd::WindowHandle;
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, alone, beside_others, eventually};

const BOARD: &str = "board:g";

/// Puts a board on a page. The list is in the element's shadow; what it shows is copied to where the
/// browser's driver looks.
const SHOW: &str = "const board = document.createElement('live-board');
    board.setAttribute('channel', 'board:g');
    const shown = document.createElement('p');
    shown.id = 'shown';
    board.addEventListener('board', () => {
      shown.textContent = [...board.shadowRoot.querySelectorAll('li')].map((row) => row.textContent).join(' ');
    });
    document.body.append(board, shown);
    import('/live-board.js');";

/// Two browsers, each on a server of its own.
struct World {
    redis: Redis,
    nodes: Vec<Node>,
    windows: Vec<(Browser, WindowHandle)>,
    score: u32,
}

impl World {
    async fn begin() -> World {
        let redis = Redis::start().await;
        let nodes = vec![Node::start(&redis.url()).await, Node::start(&redis.url()).await];
        let mut windows = Vec::new();
        for node in &nodes {
            let browser = Browser::start().await;
            let tab = browser.open(&format!("http://{}/", node.address)).await;
            browser.run(&tab, SHOW).await;
            windows.push((browser, tab));
        }
        World { redis, nodes, windows, score: 0 }
    }

    /// One write moves both boards.
    async fn moves(&mut self, when: &str) {
        self.score += 1;
        let score = self.score.to_string();
        self.redis.must::<f64>(&["ZINCRBY", BOARD, "0", "ann"]).await;
        let start = Instant::now();
        self.redis.must::<i64>(&["ZADD", BOARD, "CH", &score, "ann"]).await;
        for (browser, tab) in &self.windows {
            browser.shows(tab, "#shown", &format!("1ann{score}")).await;
        }
        println!("{when}: both show it {:?} after the write, which a driver that polls can see", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_moves_the_board_in_two_browsers_on_two_servers_after_each_fault() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.moves("before any fault").await;
    world.redis.must::<()>(&["FLUSHALL"]).await;
    world.moves("after FLUSHALL").await;
    world.redis.must::<()>(&["DEL", BOARD]).await;
    world.moves("after DEL").await;
    world.redis.must::<()>(&["ZADD", "{board:g}:elsewhere", "0.5", "ann"]).await;
    world.redis.must::<()>(&["RENAME", "{board:g}:elsewhere", BOARD]).await;
    world.moves("after RENAME onto the key").await;
    world.redis.must::<()>(&["PEXPIRE", BOARD, "30"]).await;
    eventually("the key is over", SOON, || async {
        match world.redis.run::<i64>(&["EXISTS", BOARD]).await? {
            0 => Ok(()),
            _ => Err("it is there".to_owned()),
        }
    })
    .await;
    world.moves("after EXPIRE").await;
    for kind in ["normal", "pubsub"] {
        let _ = world.redis.run::<i64>(&["CLIENT", "KILL", "TYPE", kind]).await;
        world.moves("after the connections were cut").await;
    }
    world.nodes[1].freeze();
    world.redis.must::<()>(&["ZADD", BOARD, "0.25", "ann"]).await;
    world.nodes[1].thaw();
    world.moves("after a server was paused").await;
    world.redis.kill().await;
    world.redis.revive().await;
    world.moves("after the store was restarted without its data").await;
    world.redis.pause().await;
    world.redis.resume().await;
    world.moves("after the store was paused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_is_there_after_the_store_was_restarted_with_its_data() {
    let _turn = beside_others().await;
    // A folder of its own in one that a container has, too.
    let folder = format!("headcount-board-{}", std::process::id());
    let log = ["--appendonly", "yes", "--appendfsync", "always", "--dir", "/tmp", "--appenddirname", &folder];
    let mut redis = Redis::start_with(&log).await;
    let node = Node::start(&redis.url()).await;
    let client = Client::join(&node, &[BOARD]).await;
    redis.must::<()>(&["ZADD", BOARD, "7", "ann"]).await;
    is_shown(&client, &json!([["ann", 7]])).await;
    redis.kill().await;
    redis.revive().await;
    redis.must::<()>(&["ZADD", BOARD, "9", "bob"]).await;
    is_shown(&client, &json!([["bob", 9], ["ann", 7]])).await;
    let _ = std::fs::remove_dir_all(format!("/tmp/{folder}"));
}

async fn is_shown(client: &Client, board: &Value) {
    let last = |messages: &[Value]| messages.iter().rev().find(|m| m["board"].is_array()).cloned();
    client.until(&format!("the board {board}"), SOON, |all| (last(all)?["board"] == *board).then_some(())).await;
}

fn size(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Some writes of every kind, drawn by the seed.
const WRITES: &str = "math.randomseed(tonumber(ARGV[1]))
    local size = tonumber(ARGV[2])
    for _ = 1, 200 do
      local member, score = 'm' .. math.random(size), math.random(-1000000, 1000000)
      local kind = math.random(10)
      if kind == 1 then redis.call('ZREM', KEYS[1], member)
      elseif kind < 6 then redis.call('ZINCRBY', KEYS[1], score, member)
      else redis.call('ZADD', KEYS[1], score, member) end
    end";

#[tokio::test(flavor = "multi_thread")]
async fn after_each_pause_every_client_holds_what_the_store_has_of_a_large_board() {
    let _turn = alone().await;
    let (members, seconds, followed) =
        (size("BOARD_MEMBERS", 2_000), size("BOARD_SECONDS", 2), size("BOARD_FOLLOWED", 50));
    let redis = Redis::start().await;
    let nodes = [Node::start(&redis.url()).await, Node::start(&redis.url()).await];
    let mut clients = Vec::new();
    for number in 0..followed {
        let member = format!("m{}", number * members / followed + 1);
        let client = Client::open(&nodes[number as usize % 2], &format!("watch={BOARD}&member={member}")).await;
        clients.push((member, client));
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut rounds, mut writes) = (u64::from(std::process::id()), 0, 0);
    while rounds == 0 || Instant::now() < end {
        let pause = (Instant::now() + Duration::from_secs(1).max(Duration::from_secs(seconds / 10))).min(end);
        while writes == 0 || Instant::now() < pause {
            (seed, writes) = (seed + 1, writes + 200);
            redis.must::<()>(&["EVAL", WRITES, "1", BOARD, &seed.to_string(), &members.to_string()]).await;
        }
        rounds += 1;
        agree(&redis, &clients, seed).await;
    }
    println!("{writes} writes in {rounds} rounds on {members} members, {followed} of them followed");
}

/// What every client was last told is what the store has.
async fn agree(redis: &Redis, clients: &[(String, Client)], seed: u64) {
    let top: Vec<(String, f64)> = redis.must(&["ZREVRANGE", BOARD, "0", "9", "WITHSCORES"]).await;
    let top: Vec<Value> = top.iter().map(|(member, score)| json!([member, *score as i64])).collect();
    let size: u64 = redis.must(&["ZCARD", BOARD]).await;
    for (member, client) in clients {
        let rank: Option<u64> = redis.must(&["ZREVRANK", BOARD, member]).await;
        let score: Option<f64> = redis.must(&["ZSCORE", BOARD, member]).await;
        let place = (json!(rank), json!(score.map(|score| score as i64)));
        let what = format!("seed {seed}: {member} at {place:?} of {size}");
        client
            .until(&what, SOON, |all| {
                let board = all.iter().rev().find(|m| m["board"].is_array())?;
                let last = all.iter().rev().find(|m| m["member"] == **member)?;
                let same = board["board"] == json!(top) && board["size"] == size;
                (same && (last["rank"].clone(), last["score"].clone()) == place).then_some(())
            })
            .await;
    }
}
