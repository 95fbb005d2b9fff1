//! On a Redis Cluster: what becomes of leases, of the bus and of boards when a part of it is away, set back, cut
//! off, or has another clock.
//!
//! `CLOCK_GHOST=1` waits until a lease that was far ahead is over, which takes a minute.

use std::time::Duration;

use redis::Value as Reply;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, slot};
use crate::support::link::Mode;
use crate::support::servers::CLOCK;
use crate::support::sharded::{LEASES, SHARDS, Scene, WITHIN, lease_shard, spread};
use crate::support::{SOON, beside_one_other, eventually, same, settles};

/// From the death of a node until its shares are withdrawn: lease, grace, heartbeat, and repairs where its list was away.
const REAPED: Duration = Duration::from_secs(8);
/// How far ahead a lease may end, in ms, whatever the clocks do.
const FARTHEST: f64 = 60_000.0;

/// Right soon, and after a lease and two repairs.
async fn stays_right(scene: &Scene, within: Duration) {
    settles("right, after a lease and two repairs", within, Duration::from_secs(9), || {
        scene.shards_are_right(&[0, 1, 2])
    })
    .await;
}

/// Crashes a node, whose clients go with it.
async fn crash(scene: &mut Scene, node: usize) {
    scene.nodes.remove(node).crash().await;
    eventually("its clients are gone", SOON, || async {
        let gone = scene.clients.iter().filter(|client| client.closed().is_some()).count();
        same("gone", gone, scene.clients.len() / 2)
    })
    .await;
    scene.clients.retain(|client| client.closed().is_none());
}

