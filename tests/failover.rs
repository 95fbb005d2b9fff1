//! Behind sentinels, with hundreds of sockets that come and go: whatever becomes of the primary, the count is
//! right within four seconds of the next one's election, clients are told of the gap, and nothing that is published
//! there after that is lost.
//!
//! `FAILOVER_SOCKETS=2000` makes the crowd larger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis::Value as Reply;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::client::Client;
use crate::support::crowd::Crowd;
use crate::support::link::Mode;
use crate::support::node::Node;
use crate::support::redis::connect;
use crate::support::watched::{Watched, Ways};
use crate::support::{SOON, alone, eventually, same, settles};

const COUNT: &str = "users:count";
const NEWS: &str = "public:news";
const WITHIN: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(1);
/// From the death of a node until another one has withdrawn what it had: a lease in which nobody reaps, then
/// lease, grace and heartbeat.
const REAPED: Duration = Duration::from_secs(8);

/// Sockets on each of two servers.
fn each() -> usize {
    std::env::var("FAILOVER_SOCKETS").ok().and_then(|text| text.parse().ok()).unwrap_or(400) / 2
}

struct World {
    store: Watched,
    ways: [Ways; 2],
    _nodes: [Node; 2],
    crowds: [Crowd; 2],
    readers: Vec<Client>,
}

impl World {
    async fn begin() -> World {
        World::on(Watched::start().await).await
    }

    async fn on(store: Watched) -> World {
        let ways = [store.ways().await, store.ways().await];
        let nodes = [Node::start(&ways[0].url()).await, Node::start(&ways[1].url()).await];
        let (first, second) =
            tokio::join!(Crowd::gather(&nodes[0], COUNT, each()), Crowd::gather(&nodes[1], COUNT, each()));
        let mut readers = Vec::new();
        for node in &nodes {
            readers.push(Client::open(node, &format!("watch={NEWS}")).await);
        }
        let world = World { store, ways, _nodes: nodes, crowds: [first, second], readers };
        world.comes_right(0, WITHIN).await;
        world
    }

    async fn churn(&mut self, duration: Duration) {
        let [first, second] = &mut self.crowds;
        // Joins, and leaves, a second on each server.
        let rate = each() / 10;
        tokio::join!(first.churn(duration, rate), second.churn(duration, rate));
    }

    async fn comes_right(&self, server: usize, within: Duration) {
        let open: i64 = self.crowds.iter().map(Crowd::size).sum();
        settles(&format!("{open} everywhere"), within, HOLD, || async {
            self.crowds.iter().try_for_each(|crowd| crowd.sees(open))?;
            same("GET", self.store.servers[server].ask(&["GET", COUNT]).await?, Some(open))
        })
        .await;
    }

    /// People come and go until another primary is elected.
    async fn elects(&mut self, server: usize) {
        let deadline = Instant::now() + SOON * 2;
        while self.store.primary().await != Ok(server) {
            assert!(Instant::now() < deadline, "nobody is elected");
            self.churn(Duration::from_millis(200)).await;
        }
    }

