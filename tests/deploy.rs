//! A deploy restarts one server after the other, and thousands of clients go round: the count stays what
//! it is, and nobody is trampled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::client::Client;
use crate::support::fleet::{Balancer, Fleet, Trip};
use crate::support::node::Node;
use crate::support::redis::Redis;
use crate::support::{SOON, alone, eventually, same};

const COUNT: &str = "users:count";
const EACH: usize = 1_000;
const ALL: i64 = 3_000;
/// The default of `server.drain`.
const DRAIN: Duration = Duration::from_secs(5);
/// Pushes of a count to one client in a second: few, as thousands get them.
const PUSHES: u32 = 2;
/// Between a client's coming or going and its being stated: the batch of 50 ms, and ample for the rest.
const STATED: Duration = Duration::from_millis(300);
/// Between a statement and its being shown: the pace, and as much again, as thousands are shown it.
const SHOWN: Duration = Duration::from_millis(2 * 1000 / PUSHES as u64);
const LOOK: Duration = Duration::from_millis(50);

/// What somebody saw of the count, asked between two times.
struct Sight {
    who: &'static str,
    from: Instant,
    to: Instant,
    count: i64,
    late: Duration,
}

/// Those who watch on each server, and all that was seen.
#[derive(Default)]
struct Watch {
    watchers: Mutex<Vec<Client>>,
    seen: Mutex<Vec<Sight>>,
    /// The longest that this process, and so perhaps the whole machine, stood still.
    stall: Mutex<Duration>,
}

impl Watch {
    async fn on(&self, node: &Node) {
        let watcher = Client::open(node, &format!("watch={COUNT}")).await;
        watcher.until("it watches", SOON, |messages| messages.first().map(|_| ())).await;
        self.watchers.lock().unwrap().push(watcher);
    }

    /// `Ok` where everybody who watches was told last that all are here.
    fn shows_all(&self) -> Result<(), String> {
        self.watchers.lock().unwrap().iter().try_for_each(|watcher| watcher.sees(COUNT, ALL))
    }

    /// Looks at the key and at what the watchers' sockets were told, again and again.
    async fn look(&self, redis: &Redis) {
        loop {
            let from = Instant::now();
            let count = redis.get(COUNT).await.unwrap().unwrap_or(0);
            let to = Instant::now();
            let mut seen = vec![Sight { who: "GET", from, to, count, late: STATED }];
            for watcher in self.watchers.lock().unwrap().iter().filter(|watcher| watcher.closed().is_none()) {
                let Some(count) = watcher.last(COUNT).and_then(|count| count.as_i64()) else { continue };
                seen.push(Sight { who: "a watcher", from: to, to, count, late: STATED + SHOWN });
            }
            self.seen.lock().unwrap().extend(seen);
            let slept = Instant::now();
            sleep(LOOK).await;
            let mut stall = self.stall.lock().unwrap();
            *stall = (*stall).max(slept.elapsed().saturating_sub(LOOK));
        }
    }

    /// Each count differs from what all clients are by those in motion at most. Returns the largest
    /// difference.
    fn judge(&self, trips: &[Trip]) -> i64 {
        let (seen, stall) = (self.seen.lock().unwrap(), *self.stall.lock().unwrap());
        assert!(seen.len() > 100, "{} sights", seen.len());
        let differences = seen.iter().map(|sight| {
            let Sight { who, from, to, count, late } = *sight;
            let (from, to) = (from - late - stall, to + late + stall);
            let moving = trips.iter().filter(|trip| trip.overlaps(from, to)).count();
            let off = (ALL - count).abs();
            assert!(off <= moving as i64, "{who} showed {count} while {moving} clients were on their way");
            off
        });
        differences.max().unwrap_or(0)
    }
}

async fn start(redis: &Redis) -> Node {
    let node = Node::on(&redis.url())
        .set("SERVER__NOTICE", "500ms")
        .set("LIMITS__PUSHES_PER_SECOND", &PUSHES.to_string())
        .start()
        .await;
    node.ready().await;
    node
}

/// The most clients that asked to be let in within one second, and how many there were in all.
fn busiest_second(trips: &[Trip]) -> (usize, usize) {
    let mut asked: Vec<Instant> = trips.iter().filter_map(|trip| trip.asked).collect();
    asked.sort();
    let within = |first: usize| asked.partition_point(|at| *at - asked[first] < Duration::from_secs(1)) - first;
    ((0..asked.len()).map(within).max().unwrap_or(0), asked.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_moves_three_thousand_clients_in_step_with_the_count_and_spread_over_time() {
    let _turn = alone().await;
    let redis = Arc::new(Redis::start().await);
    let (balancer, watch, mut fleet) = (Arc::new(Balancer::default()), Arc::new(Watch::default()), Fleet::default());
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let node = start(&redis).await;
        fleet.grow(EACH, node.address, &balancer, COUNT).await;
        watch.on(&node).await;
        balancer.add(node.address);
        nodes.push(node);
    }
    eventually("all are counted", SOON * 2, || async {
        same("GET", redis.get(COUNT).await?, Some(ALL))?;
        watch.shows_all()
    })
    .await;
    let looking: JoinHandle<()> = {
        let (watch, redis) = (watch.clone(), redis.clone());
        tokio::spawn(async move { watch.look(&redis).await })
    };
    for node in &mut nodes {
        let before = fleet.trips().len();
        node.signal(Signal::TERM);
        eventually("the balancer notices", SOON, || async {
            same("/readyz", node.get("/readyz").await.map_or(503, |reply| reply.status), 503)
        })
        .await;
        balancer.remove(node.address);
        assert_eq!(node.exit(DRAIN + SOON).await.code(), Some(0));
        *node = start(&redis).await;
        watch.on(node).await;
        balancer.add(node.address);
        let deadline = Instant::now() + SOON * 2;
        while let Err(why) = fleet.has_arrived() {
            assert!(Instant::now() < deadline, "{why}");
            sleep(LOOK).await;
        }
        eventually("all are counted again", SOON, || async { same("GET", redis.get(COUNT).await?, Some(ALL)) }).await;
        let stall = *watch.stall.lock().unwrap();
        let (busiest, moved) = busiest_second(&fleet.trips()[before..]);
        // Closed evenly within half of the drain, so many would come in a second and a quarter.
        let spread = moved as f64 / (DRAIN / 2).as_secs_f64() * (1.25 + stall.as_secs_f64());
        println!("{moved} moved, at most {busiest} in a second; {spread:.0} are allowed; stood still for {stall:.0?}");
        assert!(moved >= EACH * 3 / 4, "only {moved} moved");
        assert!(busiest as f64 <= spread, "{busiest} of {moved} came within one second");
    }
    looking.abort();
    let trips = fleet.trips();
    let off = watch.judge(&trips);
    println!("{} ways, {} sights, off by at most {off}", trips.len(), watch.seen.lock().unwrap().len());
}
