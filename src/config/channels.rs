//! The channels that exist: their patterns, what they count and how they deliver.
//!
//! Only channels that match a pattern are relayed, because a shared store carries other channels that browsers
//! must not see. The first matching pattern decides.

use std::fmt;
use std::time::Duration;

use crate::glob::matches_stars;

/// How a channel delivers to a slow client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    /// Every message, in order; a client that falls too far behind is disconnected.
    Every,
    /// The newest value only; older ones are skipped, and pushes are paced.
    Latest,
}

/// What a channel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Nothing.
    None,
    /// The sockets that joined.
    Sockets,
    /// The people who joined, each once, however many sockets they have.
    Visitors,
}

/// Who may join or watch a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Anybody whose token allows it.
    Token,
}

/// The end of a sorted set that is the top of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortOrder {
    /// The highest score is first.
    Descending,
    /// The lowest score is first.
    Ascending,
}

/// The part of a sorted set that a board shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardRule {
    /// How many members it shows.
    pub top: u32,
    /// Which end comes first.
    pub order: SortOrder,
}

/// The limits of a channel's member list. A longer list is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembersRule {
    /// The maximum number of members that are listed.
    pub most: u32,
    /// The maximum number of bytes of JSON for the list, or for an update of it.
    pub bytes: u32,
}

/// One `[[channels]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A channel name in which `*` stands for any run of characters.
    pub pattern: String,
    /// What it counts.
    pub count: Count,
    /// How long a visitor is still counted after their last socket has closed.
    pub linger: Duration,
    /// How it delivers.
    pub deliver: Deliver,
    /// Who may join or watch it.
    pub access: Access,
    /// Whether clients may publish on it if their token allows that.
    pub publish: bool,
    /// Set if the channel lists its members.
    pub members: Option<MembersRule>,
    /// Set if the channel shows the sorted set of its name instead of published messages.
    pub board: Option<BoardRule>,
    /// Set if headcount maintains that set itself: the pattern of the counted channels that it ranks.
    pub of: Option<String>,
}

impl Rule {
    /// Returns whether the channel counts anything.
    pub fn counted(&self) -> bool {
        self.count != Count::None
    }

    /// Returns whether this rule names exactly one channel. Such a channel, if counted, exists from the start,
    /// at 0.
    pub fn exact(&self) -> bool {
        !self.pattern.contains('*')
    }
}

/// The rules in the order of the file; the first match decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(pub Vec<Rule>);

/// The longest channel name, in bytes.
pub const MAX_NAME: usize = 200;

/// Why a text is not a channel name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadName(&'static str);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Rules {
    /// Returns the rule for a channel, if a pattern matches it.
    pub fn find(&self, channel: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| matches_stars(rule.pattern.as_bytes(), channel.as_bytes()))
    }

    /// Returns whether a channel is counted and named exactly, and so exists even when nobody is on it.
    pub fn stands(&self, channel: &str) -> bool {
        self.find(channel).is_some_and(|rule| rule.counted() && rule.pattern == channel && rule.exact())
    }

    /// Returns how long a visitor of the channel is still counted after their last socket has closed.
    pub fn linger(&self, channel: &str) -> Duration {
        self.find(channel).map_or(Duration::ZERO, |rule| rule.linger)
    }

    /// Returns the limits of a channel's member list, if it has one.
    pub fn members(&self, channel: &str) -> Option<MembersRule> {
        self.find(channel).and_then(|rule| rule.members)
    }

    /// Returns the longest time that any channel counts a visitor after their last socket has closed.
    pub fn longest_linger(&self) -> Duration {
        self.0.iter().map(|rule| rule.linger).max().unwrap_or_default()
    }

    /// Returns the channel that a client joins if it names none: the first one that is named exactly and is not
    /// a board that headcount maintains.
    pub fn default_channel(&self) -> Option<&str> {
        self.0.iter().find(|rule| rule.exact() && rule.of.is_none()).map(|rule| rule.pattern.as_str())
    }

    /// Returns the boards that headcount maintains, each with the pattern of the channels that it ranks.
    pub fn kept(&self) -> impl Iterator<Item = (&Rule, &str)> {
        let is_first = |rule: &&Rule| self.find(&rule.pattern).is_some_and(|found| std::ptr::eq(found, *rule));
        self.0.iter().filter(is_first).filter_map(|rule| Some((rule, rule.of.as_deref()?)))
    }

    /// Returns the counted channels that are named exactly; they exist from the start.
    pub fn standing(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.pattern.as_str()).filter(|name| self.stands(name))
    }
}

/// Checks that the key layout and the protocol can carry a channel name or pattern.
pub(crate) fn check_name(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName("a channel name must not be empty"));
    }
    if name.len() > MAX_NAME {
        return Err(BadName("a channel name may have at most 200 bytes"));
    }
    if name.contains(['{', '}']) {
        return Err(BadName("a channel name must not contain braces"));
    }
    if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(BadName("a channel name must not contain spaces or control characters"));
    }
    if name.starts_with("headcount:") {
        return Err(BadName("names that start with headcount: are reserved for the count's own keys"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_key_layout_cannot_carry_is_refused() {
        for bad in ["", "a{b", "a}b", "a b", "a\nb", "headcount:v1:nodes", &"x".repeat(201)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name("page:/ä").is_ok());
    }
}
