//! The presence's requests to the store: a few scripts and a few commands.

use std::sync::Arc;

use redis::{Cmd, FromRedisValue, Value, cmd};
use tokio::sync::watch;

use super::belief::Belief;
use super::digits::Digits;
use super::lease::NodeId;
use super::owner;
use super::script_reply::{HeartbeatReply, RawReply, ScriptReply};
use super::sources::{Script, Sources};
use crate::backplane::topology::Away;
use crate::backplane::{Client, Error, Keys, Tenure, in_its_own_words};
use crate::config::channels::MembersRule;

/// The way to the store: one command, one reply. A simulation has its own.
pub trait Store: Clone + Send + Sync + 'static {
    /// Sends a command and waits for its reply.
    fn call(&self, command: Cmd) -> impl Future<Output = Result<Value, Error>> + Send;

    /// Whether the keys are spread over several servers, each with a clock of its own.
    fn is_sharded(&self) -> bool {
        false
    }
}

impl Store for Client {
    async fn call(&self, command: Cmd) -> Result<Value, Error> {
        self.command(&command).await
    }

    fn is_sharded(&self) -> bool {
        Client::is_sharded(self)
    }
}

/// What a repair on one server does besides its main work.
#[derive(Debug, Clone, Copy)]
pub struct Upkeep {
    /// The end of the lease, if the channel must be put into the node's list.
    pub list: Option<i64>,
    /// Whether it looks for other ids with a share that are not nodes.
    pub strangers: bool,
}

/// The scripts, and the connection and key names that they are run with.
#[derive(Clone)]
pub struct Scripts<S> {
    pub(super) store: S,
    pub(super) keys: Keys,
    pub(super) sources: &'static Sources,
    pub(super) sharded: bool,
}

impl<S: Store> Scripts<S> {
    /// Makes the scripts for a store.
    pub fn new(store: S, keys: Keys) -> Self {
        let sharded = store.is_sharded();
        Self { store, keys, sources: Sources::all(), sharded }
    }

    /// Renews the lease of `id`, or takes a new one.
    pub async fn heartbeat(&self, id: &NodeId, length: u64, grace: u64, take: bool) -> Result<HeartbeatReply, Error> {
        let arguments = [id.as_bytes(), &Digits::of(length), &Digits::of(grace), flag(take)];
        let reply = self.run(&self.sources.heartbeat, &[self.keys.nodes().as_bytes()], &arguments).await?;
        let (word, end, dead, refusal): (String, i64, Vec<Vec<u8>>, String) = read(reply)?;
        let dead = dead.iter().map(|id| NodeId::of(id)).collect();
        let refusal = in_its_own_words(&refusal).to_owned();
        Ok(match word.as_str() {
            "ok" => HeartbeatReply::Held(end, dead, Some(refusal).filter(|why| !why.is_empty())),
            _ => HeartbeatReply::Gone,
        })
    }

    /// Notes that `id` may have a share on `channel`. Must be acknowledged before the first statement. Returns false
    /// if the lease has ended.
    pub async fn list(&self, id: &NodeId, channel: &str, end: i64) -> Result<bool, Error> {
        let arguments = [channel.as_bytes(), &Digits::of(end)];
        let reply = self.run(&self.sources.list, &[&self.keys.node(id.as_bytes())], &arguments).await?;
        let (word, _, _, _): (String, String, String, String) = read(reply)?;
        Ok(word != "late")
    }

    /// Notes that `id` no longer has a share on `channels`. A damaged list counts as empty.
    pub async fn unlist(&self, id: &NodeId, channels: &[Arc<str>]) -> Result<(), Error> {
        let list = self.keys.node(id.as_bytes());
        let names = channels.iter().map(|channel| channel.as_bytes());
        let arguments: Vec<&[u8]> = std::iter::once(&list[..]).chain(names).collect();
        match self.store.call(with(cmd("SREM"), &arguments)).await {
            Err(error) if !error.is_of_one_key() => Err(error),
            _ => Ok(()),
        }
    }

    /// States what `id` has on `channel`, and takes out what its older ids had. `ours`: the node already has a share
    /// there, so the key is not somebody else's. `list`: does the work of [`Self::list`] in the same step, on one
    /// server.
    #[expect(clippy::too_many_arguments, reason = "one a script argument")]
    pub async fn state(
        &self,
        channel: &str,
        exact: bool,
        ours: bool,
        id: &NodeId,
        number: u64,
        end: i64,
        olds: &[NodeId],
        list: bool,
    ) -> Result<ScriptReply, Error> {
        let (number, end) = (Digits::of(number), Digits::of(end));
        let mut arguments = vec![id.as_bytes(), &number, &end, flag(exact), flag(ours), entered(channel, list)];
        arguments.extend(olds.iter().map(NodeId::as_bytes));
        self.listing(&self.sources.state, channel, list.then_some(id), &arguments).await?.answer()
    }

