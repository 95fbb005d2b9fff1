//! Everything that is done to the world. A fault ends before it is judged: who was stopped runs
//! again, what was set is set back; what was lost stays lost.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::damage::{self, Key};
use super::foreign;
use super::store::{Brand, ask};
use super::visitor::Exit;
use super::world::{NODES, World};
use crate::support::link::Mode;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    NodeKilled,
    NodeFrozen,
    NodeStopped,
    AllNodesFrozen,
    StoreKilledAndEmpty,
    StoreKilledAndFull,
    StoreStopped,
    StorePaused,
    Flushed,
    KeyLost,
    KeyDamaged,
    TotalSet,
    TotalAdded,
    ForeignKey,
    OutOfMemory,
    Replica,
    TooFewReplicas,
    NoPermission,
    NoPassword,
    Busy,
    ClientsKilled,
    LinkCut,
    LinkSilent,
    LinkDeaf,
    AllLinksCut,
    VisitorsReset,
    VisitorsVanish,
    Storm,
}

use Fault::*;

/// Each kind, and how often it is drawn among the others.
const KINDS: [(Fault, u32); 28] = [
    (NodeKilled, 3),
    (NodeFrozen, 3),
    (NodeStopped, 3),
    (AllNodesFrozen, 1),
    (StoreKilledAndEmpty, 2),
    (StoreKilledAndFull, 2),
    (StoreStopped, 2),
    (StorePaused, 2),
    (Flushed, 3),
    (KeyLost, 10),
    (KeyDamaged, 10),
    (TotalSet, 4),
    (TotalAdded, 4),
    (ForeignKey, 2),
    (OutOfMemory, 2),
    (Replica, 2),
    (TooFewReplicas, 1),
    (NoPermission, 1),
    (NoPassword, 1),
    (Busy, 1),
    (ClientsKilled, 2),
    (LinkCut, 3),
    (LinkSilent, 3),
    (LinkDeaf, 3),
    (AllLinksCut, 1),
    (VisitorsReset, 2),
    (VisitorsVanish, 1),
    (Storm, 2),
];

/// Those that the embedded store has no counterpart of.
const OF_REDIS: [Fault; 4] = [Replica, TooFewReplicas, NoPermission, Busy];

impl Fault {
    /// Draws one that this store can have.
    pub fn draw(world: &mut World) -> Fault {
        let sum: u32 = KINDS.iter().map(|(_, weight)| weight).sum();
        loop {
            let mut at = world.rng.u32(..sum);
            let (fault, _) = KINDS
                .iter()
                .find(|(_, weight)| {
                    let here = at < *weight;
                    at = at.saturating_sub(*weight);
                    here
                })
                .expect("one of them");
            if world.store.brand == Brand::Redis || !OF_REDIS.contains(fault) {
                return *fault;
            }
        }
    }

    pub fn named(name: &str) -> Option<Fault> {
        KINDS.iter().map(|(fault, _)| *fault).find(|fault| format!("{fault:?}").eq_ignore_ascii_case(name))
    }

    /// Carries it out, and ends it. An error is a disagreement that was found on the way.
    pub async fn inflict(self, world: &mut World) -> Result<(), String> {
        let before = world.whereabouts();
        world.watch();
        self.carry_out(world).await?;
        // What touches one key keeps nobody from being stated.
        if !matches!(self, KeyLost | KeyDamaged | TotalSet | TotalAdded | ForeignKey) {
            world.excuse_moved(&before);
        }
        Ok(())
    }

    async fn carry_out(self, world: &mut World) -> Result<(), String> {
        match self {
            NodeKilled | NodeFrozen | NodeStopped | AllNodesFrozen => self.on_nodes(world).await,
            StoreKilledAndEmpty | StoreKilledAndFull | StoreStopped | StorePaused | Flushed => {
                self.on_store(world).await;
                Ok(())
            }
            KeyLost | KeyDamaged | TotalSet | TotalAdded | ForeignKey => self.on_keys(world).await,
            OutOfMemory | Replica | TooFewReplicas | NoPermission | NoPassword | Busy | ClientsKilled => {
                self.refusal(world).await;
                Ok(())
            }
            LinkCut | LinkSilent | LinkDeaf | AllLinksCut => {
                self.on_links(world).await;
                Ok(())
            }
            VisitorsReset | VisitorsVanish | Storm => {
                self.on_visitors(world).await;
                Ok(())
            }
        }
    }

