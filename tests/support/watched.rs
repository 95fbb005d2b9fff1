//! A primary and its replica, watched by three sentinels: real processes.

use redis::Value;

use super::servers::Server;
use super::{SOON, eventually, same};

/// See the module.
pub struct Watched {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
}

impl Watched {
    pub async fn start() -> Watched {
        let first = Server::start(&["--repl-diskless-sync-delay", "0"]).await;
        let port = first.port.to_string();
        let second = Server::start(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]).await;
        eventually("it is a replica", SOON, || async {
            let info: String = second.ask(&["INFO", "replication"]).await?;
            if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Server::sentinel(first.port, 2).await);
        }
        let watched = Watched { servers: vec![first, second], sentinels };
        watched.know_each_other().await;
        watched
    }

    /// The address as the configuration takes it.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
        format!("redis+sentinel://{}/main", hosts.join(","))
    }

    async fn know_each_other(&self) {
        eventually("the sentinels know each other and the replica", SOON, || async {
            for sentinel in &self.sentinels {
                let known: Vec<Value> = sentinel.ask(&["SENTINEL", "SENTINELS", "main"]).await?;
                let replicas: Vec<Value> = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]).await?;
                same("sentinels and replicas", (known.len(), replicas.len()), (2, 1))?;
            }
            Ok(())
        })
        .await;
    }

    /// The server that most sentinels name.
    pub async fn primary(&self) -> Result<usize, String> {
        let mut votes = vec![0; self.servers.len()];
        for sentinel in &self.sentinels {
            let Ok(address) = sentinel.ask::<Vec<String>>(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]).await
            else {
                continue;
            };
            let place = self.servers.iter().position(|server| Some(&server.port.to_string()) == address.get(1));
            place.into_iter().for_each(|place| votes[place] += 1);
        }
        votes.iter().position(|votes| *votes > 1).ok_or_else(|| format!("no majority: {votes:?}"))
    }

    /// Starts whoever was killed, once the other is the primary.
    pub async fn revive(&mut self) {
        for place in 0..self.servers.len() {
            if !self.servers[place].runs() {
                self.elected((place + 1) % self.servers.len()).await;
                self.servers[place].revive().await;
            }
        }
    }

    /// Waits until most sentinels name this server.
    pub async fn elected(&self, server: usize) {
        eventually("another primary is elected", SOON * 2, || async {
            same("the primary", self.primary().await?, server)
        })
        .await;
    }
}
