//! Real Redis: a container where a container engine answers, else a `redis-server` process.
//!
//! With `TEST_STORE=embedded` it is a node that serves the embedded store, with `sentinel` the primary that
//! three sentinels name, with `cluster` a cluster of three primaries. Each server has a port of its own that it keeps over a restart, saves nothing, and so comes back
//! empty. The run prints once which of the two kinds it used. Where neither is to be had, the test
//! fails and says what to install.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value};
use rustix::process::Signal;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::cluster::Cluster;
use super::process::Process;
use super::watched::Watched;
use super::{SOON, eventually};

const IMAGE: (&str, &str) = ("redis", "7.0");

/// A Redis server of the test's own.
pub struct Redis {
    port: u16,
    server: Server,
}

enum Server {
    Container(Box<ContainerAsync<GenericImage>>),
    Process(Box<Process>),
    Embedded(Box<Process>),
    Watched(Box<Watched>),
    Cluster(Box<Cluster>),
}

/// What the run asks for in the place of a single real Redis.
fn asked_for() -> String {
    std::env::var("TEST_STORE").unwrap_or_default()
}

impl Redis {
    /// Starts an empty server and waits until it answers.
    pub async fn start() -> Redis {
        let redis = match asked_for().as_str() {
            "" => return Redis::start_real().await,
            "sentinel" => {
                let watched = Watched::start().await;
                Redis { port: watched.servers[0].port, server: Server::Watched(Box::new(watched)) }
            }
            "cluster" => {
                let cluster = Cluster::start_with(3, 0, &[]).await;
                Redis { port: cluster.servers[0].port, server: Server::Cluster(Box::new(cluster)) }
            }
            _ => {
                let port = free_port();
                Redis { port, server: Server::Embedded(Box::new(Process::start_embedded(port))) }
            }
        };
        redis.answers().await;
        redis.announce().await;
        redis
    }

    /// Starts a real Redis, whatever the run asks for.
    pub async fn start_real() -> Redis {
        Redis::start_with(&[]).await
    }

    /// Starts an empty real Redis with further arguments to `redis-server`.
    pub async fn start_with(arguments: &[&str]) -> Redis {
        let port = free_port();
        let mut all = vec!["redis-server", "--save", "", "--appendonly", "no"];
        all.extend(["--protected-mode", "no", "--bind", "0.0.0.0"]);
        all.extend(arguments);
        let server = if engine_answers().await {
            start_container(port, &all).await
        } else {
            Server::Process(Box::new(Process::start(port, &all[1..])))
        };
        let redis = Redis { port, server };
        redis.answers().await;
        redis.announce().await;
        redis
    }

    /// The port on this machine, the same for the server's whole life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many nodes are part of the store: the one that serves it, where it is embedded.
    pub fn nodes(&self) -> usize {
        usize::from(matches!(self.server, Server::Embedded(_)))
    }

