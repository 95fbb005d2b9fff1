//! What the store's scripts answer.

use super::lease::NodeId;
use super::roster::Roll;
use super::roster_news::Head;
use crate::backplane::Error;

/// The answer of a script that works on a channel's count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptReply {
    /// Done; the total.
    Total {
        /// What the key holds now.
        total: i64,
        /// Whether the script had to change it.
        changed: bool,
        /// What of our own keys was damaged and is mended; empty if nothing was.
        damage: String,
        /// Whether numbers of dead nodes are to be swept out of the people.
        dying: bool,
        /// How the list of members stands, after a repair.
        list: Option<Head>,
    },
    /// The share was stated, but the key holds no count, and why.
    Unusable {
        /// What is wrong with it.
        why: String,
        /// As above.
        damage: String,
    },
    /// A batch of visitors was stated.
    Visited {
        /// What became of the total: one of the two above.
        reply: Box<ScriptReply>,
        /// How many visitors the node has under its number.
        count: usize,
        /// How many changes of the batch were made; the rest took too long.
        done: usize,
        /// The epoch of the list of members, and its secret; empty where there is none.
        epoch: String,
        /// See above.
        secret: String,
    },
    /// Who is on the list of members.
    Members(Roll),
    /// The number is another node's; nothing was stated.
    Taken,
    /// The lease had ended before the script ran.
    Late,
    /// In a cluster: what this id had here was withdrawn for good.
    Gone,
    /// The store has another share of this node than was confirmed.
    Lost,
    /// The key is not the count's.
    Foreign,
    /// Somebody with a share is no node; nothing was done.
    Strangers,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeartbeatReply {
    /// The lease's new end, the nodes whose lease ended long enough ago, and why nothing may be added, if that is so.
    Held(i64, Vec<NodeId>, Option<String>),
    /// The lease has ended; this id is spent.
    Gone,
}

/// The answer of a script as it came.
pub struct Reply {
    /// What became of it.
    pub word: String,
    /// What the key holds now, or why it cannot be used.
    pub total: String,
    /// Whether the script had to change it.
    pub changed: bool,
    /// What of our own keys was damaged and is mended.
    pub damage: String,
    /// What this script alone has to say.
    pub more: [String; 4],
}

impl Reply {
    /// As [`Reply::known`].
    ///
    /// # Errors
    /// The script answered something else.
    pub fn answer(&self) -> Result<ScriptReply, Error> {
        self.known().ok_or_else(|| Error::Reply(format!("{} {}", self.word, self.total)))
    }

    /// What all scripts may answer.
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
