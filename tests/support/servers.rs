//! Redis servers as processes of the test's own, with the arguments and files that it wants: for TLS,
//! sentinels and whatever a container cannot show.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use redis::FromRedisValue;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::redis::{connect, free_port};
use super::{SOON, eventually};

/// Among a server's arguments: it has a clock of its own. Also the name of the file that says how far it is off.
pub const CLOCK: &str = "--clock";

/// A process. Dropped, it is killed, and its folder is gone.
pub struct Server {
    pub port: u16,
    /// The port at which others are told that it is.
    pub announced: u16,
    pub home: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

/// How a server of a cluster is reached.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub own: u16,
    pub bus: u16,
    /// Those that it tells others.
    pub announced: u16,
    pub announced_bus: u16,
}

impl Ports {
    /// Free ones; the port of the bus is one that no outgoing connection has.
    pub fn choose() -> Ports {
        let (bus, own) = (free_port(), free_port());
        // An older one does not let us choose.
        let bus = if has_cluster_port() { bus } else { own + 10_000 };
        Ports { own, bus, announced: own, announced_bus: bus }
    }
}

impl Server {
    /// A server that saves nothing, with these arguments too.
    pub async fn start(arguments: &[&str]) -> Server {
        Server::start_at(free_port(), arguments).await
    }

    /// The same, on this port.
    pub async fn start_at(port: u16, arguments: &[&str]) -> Server {
        let own = ["--save", "", "--appendonly", "no", "--port"].map(String::from);
        let mut all = own.to_vec();
        all.push(port.to_string());
        all.extend(arguments.iter().map(ToString::to_string));
        Server::run(port, all).await
    }

    /// A sentinel that watches this primary, with so many that have to agree.
    pub async fn sentinel(primary: u16, quorum: u8) -> Server {
        Server::sentinel_with(primary, quorum, "").await
    }

    /// The same, with further lines in its configuration.
    pub async fn sentinel_with(primary: u16, quorum: u8, lines: &str) -> Server {
        let port = free_port();
        let home = std::env::temp_dir().join(format!("headcount-server-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let text = format!(
            "port {port}\nsentinel monitor main 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\n{lines}"
        );
        let file = home.join("sentinel.conf");
        std::fs::write(&file, text).unwrap();
        Server::run(port, vec![file.display().to_string(), "--sentinel".into()]).await
    }

    /// A server of a cluster that is yet to be formed.
    pub async fn of_cluster(ports: Ports, arguments: &[&str]) -> Server {
        let mut all: Vec<String> =
            ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"].map(String::from).to_vec();
        all.extend(["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"].map(String::from));
        all.extend(
            ["--cluster-require-full-coverage", "no", "--cluster-allow-replica-migration", "no"].map(String::from),
        );
        all.extend(["--port".into(), ports.own.to_string()]);
        if has_cluster_port() {
            all.extend(["--cluster-port".into(), ports.bus.to_string(), "--enable-debug-command".into(), "yes".into()]);
        }
        if ports.announced != ports.own {
            all.extend(["--cluster-announce-port".into(), ports.announced.to_string()]);
            all.extend(["--cluster-announce-bus-port".into(), ports.announced_bus.to_string()]);
        }
        all.extend(arguments.iter().map(ToString::to_string));
        if arguments.contains(&"--tls-cert-file") {
            all.extend(["--tls-port".into(), free_port().to_string()]);
        }
        let mut server = Server::run(ports.own, all).await;
        server.announced = ports.announced;
        server
    }

    async fn run(port: u16, arguments: Vec<String>) -> Server {
        let home = std::env::temp_dir().join(format!("headcount-server-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join(CLOCK), 0_i64.to_ne_bytes()).unwrap();
        let child = spawn(&arguments, &home);
        let server = Server { port, announced: port, home, arguments, child };
        eventually("the server answers", SOON, || server.ask::<String>(&["PING"])).await;
        server
    }

    /// Runs one command, over a connection without TLS.
    pub async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> Result<T, String> {
        let ask = async {
            let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await
        };
        let answer: redis::RedisResult<T> =
            timeout(SOON, ask).await.map_err(|_| format!("{command:?}: no answer within {SOON:?}"))?;
        answer.map_err(|error| format!("{command:?}: {error}"))
    }

    /// Runs one command that has to work.
    pub async fn must<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let mut connection = connect(&format!("redis://127.0.0.1:{}", self.port)).await.unwrap();
        let answer = redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await;
        answer.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again as it was.
    pub async fn revive(&mut self) {
        self.child = spawn(&self.arguments, &self.home);
        eventually("the server answers", SOON, || self.ask::<String>(&["PING"])).await;
    }

    /// Sets its clock so many seconds ahead, or behind. It must have been started with [`CLOCK`] among its arguments.
    pub fn set_clock(&self, seconds: i64) {
        assert!(self.arguments.iter().any(|argument| argument == CLOCK), "its clock is the machine's");
        // In place: the server has it mapped.
        let mut file = std::fs::OpenOptions::new().write(true).open(self.home.join(CLOCK)).unwrap();
        file.write_all(&seconds.to_ne_bytes()).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("the server runs").cast_signed();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn spawn(arguments: &[String], home: &PathBuf) -> Child {
    let mut command = Command::new("redis-server");
    if arguments.iter().any(|argument| argument == CLOCK) {
        command.env("LD_PRELOAD", clock()).env("TEST_CLOCK", home.join(CLOCK));
    }
    command
        .args(arguments.iter().filter(|argument| *argument != CLOCK))
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|why| panic!("these tests need redis-server: run .ci/setup, which installs it ({why})"))
}

/// Whether the server is of version 7 or later, which lets the port of a cluster's bus be chosen.
fn has_cluster_port() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let said = std::process::Command::new("redis-server").arg("--version").output().unwrap().stdout;
        !["v=5.", "v=6."].iter().any(|old| String::from_utf8_lossy(&said).contains(old))
    })
}

/// The library that gives a process a clock of its own, built once a run.
fn clock() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let library = std::env::temp_dir().join(format!("headcount-clock-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");
        let mut compiler = std::process::Command::new("cc");
        let built = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(built.is_ok_and(|status| status.success()), "this test needs a C compiler: run .ci/setup");
        library
    })
}