    /// People come and go until another primary is elected, and a little longer; then all is right there.
    async fn goes_on_at(&mut self, server: usize) {
        self.elects(server).await;
        let start = Instant::now();
        let publisher = Publisher::start(&self.store, server);
        self.churn(Duration::from_secs(1)).await;
        self.comes_right(server, WITHIN.saturating_sub(start.elapsed())).await;
        let right = start.elapsed() - HOLD;
        let by_then = publisher.published();
        eventually("messages after that", SOON, || async {
            if publisher.published() >= by_then + 50 { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        let published = publisher.stop().await;
        println!(
            "{} sockets are right {right:.2?} after the election, with one second of coming and going in it",
            2 * each()
        );
        for reader in &self.readers {
            reader.shows(NEWS, published - 1).await;
            tells_of_what_it_missed(&reader.messages(), by_then);
        }
        println!("{published} messages of the new primary: none is missing behind the last gap that was told");
    }
}

/// Numbers that the new primary publishes, one after the other, from its election on.
struct Publisher {
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Publisher {
    fn start(store: &Watched, server: usize) -> Publisher {
        let (count, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let url = format!("redis://127.0.0.1:{}", store.servers[server].port);
        let task = tokio::spawn({
            let (count, stop) = (count.clone(), stop.clone());
            async move {
                let mut connection = connect(&url).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let number = count.load(Ordering::Relaxed);
                    let sent = redis::cmd("PUBLISH").arg(NEWS).arg(number).query_async::<i64>(&mut connection).await;
                    sent.unwrap();
                    count.store(number + 1, Ordering::Relaxed);
                    sleep(Duration::from_millis(5)).await;
                }
            }
        });
        Publisher { count, stop, task }
    }

    fn published(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many they were.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.count.load(Ordering::Relaxed)
    }
}

/// Whatever is missing of the numbers is where a gap was told, and none is missing from this one on.
fn tells_of_what_it_missed(messages: &[Value], from: usize) {
    let gap = json!({"watching": NEWS, "gap": true});
    let (mut gaps, mut next, mut told) = (0, 0, false);
    for message in messages {
        if *message == gap {
            (gaps, told) = (gaps + 1, true);
        } else if message["channel"] == NEWS {
            let number = message["data"].as_u64().unwrap() as usize;
            assert!(
                number == next || (told && number > next && next < from),
                "{number} after {next}, gap told: {told}"
            );
            (next, told) = (number + 1, false);
        }
    }
    assert!(gaps > 0, "nobody was told of the gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sockets_outlive_a_primary_that_is_killed() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.store.servers[0].kill().await;
    world.goes_on_at(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sockets_outlive_a_primary_that_is_paused() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.store.servers[0].signal(Signal::STOP);
    world.goes_on_at(1).await;
    world.store.servers[0].signal(Signal::CONT);
    world.churn(Duration::from_secs(2)).await;
    world.comes_right(1, WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sockets_outlive_a_planned_failover() {
    let _turn = alone().await;
    let mut world = World::begin().await;
    world.store.sentinels[0].must::<Reply>(&["SENTINEL", "FAILOVER", "main"]).await;
    world.goes_on_at(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sockets_outlive_a_primary_that_only_half_of_the_servers_reach() {
    let _turn = alone().await;
    let mut world = World::on(Watched::start_linked().await).await;
    // The sentinels, the replica and one server are cut off from the primary. The other server has it still.
    world.store.links[0].set(Mode::Silent);
    world.ways[1].servers[0].set(Mode::Silent);
    world.goes_on_at(1).await;
    world.store.links[0].set(Mode::Open);
    world.ways[1].set(Mode::Open);
    world.churn(Duration::from_secs(1)).await;
    world.comes_right(1, WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_alone_with_the_old_primary_joins_the_others_as_soon_as_it_can() {
    let _turn = alone().await;
    let mut world = World::on(Watched::start_linked().await).await;
    world.store.links[0].set(Mode::Silent);
    world.ways[1].servers[0].set(Mode::Silent);
    world.ways[0].sentinels.iter().for_each(|link| link.set(Mode::Silent));
    world.ways[0].servers[1].set(Mode::Silent);
    world.elects(1).await;
    // Each side is right for itself.
    for (place, crowd) in world.crowds.iter().enumerate() {
        let (open, server) = (crowd.size(), &world.store.servers[place]);
        eventually(&format!("{open} on side {place}"), REAPED, || async {
            crowd.sees(open)?;
            same("GET", server.ask(&["GET", COUNT]).await?, Some(open))
        })
        .await;
    }
    world.store.links[0].set(Mode::Open);
    world.ways.iter().for_each(|ways| ways.set(Mode::Open));
    let start = Instant::now();
    world.comes_right(1, WITHIN).await;
    println!("right {:.2?} after the partition ended", start.elapsed() - HOLD);
    world.store.servers[1].must::<i64>(&["PUBLISH", NEWS, "here"]).await;
    for reader in &world.readers {
        reader.shows(NEWS, "here").await;
    }
    let gap = json!({"watching": NEWS, "gap": true});
    assert!(world.readers.iter().all(|reader| reader.messages().contains(&gap)), "both were told of the gap");
}
