//! The store of the model: what the scripts do to the keys of one channel, and nothing else.

use crate::Bug;

/// Ids that one node may have, one after the other, and all of them.
pub const LIVES: usize = 4;
pub const IDS: usize = crate::NODES * LIVES;
/// How long a lease holds, in ticks of the store's clock.
const LEASE: u8 = 1;

/// The id of a node in one of its lives.
pub type Id = u8;

/// The keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Store {
    pub clock: u8,
    /// `nodes`: the end of each lease.
    pub nodes: [Option<u8>; IDS],
    /// `node:<id>`: whether the channel is in the list of each.
    pub lists: [bool; IDS],
    pub tally: [u8; IDS],
    pub own: Option<u8>,
    pub total: Option<i8>,
}

/// What a node sends. Named as the scripts and jobs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Heartbeat {
        id: Id,
        take: bool,
    },
    List {
        id: Id,
        end: u8,
    },
    State {
        id: Id,
        number: u8,
        end: u8,
        old: Option<Id>,
    },
    Unlist {
        id: Id,
    },
    Repair {
        id: Id,
        share: Option<u8>,
        dead: Option<Id>,
    },
    /// The first half of a reap: whether the id is listed on the channel.
    Listed {
        id: Id,
    },
    StrikeList {
        id: Id,
    },
    StrikeNode {
        id: Id,
    },
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    Ok,
    Held(u8),
    Gone,
    Late,
    Lost,
    Listed(bool),
}

/// A key that somebody deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    All,
    Total,
    Tally,
    Own,
    Nodes,
    List(Id),
}

impl Store {
    pub fn carry_out(&mut self, call: Call, bug: Option<Bug>) -> Answer {
        match call {
            Call::Heartbeat { id, take } => self.heartbeat(id, take),
            Call::List { id, end } => {
                if self.clock > end {
                    return Answer::Late;
                }
                self.lists[usize::from(id)] = true;
                Answer::Ok
            }
            Call::State { id, number, end, old } => {
                if self.clock > end {
                    return Answer::Late;
                }
                let before = self.sum();
                if let Some(old) = old {
                    self.tally[usize::from(old)] = 0;
                }
                if bug == Some(Bug::AddsEachTime) {
                    self.tally[usize::from(id)] += number;
                } else {
                    self.tally[usize::from(id)] = number;
                }
                self.finish(before, false);
                Answer::Ok
            }
            Call::Unlist { id } | Call::StrikeList { id } => {
                self.lists[usize::from(id)] = false;
                Answer::Ok
            }
            Call::Repair { id, share, dead } => {
                if share.is_some_and(|share| self.tally[usize::from(id)] != share) {
                    return Answer::Lost;
                }
                let before = self.sum();
                if let Some(dead) = dead {
                    self.tally[usize::from(dead)] = 0;
                }
                self.finish(before, true);
                Answer::Ok
            }
            Call::Listed { id } => Answer::Listed(self.lists[usize::from(id)]),
            Call::StrikeNode { id } => {
                self.nodes[usize::from(id)] = None;
                Answer::Ok
            }
        }
    }

    fn heartbeat(&mut self, id: Id, take: bool) -> Answer {
        let lease = &mut self.nodes[usize::from(id)];
        if !take && !lease.is_some_and(|end| end >= self.clock) {
            return Answer::Gone;
        }
        *lease = Some(self.clock + LEASE);
        Answer::Held(self.clock + LEASE)
    }

    pub fn sum(&self) -> u8 {
        self.tally.iter().sum()
    }

    /// The ending of every script that changes a share.
    fn finish(&mut self, before: u8, lift: bool) {
        let (ours, own) = (self.sum(), self.own.unwrap_or(before));
        let after = self.total.map_or(ours as i8, |total| total + ours as i8 - own as i8);
        let after = if lift { after.max(ours as i8) } else { after };
        self.own = (ours > 0).then_some(ours);
        self.total = (after != 0 || ours > 0).then_some(after);
    }

    /// The nodes whose lease has ended.
    pub fn dead(&self) -> impl Iterator<Item = Id> {
        let ended = |end: Option<u8>| end.is_some_and(|end| end < self.clock);
        (0..IDS).filter(move |id| ended(self.nodes[*id])).map(|id| id as Id)
    }

    /// The ids that have something here and are no nodes.
    pub fn strangers(&self) -> impl Iterator<Item = Id> {
        (0..IDS).filter(|id| self.nodes[*id].is_none() && (self.tally[*id] > 0 || self.lists[*id])).map(|id| id as Id)
    }

    pub fn lose(&mut self, key: Key) {
        match key {
            Key::All => *self = Self { clock: self.clock, ..Self::default() },
            Key::Total => self.total = None,
            Key::Tally => self.tally = [0; IDS],
            Key::Own => self.own = None,
            Key::Nodes => self.nodes = [None; IDS],
            Key::List(id) => self.lists[usize::from(id)] = false,
        }
    }
}