    async fn on_nodes(self, world: &mut World) -> Result<(), String> {
        let place = world.any_awake();
        match self {
            NodeKilled => {
                world.note(format!("node {place} is killed"));
                world.crash_node(place).await;
                if world.rng.bool() {
                    let since = Instant::now();
                    world.settle(since).await.map_err(|why| format!("while node {place} is gone: {why}"))?;
                } else {
                    churn(world, 2_000).await;
                }
            }
            NodeFrozen => {
                world.note(format!("node {place} is frozen"));
                // When it goes on, it first says whom it had, and only then hears who went meanwhile.
                world.set_apart(place);
                world.signal_node(place, Signal::STOP);
                churn(world, 6_000).await;
                world.excuse(world.been_at(place));
            }
            NodeStopped => {
                world.note(format!("node {place} is stopped"));
                world.stop_node(place).await;
                churn(world, 1_000).await;
            }
            _ => {
                world.note("all nodes are frozen");
                for place in 0..NODES {
                    world.signal_node(place, Signal::STOP);
                }
                pause(world, 5_000).await;
                if world.store.brand == Brand::Embedded {
                    // The node that serves the store goes on, and withdraws the others when their leases end.
                    world.excuse((0..NODES).flat_map(|place| world.been_at(place)).collect());
                }
            }
        }
        world.mend().await;
        Ok(())
    }

    async fn on_store(self, world: &mut World) {
        match self {
            StoreKilledAndEmpty => {
                world.note("the store is killed and comes back empty");
                world.store.kill().await;
                churn(world, 4_000).await;
                world.store.revive(false).await;
                world.foreign.clear();
            }
            StoreKilledAndFull => {
                world.note("the store is killed and comes back with its data");
                world.store.kill().await;
                churn(world, 4_000).await;
                world.store.revive(true).await;
            }
            StoreStopped => {
                world.note("the store is stopped and comes back with its data");
                world.store.stop().await;
                churn(world, 2_000).await;
                world.store.revive(true).await;
            }
            StorePaused => {
                world.note("the store is paused");
                world.store.signal(Signal::STOP);
                churn(world, 5_000).await;
                world.store.signal(Signal::CONT);
            }
            _ => {
                world.note("FLUSHALL");
                churn(world, 100).await;
                world.store.must::<(), _>(&["FLUSHALL"]).await;
                world.foreign.clear();
                churn(world, 1_000).await;
            }
        }
    }

    async fn on_keys(self, world: &mut World) -> Result<(), String> {
        let channel = world.any_channel();
        match self {
            KeyLost => {
                let key = Key::draw(world, channel).await;
                world.note(format!("DEL {key:?} of {channel}"));
                damage::lose(world, &key, channel).await;
                maybe_churn(world).await;
                Ok(())
            }
            KeyDamaged => {
                let key = Key::draw(world, channel).await;
                damage::damage(world, &key, channel).await
            }
            TotalSet => {
                let number = world.rng.i64(-5..40);
                world.note(format!("SET {channel} {number}"));
                foreign::set_total(world, channel, number).await
            }
            TotalAdded => {
                let number = world.rng.i64(-3..8);
                world.note(format!("INCRBY {channel} {number}"));
                foreign::add_to_total(world, channel, number).await
            }
            _ => foreign::foreign_key(world).await,
        }
    }

