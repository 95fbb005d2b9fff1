//! A store that answers and refuses: that is told once, sends nobody away, and is over as soon as the
//! store takes what it is asked for.
//!
//! `REFUSAL_SECONDS=30` has each refusal last longer.

use std::time::Duration;

use redis::Value as Reply;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::node::{Node, Scratch};
use crate::support::redis::{Redis, free_port};
use crate::support::{SOON, beside_others, eventually, same, settles, stays};

const EXACT: &str = "users:count";
const PATTERN: &str = "page:/a";
const NEWS: &str = "public:news";

/// How long it may take until a refusal is told.
const WITHIN: Duration = Duration::from_secs(2);

/// How long it may take until everything is right after it: up to a second until the store is asked again, and another
/// second for which whoever left meanwhile lingers. The rest is for the store, which may have to write a file first,
/// and for a busy machine.
const RIGHT_WITHIN: Duration = Duration::from_secs(4);

const HOLD: Duration = Duration::from_secs(1);

/// How long a refusal lasts.
fn lasts() -> Duration {
    let seconds = std::env::var("REFUSAL_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// A node on a store, and clients on a channel of each kind.
struct Scene {
    redis: Redis,
    node: Node,
    clients: Vec<Client>,
    /// How often the store breaks off before it refuses, which is told if to connect again takes a while.
    breaks: usize,
}

impl Scene {
    async fn on(redis: Redis, url: &str) -> Scene {
        // A store that is busy with something else takes its time even to refuse.
        let node = Node::on(url).set("REDIS__RESPONSE_TIMEOUT", "5s").start().await;
        node.ready().await;
        let mut scene = Scene { redis, node, clients: Vec::new(), breaks: 0 };
        for _ in 0..3 {
            scene.join().await;
        }
        scene.is_right().await;
        scene
    }

    async fn join(&mut self) {
        self.clients.push(Client::join(&self.node, &[EXACT, PATTERN, NEWS]).await);
    }

    async fn is_right(&self) {
        let open = self.clients.len() as i64;
        settles(&format!("{open} everywhere"), RIGHT_WITHIN, HOLD, || async {
            for channel in [EXACT, PATTERN] {
                same("GET", self.redis.get(channel).await?, Some(open))?;
                self.clients.iter().try_for_each(|client| client.sees(channel, open))?;
            }
            Ok(())
        })
        .await;
    }

    async fn run(&self, commands: &[&str]) {
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            self.redis.must::<Reply>(&words).await;
        }
    }

    /// Lines that the node logged at this level since it became ready.
    fn lines(&self, level: &str) -> usize {
        let text = self.node.log.text();
        let since = text.split_once("live: ").map_or("", |(_, since)| since);
        since.lines().filter(|line| line.contains(level)).count()
    }

    /// While it lasts, one client leaves and one comes; nobody else notices more than the state.
    async fn rides_out(&mut self, begin: &[&str], end: &[&str], word: &str) {
        self.run(begin).await;
        self.is_refused(word).await;
        drop(self.clients.remove(0));
        self.join().await;
        self.does_not_flap().await;
        self.run(end).await;
        self.is_over().await;
    }

    async fn is_refused(&self, word: &str) {
        let start = Instant::now();
        eventually("the log and /readyz say refused", WITHIN, || async {
            let lines = self.node.log.lines_with("refused: the store answers");
            same("lines", lines.iter().filter(|line| line.contains("ERROR") && line.contains(word)).count(), 1)?;
            let reply = self.node.get("/readyz").await?;
            same("/readyz", (reply.status, reply.text().starts_with("refused: ")), (503, true))
        })
        .await;
        println!("{word} is told after {:.2?}", start.elapsed());
    }

    /// One line of the log, and one frame for each client, for as long as it lasts.
    async fn does_not_flap(&self) {
        let one_line = || async {
            same("lines of an error", self.lines("ERROR"), 1)?;
            same("lines of warnings beyond its breaks", self.lines("WARN").saturating_sub(self.breaks), 0)?;
            let more = self.clients.iter().map(states).filter(|states| states.len() > 1).collect::<Vec<_>>();
            same("clients that were told more than once", more, Vec::new())
        };
        stays("one line and one frame while it lasts", lasts(), one_line).await;
    }

    async fn is_over(&self) {
        let start = Instant::now();
        self.is_right().await;
        println!("right {:.2?} after its end, and for a second", start.elapsed().saturating_sub(HOLD));
        self.node.ready().await;
        assert_eq!((self.lines("ERROR"), self.lines("WARN")), (1, 0), "{}", self.node.log.text());
        assert_eq!(self.node.log.lines_with("live: ").len(), 2, "{}", self.node.log.text());
        for client in &self.clients {
            let messages = client.messages();
            assert_eq!(states(client), ["degraded", "live"]);
            let errors: Vec<&Value> = messages.iter().filter(|message| !message["error"].is_null()).collect();
            assert!(errors.is_empty() && client.closed().is_none(), "{errors:?} {:?}", client.closed());
        }
        self.run(&["PUBLISH public:news hello"]).await;
        for client in &self.clients {
            client.shows(NEWS, "hello").await;
        }
    }
}

/// The states that a client was told of.
fn states(client: &Client) -> Vec<String> {
    let messages = client.messages();
    messages.iter().filter_map(|message| message["state"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_out_of_memory_sends_nobody_away() {
    let _turn = beside_others().await;
    // The embedded one keeps memory for the count.
    let redis = Redis::start_real().await;
    let url = redis.url();
    let mut scene = Scene::on(redis, &url).await;
    scene.rides_out(&["CONFIG SET maxmemory 1"], &["CONFIG SET maxmemory 0"], "OOM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_became_a_replica_is_one_change_of_state() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let url = redis.url();
    let mut scene = Scene::on(redis, &url).await;
    scene.rides_out(&["REPLICAOF 127.0.0.1 1"], &["REPLICAOF NO ONE"], "READONLY").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_misses_its_replicas_is_one_change_of_state() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let url = redis.url();
    let mut scene = Scene::on(redis, &url).await;
    let set = |number| format!("CONFIG SET min-replicas-to-write {number}");
    scene.rides_out(&[&set(1)], &[&set(0)], "NOREPLICAS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_save_is_one_change_of_state() {
    let _turn = beside_others().await;
    let redis = Redis::start_with(&["--save", "3600 1", "--enable-protected-configs", "yes"]).await;
    let url = redis.url();
    let mut scene = Scene::on(redis, &url).await;
    // Nobody can write a file there.
    scene.rides_out(&["CONFIG SET dir /proc", "BGSAVE"], &["CONFIG SET dir /tmp", "BGSAVE"], "MISCONF").await;
}

/// A store that loads a thousand keys a second, and answers meanwhile.
const SLOWLY: [&str; 4] = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];

/// So many keys that loading them takes longer than a refusal is to last.
async fn fill(redis: &Redis) {
    let keys = 1_000 * (lasts().as_secs() + 2);
    let script = "for i = 1, ARGV[1] do redis.call('SET', 'k' .. i, string.rep('x', 100)) end";
    redis.must::<Reply>(&["EVAL", script, "0", &keys.to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_restarts_with_much_data_is_refused_until_it_has_loaded_them() {
    let _turn = beside_others().await;
    let redis = Redis::start_with(&SLOWLY).await;
    let url = redis.url();
    fill(&redis).await;
    let mut scene = Scene::on(redis, &url).await;
    scene.run(&["SAVE"]).await;
    scene.redis.kill().await;
    scene.redis.starts_again().await;
    scene.is_refused("LOADING").await;
    drop(scene.clients.remove(0));
    scene.join().await;
    // That nobody listened for a moment may have been told before.
    let told = || async {
        same("lines of an error", scene.lines("ERROR"), 1)?;
        same("at most one line of a warning", scene.lines("WARN") <= 1, true)
    };
    stays("told once while it lasts", lasts(), told).await;
    eventually("it has loaded", SOON * 3, || scene.redis.get(EXACT)).await;
    scene.is_right().await;
    for client in &scene.clients {
        assert_eq!(states(client), ["degraded", "live"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_loads_its_data_is_one_change_of_state() {
    let _turn = beside_others().await;
    let redis = Redis::start_with(&[&SLOWLY[..], &["--enable-debug-command", "yes"]].concat()).await;
    let url = redis.url();
    fill(&redis).await;
    let mut scene = Scene::on(redis, &url).await;
    let reload = tokio::spawn({
        let client = redis::Client::open(url).unwrap();
        async move {
            let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
            let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
            redis::cmd("DEBUG").arg("RELOAD").query_async::<()>(&mut connection).await.unwrap();
        }
    });
    scene.is_refused("LOADING").await;
    drop(scene.clients.remove(0));
    scene.join().await;
    scene.does_not_flap().await;
    tokio::time::timeout(SOON * 3, reload).await.expect("it ends by itself").unwrap();
    scene.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_with_a_script_is_one_change_of_state() {
    let _turn = beside_others().await;
    let redis = Redis::start_with(&["--busy-reply-threshold", "100"]).await;
    let url = redis.url();
    let mut scene = Scene::on(redis, &url).await;
    let client = redis::Client::open(url).unwrap();
    let endless = tokio::spawn(async move {
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<()>(&mut connection).await
    });
    scene.rides_out(&[], &["SCRIPT KILL"], "BUSY").await;
    assert!(endless.await.unwrap().is_err(), "it was killed");
}

/// A user of the store who may do what headcount needs.
async fn user(redis: &Redis) -> String {
    let may = "ACL SETUSER headcount on >secret ~* &* +@read +@write +@pubsub +@scripting +@connection +info +time";
    redis.must::<Reply>(&may.split(' ').collect::<Vec<_>>()).await;
    redis.url().replace("redis://", "redis://headcount:secret@")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_to_run_scripts_is_one_change_of_state() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let url = user(&redis).await;
    let mut scene = Scene::on(redis, &url).await;
    let set = |right| format!("ACL SETUSER headcount {right}@scripting");
    scene.rides_out(&[&set('-')], &[&set('+')], "NOPERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_to_subscribe_is_one_change_of_state() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let url = user(&redis).await;
    let mut scene = Scene::on(redis, &url).await;
    // Redis ends the connection of whoever listens to what it may not.
    scene.breaks = 1;
    scene.rides_out(&["ACL SETUSER headcount resetchannels"], &["ACL SETUSER headcount &*"], "NOPERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_the_store_does_not_allow_keeps_no_other_from_its_messages() {
    let _turn = beside_others().await;
    let redis = Redis::start_real().await;
    let url = user(&redis).await;
    redis.must::<Reply>(&["ACL", "SETUSER", "headcount", "resetchannels", "&users:count", "&public:*"]).await;
    let node = Node::start(&url).await;
    // Asked for in one batch with those that are allowed.
    let mut clients = Vec::new();
    for page in 0..20 {
        clients.push(Client::join(&node, &[&format!("page:/{page}"), EXACT, NEWS]).await);
    }
    for client in &clients {
        client.shows(EXACT, 20).await;
    }
    assert_eq!(node.get("/readyz").await.unwrap().status, 200, "a visitor cannot make the node unready");
    node.says(&["does not let this server subscribe"]).await;
    redis.must::<i64>(&["PUBLISH", NEWS, "hello"]).await;
    clients[0].shows(NEWS, "hello").await;
    redis.must::<Reply>(&["ACL", "SETUSER", "headcount", "&page:*"]).await;
    for (page, client) in clients.iter().enumerate() {
        client.shows(&format!("page:/{page}"), 1).await;
    }
    assert_eq!(node.log.lines_with("does not let this server subscribe").len(), 1, "{}", node.log.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_slots_is_refused_until_it_has_them() {
    let _turn = beside_others().await;
    let file = Scratch::write("nodes.conf", "");
    let path = file.0.to_str().unwrap().to_owned();
    std::fs::remove_file(&file.0).unwrap();
    // Its own choice, 10,000 above the other port, may be an outgoing connection's.
    let bus = free_port().to_string();
    let cluster = ["--cluster-enabled", "yes", "--cluster-config-file", &path, "--cluster-port", &bus];
    let redis = Redis::start_with(&cluster).await;
    let node = Node::on(&redis.url()).start().await;
    node.says(&["ERROR", "refused: the store answers", "CLUSTERDOWN"]).await;
    redis.must::<Reply>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    node.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_and_said_once() {
    let _turn = beside_others().await;
    let redis = Redis::start_with(&["--requirepass", "secret"]).await;
    let node = Node::on(&redis.url().replace("redis://", "redis://:wrong@")).start().await;
    node.says(&["ERROR", "refused: the store answers", "WRONGPASS"]).await;
    stays("one line", lasts(), || async { same("lines", node.log.lines_with("ERROR").len(), 1) }).await;
    eventually("/readyz is 503", SOON, || async { same("/readyz", node.get("/readyz").await?.status, 503) }).await;
}
