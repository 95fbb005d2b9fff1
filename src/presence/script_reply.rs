//! What the store's scripts reply.

use super::lease::NodeId;
use super::roster::Roll;
use super::roster_news::Head;
use crate::backplane::Error;

/// The reply of a script that works on a channel's count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptReply {
    /// Done, with the total.
    Total {
        /// What the key holds now.
        total: i64,
        /// Whether the script had to change it.
        changed: bool,
        /// Which of our own keys were damaged and have been repaired, in words; empty if none was.
        damage: String,
        /// Whether dead nodes' numbers must be swept out of the people.
        dying: bool,
        /// How the list of members stands, after a repair.
        list: Option<Head>,
    },
    /// The share was stated, but the key cannot hold a count.
    Unusable {
        /// What is wrong with it.
        why: String,
        /// As in [`ScriptReply::Total`].
        damage: String,
    },
    /// A batch of visitors was stated.
    Visited {
        /// The reply about the total: one of the two above.
        reply: Box<ScriptReply>,
        /// How many visitors the node has under its number.
        count: usize,
        /// How many changes of the batch were made before its time was up.
        done: usize,
        /// The epoch of the list of members; empty if there is none.
        epoch: String,
        /// The secret of that list; empty if there is none.
        secret: String,
    },
    /// Who is on the list of members.
    Members(Roll),
    /// The number belongs to another node; nothing was stated.
    Taken,
    /// The lease had ended before the script ran.
    Late,
    /// In a cluster: everything that this id had here was withdrawn for good.
    Gone,
    /// The store has a different share of this node than it confirmed.
    Lost,
    /// The key is not a count of ours.
    Foreign,
    /// An id with a share is not a node; nothing was done.
    Strangers,
}

/// The reply to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeartbeatReply {
    /// The lease's new end, the nodes whose leases ended long enough ago, and why nothing may be added, if so.
    Held(i64, Vec<NodeId>, Option<String>),
    /// The lease has ended; this id is spent.
    Gone,
}

/// A script's reply as it came.
pub(crate) struct RawReply {
    /// The outcome, in one word.
    pub word: String,
    /// What the key holds now, or why it cannot be used.
    pub total: String,
    /// Whether the script had to change it.
    pub changed: bool,
    /// Which of our own keys were damaged and have been repaired, in words.
    pub damage: String,
    /// What only this script returns.
    pub more: [String; 4],
}

impl RawReply {
    /// Interprets the reply like [`RawReply::known`].
    ///
    /// # Errors
    /// The script replied with something else.
    pub fn answer(&self) -> Result<ScriptReply, Error> {
        self.known().ok_or_else(|| Error::Reply(format!("{} {}", self.word, self.total)))
    }

    /// Interprets a reply that any script may give; None if it is another.
    pub fn known(&self) -> Option<ScriptReply> {
        Some(match (self.word.as_str(), self.total.parse()) {
            ("ok", Ok(total)) => {
                let (damage, dying) = (self.damage.clone(), self.more[0].parse().is_ok_and(|dying: u64| dying > 0));
                let mut words = self.more[1].split(' ');
                let mut word = || words.next().unwrap_or_default();
                let list = Head::of(word(), word(), word());
                ScriptReply::Total { total, changed: self.changed, damage, dying, list }
            }
            ("unusable", _) => ScriptReply::Unusable { why: self.total.clone(), damage: self.damage.clone() },
            ("late", _) => ScriptReply::Late,
            ("gone", _) => ScriptReply::Gone,
            ("lost", _) => ScriptReply::Lost,
            ("taken", _) => ScriptReply::Taken,
            ("foreign", _) => ScriptReply::Foreign,
            ("strangers", _) => ScriptReply::Strangers,
            _ => return None,
        })
    }
}
