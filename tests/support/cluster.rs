//! A Redis Cluster of real processes: primaries, each with a replica, and slots that move.

use std::time::Duration;

use redis::{FromRedisValue, Value};

use super::eventually;
use super::link::{Kind, Link, Mode};
use super::servers::{Ports, Server};

/// How many slots there are.
const SLOTS: u32 = 16_384;
/// The longest that a cluster may take to agree on anything.
const AGREED: Duration = Duration::from_secs(20);

/// Servers 0, 1, … are the primaries at first, and those after them their replicas.
pub struct Cluster {
    pub servers: Vec<Server>,
    /// The ways to each server, where they are links: its clients', and that of the cluster's bus.
    pub links: Vec<(Link, Link)>,
    primaries: usize,
    arguments: Vec<String>,
}

impl Cluster {
    /// Three primaries with a replica each.
    pub async fn start() -> Cluster {
        Cluster::start_with(3, 1, &[]).await
    }

    /// So many primaries with so many replicas each, and with further arguments for each server.
    pub async fn start_with(primaries: usize, replicas: usize, arguments: &[&str]) -> Cluster {
        let mut servers = Vec::new();
        for _ in 0..primaries * (1 + replicas) {
            servers.push(Server::of_cluster(Ports::choose(), arguments).await);
        }
        Cluster::form(servers, Vec::new(), primaries, arguments).await
    }

    /// The same, where each server is reached over links, by its clients as by the other servers.
    pub async fn start_linked(primaries: usize, replicas: usize, arguments: &[&str]) -> Cluster {
        let (mut servers, mut links) = (Vec::new(), Vec::new());
        for _ in 0..primaries * (1 + replicas) {
            let ports = Ports::choose();
            let (clients, bus) = (Link::to(ports.own).await, Link::to(ports.bus).await);
            let announced = Ports { announced: clients.port(), announced_bus: bus.port(), ..ports };
            servers.push(Server::of_cluster(announced, arguments).await);
            links.push((clients, bus));
        }
        Cluster::form(servers, links, primaries, arguments).await
    }

    async fn form(servers: Vec<Server>, links: Vec<(Link, Link)>, primaries: usize, arguments: &[&str]) -> Cluster {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let cluster = Cluster { servers, links, primaries, arguments };
        for place in 0..primaries {
            let slots = |place: usize| SLOTS as usize * place / primaries;
            let own: Vec<String> = (slots(place)..slots(place + 1)).map(|slot| slot.to_string()).collect();
            let command: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(own.iter().map(String::as_str)).collect();
            cluster.servers[place].must::<Value>(&command).await;
        }
        for server in &cluster.servers {
            cluster.meet(server).await;
        }
        for (place, server) in cluster.servers.iter().enumerate().skip(primaries) {
            let of = cluster.id(place % primaries).await;
            eventually("it is a replica", AGREED, || async {
                server.ask::<Value>(&["CLUSTER", "REPLICATE", &of]).await
            })
            .await;
        }
        cluster.agrees().await;
        cluster
    }

    async fn meet(&self, server: &Server) {
        let bus = self.bus(0).await;
        let port = self.servers[0].port.to_string();
        if server.port != self.servers[0].port {
            server.must::<Value>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
        }
    }

    /// The port of a server's bus.
    async fn bus(&self, place: usize) -> String {
        let nodes: String = self.servers[place].must(&["CLUSTER", "NODES"]).await;
        let own = nodes.lines().find(|line| line.contains("myself")).unwrap();
        let address = own.split(' ').nth(1).unwrap();
        address.split('@').nth(1).unwrap().split(',').next().unwrap().to_owned()
    }

    /// The id of a server in the cluster.
    pub async fn id(&self, place: usize) -> String {
        self.servers[place].must(&["CLUSTER", "MYID"]).await
    }

    /// Waits until all servers see all slots served, all replicas in step, and each other.
    pub async fn agrees(&self) {
        eventually("the cluster agrees", AGREED, || async {
            for server in &self.servers {
                let info: String = server.ask(&["CLUSTER", "INFO"]).await?;
                let known = format!("cluster_known_nodes:{}", self.servers.len());
                for fact in ["cluster_state:ok", "cluster_slots_ok:16384", &known] {
                    if !info.contains(fact) {
                        return Err(format!("no {fact} in {info}"));
                    }
                }
                let replication: String = server.ask(&["INFO", "replication"]).await?;
                if replication.contains("role:slave") && !replication.contains("master_link_status:up") {
                    return Err(replication);
                }
            }
            Ok(())
        })
        .await;
    }

    /// One more primary, which has no slots yet. Returns its place.
    pub async fn grow(&mut self) -> usize {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let server = Server::of_cluster(Ports::choose(), &arguments).await;
        self.meet(&server).await;
        self.servers.push(server);
        self.agrees().await;
        self.servers.len() - 1
    }

    /// The address as the configuration takes it: two of the servers.
    pub fn url(&self) -> String {
        let seeds: Vec<String> =
            self.servers[..2.min(self.primaries)].iter().map(|one| format!("127.0.0.1:{}", one.announced)).collect();
        format!("redis+cluster://{}", seeds.join(","))
    }

    /// The place of the server that owns a slot, as one that runs sees it; `but` is not asked.
    pub async fn owner(&self, slot: u16, but: Option<usize>) -> Result<usize, String> {
        for (place, server) in self.servers.iter().enumerate() {
            if Some(place) == but {
                continue;
            }
            let Ok(ranges) = server.ask::<Vec<Vec<Value>>>(&["CLUSTER", "SLOTS"]).await else { continue };
            for range in ranges {
                if let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = range.as_slice()
                    && (*first..=*last).contains(&i64::from(slot))
                    && let Some(Value::Int(port)) = primary.get(1)
                {
                    let found = self.servers.iter().position(|one| i64::from(one.announced) == *port);
                    return found.ok_or_else(|| format!("port {port} is no server's"));
                }
            }
        }
        Err(format!("nobody owns slot {slot}"))
    }

