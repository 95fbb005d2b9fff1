//! Redis servers as processes of the test's own, with the arguments and files that it wants: for TLS,
//! sentinels and whatever a container cannot show.

use std::path::PathBuf;
use std::process::Stdio;

use redis::FromRedisValue;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::redis::free_port;
use super::{SOON, eventually};

/// A process. Dropped, it is killed, and its folder is gone.
pub struct Server {
    pub port: u16,
    pub home: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    /// A server that saves nothing, with these arguments too.
    pub async fn start(arguments: &[&str]) -> Server {
        let port = free_port();
        let own = ["--save", "", "--appendonly", "no", "--port"].map(String::from);
        let mut all = own.to_vec();
        all.push(port.to_string());
        all.extend(arguments.iter().map(ToString::to_string));
        Server::run(port, all).await
    }

    /// A sentinel that watches this primary, with so many that have to agree.
    pub async fn sentinel(primary: u16, quorum: u8) -> Server {
        let port = free_port();
        let home = std::env::temp_dir().join(format!("headcount-server-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let text = format!(
            "port {port}\nsentinel monitor main 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\n"
        );
        let file = home.join("sentinel.conf");
        std::fs::write(&file, text).unwrap();
        Server::run(port, vec![file.display().to_string(), "--sentinel".into()]).await
    }

    /// A server of a cluster that is yet to be formed; the port of its bus is one that no outgoing connection has.
    pub async fn of_cluster(arguments: &[&str]) -> Server {
        let (bus, port) = (free_port().to_string(), free_port());
        let mut all: Vec<String> =
            ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"].map(String::from).to_vec();
        all.extend(
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--enable-debug-command", "yes"]
                .map(String::from),
        );
        all.extend(
            ["--cluster-require-full-coverage", "no", "--cluster-allow-replica-migration", "no"].map(String::from),
        );
        all.extend(["--cluster-port".into(), bus, "--port".into(), port.to_string()]);
        all.extend(arguments.iter().map(ToString::to_string));
        if arguments.contains(&"--tls-cert-file") {
            all.extend(["--tls-port".into(), free_port().to_string()]);
        }
        Server::run(port, all).await
    }

    async fn run(port: u16, arguments: Vec<String>) -> Server {
        let home = std::env::temp_dir().join(format!("headcount-server-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let child = spawn(&arguments, &home);
        let server = Server { port, home, arguments, child };
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
        self.ask(command).await.unwrap()
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
    Command::new("redis-server")
        .args(arguments)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|why| panic!("these tests need redis-server: run .ci/setup, which installs it ({why})"))
}
