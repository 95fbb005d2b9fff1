//! Who is in the room, as its clients have been told.

use std::collections::BTreeSet;

use headcount::presence::VisitorId;
use redis::Value;
use sha2::{Digest, Sha256};

use crate::hub::{is_named, name, visitor};
use crate::node::Node;
use crate::plan::{PEOPLE, ROOM, TOPICS};
use crate::world::World;

/// How many are shown again, once there were more than three.
const SHORT: usize = 2;

/// The handle of somebody without a token.
fn drawn(visitor: VisitorId, secret: &str) -> String {
    let hash = Sha256::new().chain_update(secret).chain_update([0]).chain_update(visitor.0).finalize();
    format!("~{}", hash[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

impl World {
    /// What of the list is not as the nodes' own memories say, in the store or with clients.
    pub fn list_disagrees(&mut self, keys: &mut BTreeSet<String>) -> Option<String> {
        let most = self.members? as usize;
        let key = TOPICS[crate::plan::LIST];
        let here = |world: &Self, who: &usize| {
            world.nodes.iter().flatten().any(|node| node.counted_since(visitor(*who)).is_some())
        };
        let here: Vec<usize> = (0..PEOPLE).filter(|who| here(self, who)).collect();
        let head = match self.store.ask(self.now, &["HGET", key, ""]) {
            Some(Value::BulkString(head)) => String::from_utf8_lossy(&head).into_owned(),
            _ => String::new(),
        };
        let fields = self.store.text(self.now, &["HLEN", key]);
        let expected = if here.is_empty() { 0 } else { here.len() + 1 };
        if fields != Some(expected.to_string()) {
            return Some(format!("the list has {fields:?} fields, but {here:?} are here"));
        }
        if !here.is_empty() {
            keys.insert(key.to_owned());
        }
        let secret = head.split(' ').nth(3).unwrap_or_default();
        let handle = |who: &usize| if is_named(*who) { name(*who) } else { drawn(visitor(*who), secret) };
        let handles: BTreeSet<String> = here.iter().map(handle).collect();
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(hub) = node.as_ref().and_then(|node| node.hubs.get(&ROOM)) else { continue };
            let Some(members) = &hub.client.members else {
                if most < 10 && here.len() > SHORT {
                    continue;
                }
                return Some(format!("clients of node {index} see no list, but {here:?} are here"));
            };
            let seen: BTreeSet<String> = members.keys().cloned().collect();
            if seen != handles || seen.len() > most {
                return Some(format!("clients of node {index} see {seen:?}, but {handles:?} are here"));
            }
            for who in here.iter().filter(|who| is_named(**who)) {
                let made = members[&name(*who)].as_u64().unwrap_or(0);
                if !self.may_have_made(*who, made) {
                    return Some(format!("clients of node {index} are told {made} of v{who}, whose token is newer"));
                }
            }
        }
        None
    }

    /// Whether what is told of somebody may be of this token: not of one that is older than those that count
    /// now, nor of one that there never was.
    fn may_have_made(&self, who: usize, made: u64) -> bool {
        let newest = |node: &Node| {
            // Whoever waits for a place in the household is not here yet.
            node.counted_since(visitor(who))?;
            node.hubs.get(&ROOM)?.made.get(&who).copied()
        };
        let least = self.nodes.iter().flatten().filter_map(newest).max().unwrap_or(0);
        (least..=self.made.get(&who).copied().unwrap_or(1).max(1)).contains(&made)
    }
}