    /// The address as the configuration takes it.
    pub fn url(&self) -> String {
        match &self.server {
            Server::Watched(watched) => watched.url(),
            Server::Cluster(cluster) => cluster.url(),
            _ => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Runs one command and reads its reply as `T`.
    pub async fn run<T: FromRedisValue>(&self, command: &[&str]) -> Result<T, String> {
        match &self.server {
            Server::Watched(watched) => return watched.servers[watched.primary().await?].ask(command).await,
            Server::Cluster(cluster) => return cluster.run(command).await,
            _ => {}
        }
        let told = |error: redis::RedisError| format!("{command:?}: {error}");
        let ask = async {
            let url = format!("redis://127.0.0.1:{}", self.port);
            let mut connection = connect(&url).await.map_err(told)?;
            let mut request = redis::cmd(command[0]);
            request.arg(&command[1..]);
            request.query_async(&mut connection).await.map_err(told)
        };
        timeout(SOON, ask).await.map_err(|_| format!("{command:?}: no answer within {SOON:?}"))?
    }

    /// Runs one command that has to work.
    pub async fn must<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.run(command).await.unwrap()
    }

    /// What another program reads with `GET`: `None` where the key is missing.
    pub async fn get(&self, key: &str) -> Result<Option<i64>, String> {
        self.run(&["GET", key]).await
    }

    /// How many connections are subscribed to each of these channels.
    pub async fn subscribers(&self, channels: &[&str]) -> Result<Vec<i64>, String> {
        let command = [&["PUBSUB", "NUMSUB"], channels].concat();
        if let Server::Cluster(cluster) = &self.server {
            return cluster.subscribers(channels).await;
        }
        let reply: Vec<Value> = self.run(&command).await?;
        reply.into_iter().skip(1).step_by(2).map(|n| i64::from_redis_value(n).map_err(|e| e.to_string())).collect()
    }

    /// Every channel that somebody is subscribed to.
    pub async fn channels(&self) -> Result<Vec<String>, String> {
        let mut channels: Vec<String> = self.run(&["PUBSUB", "CHANNELS"]).await?;
        channels.sort();
        Ok(channels)
    }

    /// Kills the server with SIGKILL. Its port is closed and its data is gone.
    pub async fn kill(&mut self) {
        match &mut self.server {
            Server::Container(container) => container.stop_with_timeout(Some(0)).await.unwrap(),
            Server::Process(process) | Server::Embedded(process) => process.kill().await,
            Server::Watched(watched) => {
                let place = watched.primary().await.unwrap();
                watched.servers[place].kill().await;
            }
            Server::Cluster(cluster) => cluster.kill().await,
        }
    }

    /// Starts the server again after a kill: on the same port, without data.
    pub async fn revive(&mut self) {
        match &mut self.server {
            Server::Container(container) => container.start().await.unwrap(),
            Server::Process(process) | Server::Embedded(process) => process.revive(),
            // Whoever was killed comes back as a replica of the other.
            Server::Watched(watched) => watched.revive().await,
            Server::Cluster(cluster) => cluster.revive().await,
        }
        self.answers().await;
    }

    /// Starts the server again after a kill, and does not wait for it.
    pub async fn starts_again(&mut self) {
        match &mut self.server {
            Server::Container(container) => container.start().await.unwrap(),
            Server::Process(process) | Server::Embedded(process) => process.revive(),
            Server::Watched(_) | Server::Cluster(_) => panic!("see revive"),
        }
    }

    /// Freezes the server: its port is open and nothing answers.
    pub async fn pause(&self) {
        match &self.server {
            Server::Container(container) => container.pause().await.unwrap(),
            Server::Process(process) | Server::Embedded(process) => process.signal(Signal::STOP),
            Server::Watched(watched) => watched.servers.iter().for_each(|server| server.signal(Signal::STOP)),
            Server::Cluster(cluster) => cluster.servers.iter().for_each(|server| server.signal(Signal::STOP)),
        }
    }

    /// Lets a frozen server go on.
    pub async fn resume(&self) {
        match &self.server {
            Server::Container(container) => container.unpause().await.unwrap(),
            Server::Process(process) | Server::Embedded(process) => process.signal(Signal::CONT),
            Server::Watched(watched) => watched.servers.iter().for_each(|server| server.signal(Signal::CONT)),
            Server::Cluster(cluster) => cluster.servers.iter().for_each(|server| server.signal(Signal::CONT)),
        }
    }

    async fn answers(&self) {
        eventually("Redis answers", SOON, || async {
            match self.run::<String>(&["PING"]).await {
                Err(why) if !why.contains("NOAUTH") => Err(why),
                _ => Ok(()),
            }
        })
        .await;
    }

    /// Prints which Redis the run uses, past the capture of a test's output.
    async fn announce(&self) {
        static SAID: AtomicBool = AtomicBool::new(false);
        let Ok(info) = self.run::<String>(&["INFO", "server"]).await else {
            return;
        };
        if SAID.swap(true, Ordering::Relaxed) {
            return;
        }
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("?");
        let kind = match self.server {
            Server::Container(_) => format!("containers of {}:{}", IMAGE.0, IMAGE.1),
            Server::Process(_) => String::from("redis-server processes (no container engine answers)"),
            Server::Embedded(_) => {
                let _ = writeln!(std::io::stderr(), "\nthe tests use the embedded store");
                return;
            }
            Server::Watched(_) => String::from("redis-server processes behind sentinels"),
            Server::Cluster(_) => String::from("a cluster of redis-server processes"),
        };
        let _ = writeln!(std::io::stderr(), "\nthe tests use real Redis {version} in {kind}");
    }
}

async fn start_container(port: u16, arguments: &[&str]) -> Server {
    let container = GenericImage::new(IMAGE.0, IMAGE.1)
        .with_mapped_port(port, 6379.tcp())
        .with_cmd(arguments.iter().copied())
        .with_startup_timeout(Duration::from_secs(60))
        .start()
        .await
        .unwrap_or_else(|why| {
            panic!("a container of {}:{} does not start (.ci/setup makes the image): {why}", IMAGE.0, IMAGE.1)
        });
    Server::Container(Box::new(container))
}

/// A connection whose deadlines are ample: the client's own, half a second for a reply, are too short for a busy
/// machine.
pub async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    let patient =
        redis::AsyncConnectionConfig::new().set_connection_timeout(Some(SOON)).set_response_timeout(Some(SOON));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&patient).await
}

/// A port that nobody listens on, below the range from which the kernel takes the ports of outgoing
/// connections: so a server that is down for a while finds it free when it comes back.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    (0..1_000)
        .map(|_| 20_000 + (base - 20_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000)
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .expect("a free port")
}

/// Whether a container engine answers where Docker's clients look for it. Asked once a run.
async fn engine_answers() -> bool {
    static ANSWERS: OnceCell<bool> = OnceCell::const_new();
    *ANSWERS.get_or_init(|| async { timeout(SOON, ping_engine()).await.is_ok_and(|pong| pong.is_some()) }).await
}

async fn ping_engine() -> Option<()> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| String::from("unix:///var/run/docker.sock"));
    let request = b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n";
    let mut reply = Vec::new();
    if let Some(path) = host.strip_prefix("unix://") {
        let mut socket = tokio::net::UnixStream::connect(path).await.ok()?;
        socket.write_all(request).await.ok()?;
        socket.read_to_end(&mut reply).await.ok()?;
    } else {
        let address = host.split("://").last()?;
        let mut socket = tokio::net::TcpStream::connect(address).await.ok()?;
        socket.write_all(request).await.ok()?;
        socket.read_to_end(&mut reply).await.ok()?;
    }
    reply.starts_with(b"HTTP/1.1 200").then_some(())
}
