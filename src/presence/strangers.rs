//! In a cluster: ids that have a share but are not among the nodes.
//!
//! The shard that has the nodes may have lost them or gone back to older data, and then every node is missing. So one
//! look proves nothing: an id is withdrawn only if it is missing in two looks, so far apart that a live node would
//! have been told in between that its lease is gone.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::lease::NodeId;

/// How many ids are remembered. Others wait until there is room.
const MOST: usize = 1_000;
/// How long an id is remembered after it was last seen.
const FORGET: Duration = Duration::from_secs(3_600);

/// What one look found out about the ids with a share on a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Ids that are nodes.
    pub present: Vec<NodeId>,
    /// Ids that are not.
    pub missing: Vec<NodeId>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Strangers {
    /// When each id was first and last found missing.
    seen: IndexMap<NodeId, (Instant, Instant)>,
}

impl Strangers {
    /// The ids that have been missing for at least `apart`: if they are missing once more, they are dead.
    pub fn ripe(&self, apart: Duration, now: Instant) -> Vec<NodeId> {
        let ripe = |(first, _): (Instant, Instant)| now.saturating_duration_since(first) >= apart;
        self.seen.iter().filter(|(_, seen)| ripe(**seen)).map(|(id, _)| id.clone()).collect()
    }

    /// Records the result of a look.
    pub fn saw(&mut self, look: &Sighting, now: Instant) {
        for id in &look.present {
            self.seen.swap_remove(id);
        }
        for id in &look.missing {
            if let Some((_, last)) = self.seen.get_mut(id) {
                *last = now;
            } else if self.seen.len() < MOST {
                self.seen.insert(id.clone(), (now, now));
            }
        }
        self.seen.retain(|_, (_, last)| now.saturating_duration_since(*last) < FORGET);
    }

    /// Forgets all ids, as the shard that has the nodes was lost or replaced: earlier looks no longer prove anything.
    pub fn begin_anew(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_withdrawn_only_after_two_looks_that_are_far_enough_apart() {
        let (start, apart) = (Instant::now(), Duration::from_secs(3));
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = NodeId::from_bits(1);
        let missing = Sighting { missing: vec![id.clone()], ..Sighting::default() };
        let mut strangers = Strangers::default();
        strangers.saw(&missing, at(0));
        strangers.saw(&missing, at(2));
        assert_eq!(strangers.ripe(apart, at(2)), []);
        assert_eq!(strangers.ripe(apart, at(3)), std::slice::from_ref(&id));
        strangers.saw(&Sighting { present: vec![id.clone()], ..Sighting::default() }, at(4));
        assert_eq!(strangers.ripe(apart, at(4)), [], "it is a node again");
        strangers.saw(&missing, at(5));
        strangers.begin_anew();
        strangers.saw(&missing, at(9));
        assert_eq!(strangers.ripe(apart, at(9)), [], "the nodes were lost in between");
    }

    #[test]
    fn no_more_strangers_are_remembered_than_there_is_room_for() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        let missing = (0..20_000).map(NodeId::from_bits).collect();
        strangers.saw(&Sighting { missing, ..Sighting::default() }, now);
        assert_eq!(strangers.ripe(Duration::ZERO, now).len(), MOST);
        strangers.saw(&Sighting::default(), now + FORGET);
        assert_eq!(strangers.ripe(Duration::ZERO, now + FORGET), []);
    }
}