    /// Withdraws the shares of `dead` on `channel`, and raises a total that is missing or too low, unless the store
    /// has something other than `belief` says. `upkeep` adds work to the same step.
    pub async fn repair(
        &self,
        channel: &str,
        exact: bool,
        belief: Belief<'_>,
        members: Option<MembersRule>,
        dead: &[NodeId],
        upkeep: Option<Upkeep>,
    ) -> Result<ScriptReply, Error> {
        let share = belief.share.map_or_else(Digits::default, Digits::of);
        let (number, stamp) = owner::confirmed(&belief.visitors);
        let (most, bytes) = bounds(members);
        let strangers = flag(upkeep.is_some_and(|upkeep| upkeep.strangers));
        let list = upkeep.and_then(|upkeep| upkeep.list);
        let end = list.map_or_else(Digits::default, Digits::of);
        let mut arguments = vec![belief.id.as_bytes(), &share, flag(exact), number, &stamp];
        arguments.extend([belief.epoch.as_bytes(), &most, &bytes, strangers, &end, entered(channel, list.is_some())]);
        arguments.extend(dead.iter().map(NodeId::as_bytes));
        self.listing(&self.sources.repair, channel, upkeep.map(|_| belief.id), &arguments).await?.answer()
    }

    /// Reads the total of `channel`; a missing key is 0.
    pub async fn read(&self, channel: &str, exact: bool, belief: Belief<'_>) -> Result<ScriptReply, Error> {
        let share = belief.share.map_or_else(Digits::default, Digits::of);
        let (number, stamp) = owner::confirmed(&belief.visitors);
        let arguments = [belief.id.as_bytes(), &share, flag(exact), number, &stamp, belief.epoch.as_bytes()];
        self.on(&self.sources.read, channel, &arguments).await
    }

    /// Takes back the 0 that `channel` was set up with, unless somebody is counted there.
    pub async fn unset(&self, channel: &str) -> Result<(), Error> {
        self.on(&self.sources.unset, channel, &[]).await.map(drop)
    }

    /// Sends a command, and converts its reply.
    pub(super) async fn ask_for<T: FromRedisValue>(&self, command: Cmd) -> Result<T, Error> {
        self.store.call(command).await.and_then(read)
    }

    /// The channels on which `id` may have a share. Entries that cannot be channel names are left out, and a damaged
    /// list counts as empty.
    pub async fn listed(&self, id: &NodeId) -> Result<Vec<String>, Error> {
        let key = self.keys.node(id.as_bytes());
        let names: Vec<Vec<u8>> = match self.ask_for(with(cmd("SMEMBERS"), &[&key])).await {
            // A node may be removed because of this reply, so the error alone is not trusted.
            Err(error) if error.is_of_one_key() => match self.kind_of(&key).await?.as_str() {
                "set" => return Err(error),
                _ => Vec::new(),
            },
            reply => reply?,
        };
        Ok(names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect())
    }

    /// As [`Self::listed`], for this node's own list. A list of another type was damaged and is removed; repairs of
    /// the channels that belong in it create it again.
    pub async fn audit(&self, id: &NodeId) -> Result<Vec<String>, Error> {
        let key = self.keys.node(id.as_bytes());
        match self.kind_of(&key).await?.as_str() {
            "set" | "none" => self.listed(id).await,
            _ => self.store.call(with(cmd("DEL"), &[&key])).await.map(|_| Vec::new()),
        }
    }

    async fn kind_of(&self, key: &[u8]) -> Result<String, Error> {
        self.ask_for(with(cmd("TYPE"), &[key])).await
    }

    /// Removes a node whose shares are withdrawn. Its entry among the nodes goes last, so that another reaper takes
    /// over if this one dies midway.
    pub async fn strike(&self, id: &NodeId) -> Result<(), Error> {
        self.store.call(with(cmd("DEL"), &[&self.keys.node(id.as_bytes())])).await?;
        match self.store.call(with(cmd("ZREM"), &[self.keys.nodes().as_bytes(), id.as_bytes()])).await {
            Err(error) if !error.is_of_one_key() => Err(error),
            _ => Ok(()),
        }
    }