    /// Waits until a slot is another server's than this one's, which is not asked.
    pub async fn elected(&self, slot: u16, before: usize) -> usize {
        eventually("another server is elected", AGREED, || async {
            let owner = self.owner(slot, Some(before)).await?;
            if owner == before { Err("it is the same".into()) } else { Ok(owner) }
        })
        .await
    }

    /// Runs a command on the server that has a key.
    pub async fn ask<T: FromRedisValue>(&self, key: &str, command: &[&str]) -> Result<T, String> {
        let slot = slot(key);
        let mut failure = String::new();
        for server in &self.servers {
            // Whoever does not own it says so, and a replica, too.
            match server.ask(command).await {
                Ok(answer) => return Ok(answer),
                Err(why) => failure = why,
            }
        }
        Err(format!("slot {slot}: {failure}"))
    }

    /// Runs a command where it belongs: on the server that has its key, or on all.
    pub async fn run<T: FromRedisValue>(&self, command: &[&str]) -> Result<T, String> {
        let read = |value: Value| T::from_redis_value(value).map_err(|why| why.to_string());
        let everywhere = ["FLUSHALL", "CLIENT", "CONFIG", "ACL", "DEBUG", "KEYS", "PUBSUB"];
        if !everywhere.contains(&command[0]) {
            return self.ask(command.get(1).unwrap_or(&""), command).await;
        }
        let (mut last, mut all) = (Value::Nil, Vec::new());
        for server in &self.servers {
            match server.ask(command).await? {
                Value::Array(items) => {
                    all.extend(items.into_iter().filter(|item| !all.contains(item)).collect::<Vec<_>>())
                }
                other => last = other,
            }
        }
        read(if last == Value::Nil { Value::Array(all) } else { last })
    }

    /// How many connections are subscribed to each of these channels, on all servers.
    pub async fn subscribers(&self, channels: &[&str]) -> Result<Vec<i64>, String> {
        let mut sums = vec![0; channels.len()];
        for server in &self.servers {
            let reply: Vec<Value> = server.ask(&[&["PUBSUB", "NUMSUB"], channels].concat()).await?;
            for (sum, number) in sums.iter_mut().zip(reply.into_iter().skip(1).step_by(2)) {
                *sum += i64::from_redis_value(number).map_err(|why| why.to_string())?;
            }
        }
        Ok(sums)
    }

    pub async fn kill(&mut self) {
        for server in &mut self.servers {
            server.kill().await;
        }
    }

    /// Starts all again, without data, and waits until they know each other.
    pub async fn revive(&mut self) {
        for server in &mut self.servers {
            server.revive().await;
        }
        self.agrees().await;
    }

    /// Cuts the bus, or has it carry again. What clients say and hear is carried all the time.
    pub fn set_bus(&self, mode: Mode) {
        self.links.iter().for_each(|(_, bus)| bus.set(mode));
    }

    /// Cuts one server off the bus.
    pub async fn isolate(&self, place: usize) {
        let id = self.id(place).await.into_bytes().try_into().unwrap();
        for (other, (_, bus)) in self.links.iter().enumerate() {
            bus.set_for(if other == place { Kind::Any } else { Kind::Of(id) }, Mode::Cut);
        }
    }

    /// A replica of the server at this place.
    pub async fn replica(&self, place: usize) -> usize {
        let id = self.id(place).await;
        for (other, server) in self.servers.iter().enumerate() {
            let nodes: String = server.ask(&["CLUSTER", "NODES"]).await.unwrap_or_default();
            if nodes.lines().any(|line| line.contains("myself") && line.contains("slave") && line.contains(&id)) {
                return other;
            }
        }
        panic!("server {place} has no replica")
    }

    /// Begins to move a slot: from now on, keys that are not at the old owner are asked for at the new one.
    pub async fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from).await, self.id(to).await);
        self.servers[to].must::<Value>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        self.servers[from].must::<Value>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
    }

    /// Moves the keys of a slot. From then on its owner answers ASK, until the move ends.
    pub async fn move_keys(&self, slot: u16, from: usize, to: usize) {
        let (text, port) = (slot.to_string(), self.servers[to].port.to_string());
        loop {
            let keys: Vec<String> = self.servers[from].must(&["CLUSTER", "GETKEYSINSLOT", &text, "100"]).await;
            if keys.is_empty() {
                break;
            }
            let keys = keys.iter().map(String::as_str);
            let command: Vec<&str> =
                ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"].into_iter().chain(keys).collect();
            self.servers[from].must::<Value>(&command).await;
        }
    }

    /// Moves what is left of a slot's keys, and ends the move.
    pub async fn end_move(&self, slot: u16, from: usize, to: usize) {
        self.move_keys(slot, from, to).await;
        let (text, to_id) = (slot.to_string(), self.id(to).await);
        for place in [to, from] {
            self.servers[place].must::<Value>(&["CLUSTER", "SETSLOT", &text, "NODE", &to_id]).await;
        }
    }
}

/// The slot of a key, as the product does not compute it: a table of remainders.
pub fn slot(key: &str) -> u16 {
    let hashed = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let bytes = hashed.filter(|tag| !tag.is_empty()).unwrap_or(key).bytes();
    let remainder =
        |byte: u16| (0..8).fold(byte << 8, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 });
    bytes.fold(0u16, |sum, byte| (sum << 8) ^ remainder((sum >> 8) ^ u16::from(byte))) % 16_384
}
