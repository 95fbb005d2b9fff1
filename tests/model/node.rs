//! A node of the model: what it knows of its lease and of the channel, and what it sends next.

use crate::Bug;
use crate::store::{Answer, Call, Id, LIVES, Store};

/// What goes on side by side on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    Beat,
    Step,
    Reap,
}

impl Slot {
    pub const ALL: [Slot; 3] = [Slot::Beat, Slot::Step, Slot::Reap];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listed {
    No,
    Maybe,
    Yes,
}

/// A call under way, and its answer once it was carried out.
pub type UnderWay = Option<(Call, Option<Answer>)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    pub up: bool,
    pub life: u8,
    /// The end of the lease as last confirmed.
    end: Option<u8>,
    held: bool,
    pub here: u8,
    stated: Option<u8>,
    listed: Listed,
    /// An older id that may have a share.
    old: Option<Id>,
    slots: [UnderWay; 3],
    /// The id that is being reaped, and how far that is.
    reaping: Option<(Id, u8)>,
    /// A repair is due.
    pub repair: bool,
}

impl Node {
    pub fn start(life: u8) -> Self {
        Self {
            up: true,
            life,
            end: Some(0),
            held: true,
            here: 0,
            stated: Some(0),
            listed: Listed::No,
            old: None,
            slots: [None; 3],
            reaping: None,
            repair: false,
        }
    }

    pub fn id(&self, index: usize) -> Id {
        (index * LIVES) as Id + self.life
    }

    pub fn under_way(&self, slot: Slot) -> UnderWay {
        self.slots[slot as usize]
    }

    pub fn under_way_mut(&mut self, slot: Slot) -> &mut UnderWay {
        &mut self.slots[slot as usize]
    }

    pub fn is_busy(&self) -> bool {
        self.slots.iter().any(Option::is_some)
    }

    /// Whether the store may know it.
    pub fn is_known(&self) -> bool {
        self.end.is_some() || self.is_busy()
    }

    /// Whether its lease is as new as it can be.
    pub fn is_fresh(&self, store: &Store) -> bool {
        self.held && self.end.is_some_and(|end| end > store.clock)
    }

    /// What is due, if anything.
    pub fn next(&self, index: usize, slot: Slot, store: &Store, bug: Option<Bug>) -> Option<Call> {
        let id = self.id(index);
        match slot {
            // Once a tick; a node's own clock is not part of this.
            Slot::Beat => (!self.is_fresh(store)).then_some(Call::Heartbeat { id, take: self.end.is_none() }),
            Slot::Step => self.step(id, bug),
            Slot::Reap => self.reap(id, store),
        }
    }

    fn step(&self, id: Id, bug: Option<Bug>) -> Option<Call> {
        let end = self.end.filter(|_| self.held)?;
        if self.stated != Some(self.here) || self.old.is_some() {
            if self.here > 0 && self.listed != Listed::Yes {
                return Some(Call::List { id, end });
            }
            return Some(Call::State { id, number: self.here, end, old: self.old });
        }
        if self.here == 0 && self.listed != Listed::No && bug != Some(Bug::NeverUnlisted) {
            return Some(Call::Unlist { id });
        }
        self.repair.then_some(Call::Repair { id, share: self.stated, dead: None })
    }

    fn reap(&self, id: Id, store: &Store) -> Option<Call> {
        Some(match self.reaping.filter(|_| self.held) {
            Some((dead, 0)) => Call::Listed { id: dead },
            Some((dead, 1)) => Call::Repair { id: dead, share: None, dead: Some(dead) },
            Some((dead, 2)) => Call::StrikeList { id: dead },
            Some((dead, _)) => Call::StrikeNode { id: dead },
            // The heartbeat has named it; that is not part of this.
            None => Call::Listed { id: store.dead().find(|dead| *dead != id).filter(|_| self.held)? },
        })
    }

    pub fn send(&mut self, slot: Slot, call: Option<Call>) {
        match call {
            Some(Call::State { .. }) => {
                // Until it is confirmed, nobody knows what stands in the store.
                self.stated = None;
                if self.here > 0 && self.listed == Listed::No {
                    self.listed = Listed::Maybe;
                }
            }
            Some(Call::List { .. }) => self.listed = Listed::Maybe,
            Some(Call::Listed { id }) => self.reaping = Some((id, 0)),
            _ => {}
        }
        self.slots[slot as usize] = call.map(|call| (call, None));
    }

    pub fn answered(&mut self, index: usize, slot: Slot) {
        let Some((call, Some(answer))) = self.slots[slot as usize].take() else { return };
        let current = self.id(index);
        match (call, answer) {
            (Call::Heartbeat { id, .. }, Answer::Held(end)) if id == current => {
                (self.end, self.held) = (Some(end), true);
            }
            (Call::Heartbeat { id, .. }, Answer::Gone) if id == current => self.rotate(current),
            (Call::List { id, .. }, Answer::Ok) if id == current => self.listed = Listed::Yes,
            (Call::State { id, number, old, .. }, Answer::Ok) if id == current => {
                self.stated = Some(number);
                if old == self.old {
                    self.old = None;
                }
            }
            (Call::Unlist { id }, Answer::Ok) if id == current => self.listed = Listed::No,
            (Call::List { .. } | Call::State { .. }, Answer::Late) => self.held = false,
            (Call::Repair { id, share: Some(_), .. }, answer) => {
                self.repair = false;
                if answer == Answer::Lost && id == current {
                    self.stated = None;
                    if self.listed == Listed::Yes {
                        self.listed = Listed::Maybe;
                    }
                }
            }
            (Call::Listed { id }, Answer::Listed(listed)) => self.reaping = Some((id, if listed { 1 } else { 2 })),
            (Call::Repair { .. } | Call::StrikeList { .. } | Call::StrikeNode { .. }, _) if slot == Slot::Reap => {
                self.reaping = self.reaping.map(|(id, stage)| (id, stage + 1)).filter(|(_, stage)| *stage < 4);
            }
            _ => {}
        }
    }

    /// Gives up the id: everything is stated anew under another.
    fn rotate(&mut self, old: Id) {
        self.life += 1;
        (self.end, self.held) = (None, false);
        if self.listed != Listed::No {
            // The model has room for one; one that was there before is withdrawn as a dead node's.
            self.old = Some(old);
        }
        (self.stated, self.listed) = (Some(0), Listed::No);
    }

    /// The connection breaks. Returns what may still arrive.
    pub fn cut(&mut self) -> Vec<Call> {
        let mut late = Vec::new();
        for slot in Slot::ALL {
            let Some((call, answer)) = self.slots[slot as usize].take() else { continue };
            if answer.is_none() {
                late.push(call);
            }
            // An id is taken once only.
            if let Call::Heartbeat { take: true, .. } = call {
                self.life += 1;
            }
        }
        (self.held, self.reaping) = (false, None);
        late
    }
}