fn others(shard: usize) -> Vec<usize> {
    (0..SHARDS).filter(|other| *other != shard).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_that_is_away_makes_the_server_unready_until_it_is_back() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::on(Cluster::start_with(3, 0, &[]).await).await;
    scene.cluster.kill().await;
    eventually("/readyz is 503", SOON, || async {
        let reply = scene.nodes[0].get("/readyz").await?;
        same("the answer", (reply.status, reply.text().starts_with("degraded")), (503, true))
    })
    .await;
    assert_eq!(scene.nodes[0].get("/healthz").await.unwrap().status, 200);
    for client in &scene.clients {
        let told = |messages: &[Value]| messages.contains(&json!({"state": "degraded"})).then_some(());
        client.until("told that the store is away", SOON, told).await;
    }
    scene.nodes[0].says(&["degraded: "]).await;
    let lines = scene.nodes[0].log.lines_with("degraded: ").len();
    scene.cluster.revive().await;
    let start = Instant::now();
    scene.is_right().await;
    println!("right {:?} after its return", start.elapsed());
    scene.nodes[0].ready().await;
    assert_eq!((lines, scene.states()), (1, 2 * scene.clients.len()), "{}", scene.nodes[0].log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_shard_that_is_set_back_reaps_nobody_and_keeps_no_ghost() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::begin().await;
    let shard = lease_shard(&scene).await;
    let replica = scene.cluster.replica(shard).await;
    scene.cluster.servers[shard].must::<Reply>(&["SAVE"]).await;
    // What was saved knows a node that goes now, and not the one that comes.
    crash(&mut scene, 1).await;
    let newer = scene.setup().start().await;
    newer.ready().await;
    scene.nodes.push(newer);
    scene.join(1).await;
    let right = || scene.shards_are_right(&[0, 1, 2]);
    settles("right after a crash", REAPED, Duration::from_secs(1), right).await;
    for place in [replica, shard] {
        scene.cluster.servers[place].kill().await;
    }
    let others = others(shard);
    let before = scene.totals(&others);
    for place in [shard, replica] {
        scene.cluster.servers[place].revive().await;
    }
    scene.cluster.agrees().await;
    // The others at once, and its own as soon as the dead are told from the living.
    settles("the others are right", WITHIN, Duration::ZERO, || scene.shards_are_right(&others)).await;
    stays_right(&scene, REAPED).await;
    assert_eq!(scene.totals(&others), before, "no count moved on another shard");
    let leases: Vec<String> = scene.cluster.ask(LEASES, &["ZRANGE", LEASES, "0", "-1"]).await.unwrap();
    assert_eq!(leases.len(), 2, "both nodes have a lease, and no ghost has");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_shard_whose_clock_is_behind_reaps_nobody_and_keeps_no_ghost() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::on(Cluster::start_with(3, 1, &[CLOCK]).await).await;
    let shard = lease_shard(&scene).await;
    let (others, replica) = (others(shard), scene.cluster.replica(shard).await);
    let before = scene.totals(&others);
    // The next primary is an hour behind, and another shard's is an hour ahead.
    scene.cluster.servers[replica].set_clock(-3_600);
    scene.cluster.servers[others[0]].set_clock(3_600);
    scene.cluster.servers[shard].kill().await;
    assert_eq!(scene.cluster.elected(slot(LEASES), shard).await, replica);
    stays_right(&scene, WITHIN).await;
    assert_eq!(scene.totals(&others), before, "no count moved on another shard");
    // A node that had a lease by the old clock is gone: it is withdrawn within a minute, and not after an hour.
    scene.cluster.servers[replica].must::<i64>(&["ZADD", LEASES, "9000000000000", "ghost"]).await;
    eventually("its lease ends within a minute", SOON, || async {
        let (seconds, _): (f64, f64) = scene.cluster.servers[replica].ask(&["TIME"]).await?;
        let ends: Vec<(String, f64)> =
            scene.cluster.servers[replica].ask(&["ZRANGE", LEASES, "0", "-1", "WITHSCORES"]).await?;
        let late = ends.iter().find(|(_, ends)| *ends > seconds * 1_000.0 + 1_000.0 + FARTHEST);
        late.map_or(Ok(()), |late| Err(format!("{late:?} at {seconds}")))
    })
    .await;
    if std::env::var("CLOCK_GHOST").is_ok() {
        crash(&mut scene, 1).await;
        settles("right after a crash", REAPED, Duration::ZERO, || scene.shards_are_right(&[0, 1, 2])).await;
        eventually("it is gone", Duration::from_secs(75), || async {
            let leases: i64 = scene.cluster.servers[replica].ask(&["ZCARD", LEASES]).await?;
            same("leases", leases, 1)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_links_between_its_servers_cut_a_cluster_loses_no_message_of_ours() {
    let _turn = beside_one_other().await;
    // Long enough for something to happen before they notice it.
    let mut scene = Scene::on(Cluster::start_linked(3, 0, &["--cluster-node-timeout", "6000"]).await).await;
    scene.cluster.set_bus(Mode::Cut);
    let cut = Instant::now();
    for shard in 0..SHARDS {
        let elsewhere = &scene.cluster.servers[(shard + 1) % SHARDS];
        elsewhere.must::<i64>(&["PUBLISH", &scene.news[shard], "lost on the bus"]).await;
        scene.carries(shard, "at its owner").await;
    }
    let mut rounds = 0;
    while cut.elapsed() < Duration::from_secs(3) {
        drop(scene.clients.remove(0));
        scene.join(rounds % 2).await;
        settles("right at once", SOON, Duration::ZERO, || scene.shards_are_right(&[0, 1, 2])).await;
        rounds += 1;
    }
    println!("{rounds} rounds of coming and going while the bus was cut");
    assert!(rounds > 0 && scene.told("degraded", 0, true) == 0, "nothing was degraded so far");
    let lost =
        |client: &Client| scene.news.iter().any(|name| client.payloads(name).contains(&json!("lost on the bus")));
    assert!(!scene.clients.iter().any(lost), "the bus is not cut");
    // In the end each primary finds itself alone, and says so.
    eventually("clients are told", SOON * 2, || async {
        let degraded = scene.told("degraded", 0, true) + scene.states();
        if degraded > 0 { Ok(()) } else { Err("nothing".into()) }
    })
    .await;
    scene.cluster.set_bus(Mode::Open);
    scene.cluster.agrees().await;
    let start = Instant::now();
    scene.is_right().await;
    println!("right {:?} after the cluster was one again", start.elapsed());
    for shard in 0..SHARDS {
        scene.carries(shard, "after it").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_we_reach_and_its_cluster_does_not_is_left_for_its_replica() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::on(Cluster::start_linked(3, 1, &[]).await).await;
    // Once with the leases, once without.
    let leases = lease_shard(&scene).await;
    for shard in [leases, (leases + 1) % SHARDS] {
        let gaps = scene.gaps(shard);
        scene.cluster.isolate(shard).await;
        let now = scene.cluster.elected(slot(&scene.counts[shard]), shard).await;
        let start = Instant::now();
        drop(scene.clients.remove(0));
        scene.join(0).await;
        scene.is_right().await;
        println!("shard {shard} is right at server {now}, {:?} after the election", start.elapsed());
        eventually("told of the gap", SOON, || async {
            if scene.gaps(shard) > gaps { Ok(()) } else { Err("not told".into()) }
        })
        .await;
        scene.cluster.servers[now].must::<i64>(&["PUBLISH", &scene.news[shard], "at the new one"]).await;
        for client in &scene.clients {
            client.shows(&scene.news[shard], "at the new one").await;
        }
        scene.cluster.set_bus(Mode::Open);
        scene.cluster.agrees().await;
        scene.is_right().await;
    }
}

/// The last board that a client was told of.
fn board(client: &Client, name: &str) -> Option<Value> {
    let about = |m: &&Value| ["channel", "watching"].iter().any(|key| m[key] == name) && !m["board"].is_null();
    client.messages().iter().rev().find(about).map(|message| message["board"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_whose_shard_is_away_is_degraded_and_shows_again_when_it_is_back() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::on(Cluster::start_with(3, 0, &[]).await).await;
    let boards = spread(&scene.cluster, "board").await;
    let query = boards.iter().map(|name| format!("watch={name}")).collect::<Vec<_>>().join("&");
    let first = Client::open(&scene.nodes[0], &query).await;
    let shows = async |scene: &Scene, client: &Client, shard: usize, score: u32| {
        let name = &boards[shard];
        scene.cluster.ask::<i64>(name, &["ZADD", name, &score.to_string(), "ann"]).await.unwrap();
        let expected = json!([["ann", score]]);
        client.until("the board", SOON, |_| (board(client, name) == Some(expected.clone())).then_some(())).await;
    };
    for shard in 0..SHARDS {
        shows(&scene, &first, shard, 1).await;
    }
    scene.cluster.servers[0].kill().await;
    let degraded = json!({"degraded": boards[0]});
    let is_told = |messages: &[Value]| messages.contains(&degraded).then_some(());
    first.until("told that it is degraded", SOON, is_told).await;
    let late = Client::open(&scene.nodes[0], &query).await;
    late.until("told that it is degraded", SOON, is_told).await;
    for shard in 1..SHARDS {
        shows(&scene, &first, shard, 2).await;
        shows(&scene, &late, shard, 3).await;
    }
    let told = |client: &Client| {
        let messages = client.messages();
        let degraded = messages.iter().filter_map(|m| m["degraded"].as_str().map(str::to_owned));
        degraded.filter(|name| name.starts_with("board:")).collect::<Vec<_>>()
    };
    assert_eq!((told(&first), told(&late)), (vec![boards[0].clone()], vec![boards[0].clone()]), "once, and no other");
    scene.cluster.servers[0].revive().await;
    scene.cluster.agrees().await;
    for client in [&first, &late] {
        let back = json!({"watching": boards[0], "board": [], "size": 0});
        client.until("it is back, and empty", SOON, |messages| messages.contains(&back).then_some(())).await;
    }
    shows(&scene, &first, 0, 4).await;
    shows(&scene, &late, 0, 4).await;
    assert_eq!(scene.metric("headcount_board_refused_total").await, 0, "{}", scene.nodes[0].log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_whose_slot_moves_is_shown_from_where_it_is() {
    let _turn = beside_one_other().await;
    let mut scene = Scene::on(Cluster::start_with(3, 0, &[]).await).await;
    let boards = spread(&scene.cluster, "board").await;
    let client = Client::open(&scene.nodes[0], &format!("watch={}", boards[0])).await;
    let name = &boards[0];
    let shows = async |expected: Value| {
        client.until("the board", SOON, |_| (board(&client, name) == Some(expected.clone())).then_some(())).await;
    };
    scene.cluster.ask::<i64>(name, &["ZADD", name, "1", "ann"]).await.unwrap();
    shows(json!([["ann", 1]])).await;
    let (slot, to) = (slot(name), scene.cluster.grow().await);
    scene.cluster.begin_move(slot, 0, to).await;
    scene.cluster.end_move(slot, 0, to).await;
    scene.cluster.servers[to].must::<i64>(&["ZADD", name, "2", "bob"]).await;
    shows(json!([["bob", 2], ["ann", 1]])).await;
    assert_eq!(scene.metric("headcount_board_refused_total").await, 0, "{}", scene.nodes[0].log.text());
}
