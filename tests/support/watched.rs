//! A primary and its replica, watched by three sentinels: real processes.

use redis::Value;

use super::link::{Link, Mode};
use super::redis::free_port;
use super::servers::Server;
use super::{SOON, eventually, same};

/// See the module.
pub struct Watched {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
    /// The ways on which the sentinels and the servers reach the servers, where they are links.
    pub links: Vec<Link>,
}

/// One node's own ways to the sentinels and the servers.
pub struct Ways {
    pub sentinels: Vec<Link>,
    pub servers: Vec<Link>,
}

impl Ways {
    /// The address as the configuration of that node takes it.
    pub fn url(&self) -> String {
        url(self.sentinels.iter().map(Link::port))
    }

    /// The same for all of them.
    pub fn set(&self, mode: Mode) {
        self.sentinels.iter().chain(&self.servers).for_each(|link| link.set(mode));
    }
}

fn url(sentinels: impl Iterator<Item = u16>) -> String {
    let hosts: Vec<String> = sentinels.map(|port| format!("127.0.0.1:{port}")).collect();
    format!("redis+sentinel://{}/main", hosts.join(","))
}

impl Watched {
    pub async fn start() -> Watched {
        Watched::on([free_port(), free_port()], Vec::new()).await
    }

    /// The same, where sentinels and servers reach the servers over links.
    pub async fn start_linked() -> Watched {
        let ports = [free_port(), free_port()];
        let links = vec![Link::to(ports[0]).await, Link::to(ports[1]).await];
        Watched::on(ports, links).await
    }

    async fn on(ports: [u16; 2], links: Vec<Link>) -> Watched {
        let announced = |place: usize| links.get(place).map_or(ports[place], Link::port);
        let told = [announced(0).to_string(), announced(1).to_string()];
        let arguments = |place: usize| {
            let port = &told[place];
            let all = ["--repl-diskless-sync-delay", "0", "--replica-announce-ip", "127.0.0.1"];
            [&all[..], &["--replica-announce-port", port]].concat()
        };
        let mut primary = Server::start_at(ports[0], &arguments(0)).await;
        let follows = ["--replicaof", "127.0.0.1", &told[0]];
        let mut replica = Server::start_at(ports[1], &[&arguments(1)[..], &follows].concat()).await;
        (primary.announced, replica.announced) = (announced(0), announced(1));
        eventually("it is a replica", SOON, || async {
            let info: String = replica.ask(&["INFO", "replication"]).await?;
            if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Server::sentinel(primary.announced, 2).await);
        }
        let watched = Watched { servers: vec![primary, replica], sentinels, links };
        watched.know_each_other().await;
        watched
    }

    /// The address as the configuration takes it.
    pub fn url(&self) -> String {
        url(self.sentinels.iter().map(|one| one.port))
    }

    /// Ways of its own for one node.
    pub async fn ways(&self) -> Ways {
        let (mut sentinels, mut servers) = (Vec::new(), Vec::new());
        for server in &self.servers {
            servers.push(Link::to(server.port).await);
        }
        for sentinel in &self.sentinels {
            let link = Link::to(sentinel.port).await;
            self.servers.iter().zip(&servers).for_each(|(server, way)| link.rename(server.announced, way.port()));
            sentinels.push(link);
        }
        Ways { sentinels, servers }
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
            let place = self.servers.iter().position(|server| Some(&server.announced.to_string()) == address.get(1));
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
