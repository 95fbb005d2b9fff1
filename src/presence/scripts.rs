//! What the presence asks of the store, in one place: four scripts and a few commands.

use redis::{Script, cmd};

use super::lease::NodeId;
use crate::backplane::{Client, Error, Keys, Link};
use tokio::sync::watch;

/// The answer to a statement or a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptReply {
    /// Done; the total. `changed` is whether a repair had to change it.
    Total { total: i64, changed: bool },
    /// The lease had ended before the statement arrived.
    Late,
    /// The key is not the count's.
    Foreign,
}

/// The answer to a heartbeat.
#[derive(Debug)]
pub enum HeartbeatReply {
    /// The lease's new end, and the nodes whose lease ended long enough ago.
    Held(i64, Vec<NodeId>),
    /// The lease has ended; this id is spent.
    Gone,
}

/// The scripts, and the connection and key names that they are run with.
#[derive(Clone)]
pub struct Scripts {
    commands: Client,
    keys: Keys,
    state: Script,
    repair: Script,
    heartbeat: Script,
    unset: Script,
}

impl Scripts {
    pub fn new(commands: Client, keys: Keys) -> Self {
        Self {
            commands,
            keys,
            state: Script::new(include_str!("state.lua")),
            repair: Script::new(include_str!("repair.lua")),
            heartbeat: Script::new(include_str!("heartbeat.lua")),
            unset: Script::new(include_str!("unset.lua")),
        }
    }

    pub fn link(&self) -> watch::Receiver<Link> {
        self.commands.link()
    }

    /// Renews the lease of `id`, or takes one.
    pub async fn heartbeat(&self, id: &NodeId, length: u64, grace: u64, take: bool) -> Result<HeartbeatReply, Error> {
        let mut call = self.heartbeat.prepare_invoke();
        call.key(self.keys.nodes()).arg(id.as_str()).arg(length).arg(grace).arg(u8::from(take));
        let (word, end, dead): (String, i64, Vec<String>) = self.commands.run(&call).await?;
        Ok(match word.as_str() {
            "ok" => HeartbeatReply::Held(end, dead.iter().map(|id| NodeId::of(id)).collect()),
            _ => HeartbeatReply::Gone,
        })
    }

    /// Notes that `id` may have a tally on `channel`. Acknowledged before the first statement.
    pub async fn list(&self, id: &NodeId, channel: &str) -> Result<(), Error> {
        self.commands.command(cmd("SADD").arg(self.keys.node(id.as_str())).arg(channel)).await
    }

    /// Notes that `id` has no tally on `channel` any more.
    pub async fn unlist(&self, id: &NodeId, channel: &str) -> Result<(), Error> {
        self.commands.command(cmd("SREM").arg(self.keys.node(id.as_str())).arg(channel)).await
    }

    /// States what `id` has on `channel`, and takes out what its older ids had.
    pub async fn state(
        &self,
        channel: &str,
        exact: bool,
        id: &NodeId,
        number: u64,
        end: i64,
        olds: &[NodeId],
    ) -> Result<ScriptReply, Error> {
        let mut call = self.state.prepare_invoke();
        call.key(self.keys.total(channel)).key(self.keys.tally(channel));
        call.arg(id.as_str()).arg(number).arg(end).arg(u8::from(exact));
        for old in olds {
            call.arg(old.as_str());
        }
        let (word, total): (String, String) = self.commands.run(&call).await?;
        Ok(answer(&word, &total))
    }

    /// Withdraws the tallies of `dead` on `channel`, and lifts a total that is missing or too low.
    pub async fn repair(&self, channel: &str, exact: bool, dead: &[NodeId]) -> Result<ScriptReply, Error> {
        let mut call = self.repair.prepare_invoke();
        call.key(self.keys.total(channel)).key(self.keys.tally(channel)).arg(u8::from(exact));
        for id in dead {
            call.arg(id.as_str());
        }
        let (word, total, _withdrawn): (String, String, i64) = self.commands.run(&call).await?;
        Ok(answer(&word, &total))
    }

    /// Takes back the 0 that `channel` was set up as, unless somebody is counted there.
    pub async fn unset(&self, channel: &str) -> Result<(), Error> {
        let mut call = self.unset.prepare_invoke();
        call.key(self.keys.total(channel)).key(self.keys.tally(channel));
        let _: i64 = self.commands.run(&call).await?;
        Ok(())
    }

    /// The ids with a tally on `channel` that are no nodes. The tally is read first: an id is among
    /// the nodes before its first statement, so whoever is missing there is dead.
    pub async fn strangers(&self, channel: &str) -> Result<Vec<NodeId>, Error> {
        let ids: Vec<String> = self.commands.command(cmd("HKEYS").arg(self.keys.tally(channel))).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ends: Vec<Option<f64>> = self.commands.command(cmd("ZMSCORE").arg(self.keys.nodes()).arg(&ids)).await?;
        Ok(ids.iter().zip(ends).filter(|(_, end)| end.is_none()).map(|(id, _)| NodeId::of(id)).collect())
    }

    /// The total of `channel` as it stands; a missing key is 0. A pattern may match a key that is no
    /// count: without a tally, what it holds is not told to anybody.
    pub async fn read(&self, channel: &str, exact: bool) -> Result<ScriptReply, Error> {
        let total: Option<String> = self.commands.command(cmd("GET").arg(self.keys.total(channel))).await?;
        let Some(total) = total else { return Ok(answer("ok", "0")) };
        if !exact && !self.commands.command::<bool>(cmd("EXISTS").arg(self.keys.tally(channel))).await? {
            return Ok(ScriptReply::Foreign);
        }
        Ok(answer("ok", &total))
    }

    /// The channels in which `id` may have a tally.
    pub async fn listed(&self, id: &NodeId) -> Result<Vec<String>, Error> {
        self.commands.command(cmd("SMEMBERS").arg(self.keys.node(id.as_str()))).await
    }

    /// Strikes a node whose tallies are withdrawn; its entry among the nodes goes last, so that one
    /// who dies midway is followed by another.
    pub async fn strike(&self, id: &NodeId) -> Result<(), Error> {
        let _: i64 = self.commands.command(cmd("DEL").arg(self.keys.node(id.as_str()))).await?;
        self.commands.command(cmd("ZREM").arg(self.keys.nodes()).arg(id.as_str())).await
    }
}

fn answer(word: &str, total: &str) -> ScriptReply {
    match (word, total.parse()) {
        ("late", _) => ScriptReply::Late,
        ("ok" | "changed", Ok(total)) => ScriptReply::Total { total, changed: word == "changed" },
        _ => ScriptReply::Foreign,
    }
}
