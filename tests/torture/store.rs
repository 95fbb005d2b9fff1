//! The store of a torture: a `redis-server` or a node that serves the embedded store, as a process
//! that can be killed, stopped and started again with its data or without.

use std::path::PathBuf;
use std::process::Stdio;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, ToRedisArgs};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::node::{Log, headcount};
use crate::support::redis::{connect, free_port};
use crate::support::{SOON, eventually};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brand {
    Redis,
    Embedded,
}

/// The server with its folder. Dropped, both are gone.
pub struct Store {
    pub brand: Brand,
    pub port: u16,
    home: PathBuf,
    child: Child,
    log: Log,
}

impl Store {
    pub async fn start(brand: Brand) -> Store {
        let port = free_port();
        let home = std::env::temp_dir().join(format!("headcount-torture-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let (child, log) = spawn(brand, port, &home);
        let store = Store { brand, port, home, child, log };
        store.answers().await;
        store
    }

    /// Asks the store one thing over a connection of its own.
    pub async fn run<T: FromRedisValue, A: ToRedisArgs>(&self, command: &[A]) -> Result<T, String> {
        let mut connection = self.connect().await?;
        ask(&mut connection, command).await
    }

    /// The same for something that has to work.
    pub async fn must<T: FromRedisValue, A: ToRedisArgs>(&self, command: &[A]) -> T {
        self.run(command).await.unwrap()
    }

    /// A connection that outlives a password set after it.
    pub async fn connect(&self) -> Result<MultiplexedConnection, String> {
        connect(&format!("redis://127.0.0.1:{}", self.port)).await.map_err(|error| error.to_string())
    }

    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Stops the server as its operator would.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        timeout(SOON, self.child.wait()).await.expect("the store ends by itself").unwrap();
    }

    /// Starts it again on the same port.
    pub async fn revive(&mut self, with_data: bool) {
        if !with_data {
            std::fs::remove_dir_all(&self.home).unwrap();
            std::fs::create_dir_all(&self.home).unwrap();
        }
        (self.child, self.log) = spawn(self.brand, self.port, &self.home);
        self.answers().await;
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("the store runs").cast_signed();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// `Ok` while the process runs.
    pub fn runs(&mut self) -> Result<(), String> {
        match self.child.try_wait().unwrap() {
            None => Ok(()),
            Some(status) => Err(format!("the store ended: {status}; its log:\n{}", self.log.text())),
        }
    }

    /// What it wrote to its standard error since it was last started.
    pub fn log(&self) -> String {
        self.log.text()
    }

    async fn answers(&self) {
        eventually("the store answers", SOON, || async { self.run::<String, _>(&["PING"]).await }).await;
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// Runs one command over this connection.
pub async fn ask<T: FromRedisValue, A: ToRedisArgs>(
    connection: &mut MultiplexedConnection,
    command: &[A],
) -> Result<T, String> {
    let mut request = redis::Cmd::new();
    for argument in command {
        request.arg(argument);
    }
    match timeout(SOON, request.query_async(connection)).await {
        Ok(reply) => {
            reply.map_err(|error| format!("{:?}: {error}", String::from_utf8_lossy(&request.get_packed_command())))
        }
        Err(_) => Err(format!("no answer within {SOON:?}")),
    }
}

fn spawn(brand: Brand, port: u16, home: &std::path::Path) -> (Child, Log) {
    let port = port.to_string();
    let mut command = match brand {
        Brand::Redis => {
            let mut redis = Command::new("redis-server");
            redis.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
            redis.args(["--appendfsync", "no", "--lua-time-limit", "200"]);
            redis.stdout(Stdio::null());
            redis
        }
        Brand::Embedded => {
            let mut node = headcount();
            // Not on a port: somebody who looks for a server that has ended would be counted here.
            let listen = format!("unix:{}", home.join("web.sock").display());
            node.args(["--listen", &listen, "--redis-url", &format!("redis://127.0.0.1:{port}")]);
            node.env("HEADCOUNT_STORE__EMBEDDED", "always").env("HEADCOUNT_STORE__FSYNC", "no");
            node.env("HEADCOUNT_STORE__PATH", home.join("store"));
            node.stdout(Stdio::null());
            node
        }
    };
    command.current_dir(home).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|why| panic!("{brand:?} does not start; run .ci/setup ({why})"));
    let log = Log::follow(child.stderr.take().unwrap());
    (child, log)
}