    /// The store answers, and what it answers is a refusal, for a while.
    async fn refusal(self, world: &mut World) {
        let mut operator = world.store.connect().await.unwrap();
        let (set, back): (&[&str], &[&str]) = match self {
            OutOfMemory => (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
            Replica => (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
            TooFewReplicas => {
                (&["CONFIG", "SET", "min-replicas-to-write", "1"], &["CONFIG", "SET", "min-replicas-to-write", "0"])
            }
            NoPermission => (&["ACL", "SETUSER", "default", "-@write"], &["ACL", "SETUSER", "default", "+@all"]),
            NoPassword => (&["CONFIG", "SET", "requirepass", "secret"], &["CONFIG", "SET", "requirepass", ""]),
            Busy => (&["EVAL", "while true do end", "0"], &["SCRIPT", "KILL"]),
            _ => (&["CLIENT", "KILL", "TYPE", "pubsub"], &["CLIENT", "KILL", "TYPE", "normal"]),
        };
        world.note(format!("{set:?}"));
        if self == Busy {
            let mut stuck = world.store.connect().await.unwrap();
            let set = ["EVAL", "while true do end", "0"];
            tokio::spawn(async move { ask::<(), _>(&mut stuck, &set).await });
        } else {
            ask::<redis::Value, _>(&mut operator, set).await.unwrap();
        }
        if self == NoPassword {
            for kind in ["pubsub", "normal"] {
                ask::<i64, _>(&mut operator, &["CLIENT", "KILL", "TYPE", kind]).await.unwrap();
            }
        }
        churn(world, 3_000).await;
        if let Err(why) = ask::<redis::Value, _>(&mut operator, back).await {
            world.note(format!("{back:?}: {why}"));
        }
        world.note(format!("{back:?}"));
    }

    async fn on_links(self, world: &mut World) {
        let place = world.any_awake();
        let mode = match self {
            LinkSilent => Mode::Silent,
            LinkDeaf => Mode::Deaf,
            _ => Mode::Cut,
        };
        let which: Vec<usize> = if self == AllLinksCut { (0..NODES).collect() } else { vec![place] };
        world.note(format!("the links of {which:?} are {mode:?}"));
        if which.len() < NODES {
            world.set_apart(place);
        }
        for place in &which {
            world.places[*place].link.set(mode);
        }
        churn(world, 6_000).await;
        if which.len() < NODES {
            // Who went meanwhile lingers, and may be said to be there once more when the node is back, as may who only
            // came for a moment: what a stalled connection held back arrives late.
            world.excuse(world.been_at(place));
        }
        // What a stalled connection held back arrives late, or is lost with it.
        if mode != Mode::Cut && world.rng.bool() {
            for place in &which {
                world.places[*place].link.set(Mode::Cut);
            }
            churn(world, 300).await;
        }
        world.mend().await;
    }

    async fn on_visitors(self, world: &mut World) {
        let place = world.any_awake();
        match self {
            VisitorsReset | VisitorsVanish => {
                let exit = if self == VisitorsReset { Exit::Reset } else { Exit::Vanish };
                let number = world.rng.usize(1..6);
                world.note(format!("{number} visitors of node {place} go: {exit:?}"));
                for _ in 0..number {
                    world.leave(place, exit).await;
                }
            }
            _ => {
                let number = world.rng.usize(50..200);
                world.note(format!("{number} visitors storm node {place}"));
                world.come(place, number).await;
                churn(world, 500).await;
                let exit = [Exit::Close, Exit::Hang, Exit::Reset][world.rng.usize(..3)];
                for _ in 0..number {
                    world.leave(place, exit).await;
                }
            }
        }
        world.mend().await;
    }
}

/// Visitors come and go for a time that is drawn up to this.
async fn churn(world: &mut World, most: u64) {
    let time = Duration::from_millis(world.rng.u64(0..most));
    world.churn(time).await;
}

async fn maybe_churn(world: &mut World) {
    if world.rng.bool() {
        churn(world, 1_500).await;
    }
}

/// For a time that is drawn up to this nothing happens: a fault's length.
async fn pause(world: &mut World, most: u64) {
    let time = Duration::from_millis(world.rng.u64(0..most));
    tokio::time::sleep(time).await;
}