    /// The members of one of our keys; none if it is damaged.
    pub(super) async fn members(&self, command: &str, key: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        match self.store.call(with(cmd(command), &[key])).await.and_then(read) {
            Err(error) if error.is_of_one_key() => Ok(Vec::new()),
            reply => reply,
        }
    }

    /// The fields and values of one of our hashes; none if it is damaged.
    pub(super) async fn pairs(&self, key: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        match self.store.call(with(cmd("HGETALL"), &[key])).await.and_then(read) {
            Err(error) if error.is_of_one_key() => Ok(Vec::new()),
            reply => reply,
        }
    }

    async fn on(&self, script: &Script, channel: &str, arguments: &[&[u8]]) -> Result<ScriptReply, Error> {
        self.ask(script, channel, arguments).await?.answer()
    }

    /// Runs a script on a channel's keys.
    pub(super) async fn ask(&self, script: &Script, channel: &str, arguments: &[&[u8]]) -> Result<RawReply, Error> {
        self.listing(script, channel, None, arguments).await
    }

    /// As [`Self::ask`]; with `node`, also on the keys of the nodes and of its channels. In a cluster, those are
    /// elsewhere.
    pub(super) async fn listing(
        &self,
        script: &Script,
        channel: &str,
        node: Option<&NodeId>,
        arguments: &[&[u8]],
    ) -> Result<RawReply, Error> {
        let keys_of = &self.keys;
        let all = [
            keys_of.total(channel),
            keys_of.tally(channel),
            keys_of.own(channel),
            keys_of.people(channel),
            keys_of.owner(channel),
            keys_of.members(channel),
            keys_of.dead(channel),
        ];
        // On one server, an ended lease serves as a tombstone.
        let mut keys: Vec<&[u8]> = Vec::with_capacity(8);
        keys.extend(all.iter().take(if self.sharded { 7 } else { 6 }).map(String::as_bytes));
        let (nodes, list) = (keys_of.nodes(), node.map(|id| keys_of.node(id.as_bytes())));
        keys.extend(list.iter().flat_map(|list| [nodes.as_bytes(), &list[..]]));
        let reply: Vec<String> = read(self.run(script, &keys, arguments).await?)?;
        let mut words = reply.into_iter();
        let mut next = || words.next().unwrap_or_default();
        let (word, total, changed, damage) = (next(), next(), next() == "1", next());
        Ok(RawReply { word, total, changed, damage, more: [next(), next(), next(), next()] })
    }

    /// Runs a script by its hash, and sends its source if the store does not know it yet.
    pub(super) async fn run(&self, script: &Script, keys: &[&[u8]], arguments: &[&[u8]]) -> Result<Value, Error> {
        let call = |name: &str, source: &str| {
            let bytes = keys.iter().chain(arguments).map(|part| part.len()).sum::<usize>();
            let mut command = Cmd::with_capacity(3 + keys.len() + arguments.len(), 64 + source.len() + bytes);
            command.arg(name);
            command.arg(source).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        match self.store.call(call("EVALSHA", &script.hash)).await {
            Err(Error::Refused(why)) if why.starts_with("NOSCRIPT") => {
                self.store.call(call("EVAL", script.source)).await
            }
            reply => reply,
        }
    }
}

/// The argument that tells a script whether to put a channel into the node's list.
pub(super) fn entered(channel: &str, list: bool) -> &[u8] {
    if list { channel.as_bytes() } else { b"" }
}

/// The arguments that tell a script how long a list may be to be published.
pub(super) fn bounds(members: Option<MembersRule>) -> (Digits, Digits) {
    members.map_or((Digits::of(0), Digits::of(0)), |rule| (Digits::of(rule.most), Digits::of(rule.bytes)))
}

impl Scripts<Client> {
    /// See [`Client::away`].
    pub fn away(&self) -> Option<watch::Receiver<Away>> {
        self.store.away()
    }

    /// Whether the part of the store that has a channel is out of reach.
    pub fn is_away(&self, channel: &str) -> bool {
        self.store.is_away(self.keys.total(channel).as_bytes())
    }

    /// The server that has the leases, and the connection to it.
    pub fn tenure(&self) -> Tenure {
        self.store.tenure(self.keys.nodes().as_bytes())
    }
}

pub(super) fn with(mut command: Cmd, arguments: &[&[u8]]) -> Cmd {
    command.arg(arguments);
    command
}

pub(super) fn flag(on: bool) -> &'static [u8] {
    if on { b"1" } else { b"0" }
}

pub(super) fn read<T: FromRedisValue>(reply: Value) -> Result<T, Error> {
    T::from_redis_value(reply).map_err(|error| Error::Reply(error.to_string()))
}
