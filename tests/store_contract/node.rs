//! A node that serves the embedded store in a process of its own, so that it can be killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::wire::Connection;
use crate::support::node::headcount;
use crate::support::redis::free_port;

/// How soon a node that starts has to answer.
const SOON: Duration = Duration::from_secs(30);

/// The process. Dropped, it is killed.
pub struct Node {
    pub address: SocketAddr,
    child: Child,
}

impl Node {
    /// Starts one that keeps its store in `folder` and forces each change onto the disk, and waits
    /// until it answers.
    pub fn start(folder: &Path) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], free_port())), folder)
    }

    /// As [`Self::start`], at this address.
    pub fn start_at(address: SocketAddr, folder: &Path) -> Self {
        let child = headcount()
            .into_std()
            .args(["--listen", "127.0.0.1:0", "--redis-url", &format!("redis://{address}"), "--log-level", "warn"])
            .env("HEADCOUNT_STORE__EMBEDDED", "always")
            .env("HEADCOUNT_STORE__PATH", folder)
            .env("HEADCOUNT_STORE__FSYNC", "always")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut node = Self { address, child };
        let deadline = Instant::now() + SOON;
        while Connection::try_open(address).is_none_or(|mut connection| connection.call(&["PING"]).text() != "PONG") {
            assert!(node.child.try_wait().unwrap().is_none(), "the node ends at once");
            assert!(Instant::now() < deadline, "the node does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        node
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
