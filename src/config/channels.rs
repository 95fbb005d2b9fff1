//! Which channels exist: patterns, what is counted, how a channel delivers.
//!
//! Only channels that a pattern names are relayed, because a shared store carries channels that are no
//! browser's business. The first pattern that matches decides.

use std::fmt;
use std::time::Duration;

use crate::glob::matches_stars;

/// How a channel delivers to a client that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    /// Every message, in order; a client that falls too far behind is closed.
    Every,
    /// The newest value; older ones are left out, and pushes are paced.
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
    /// Whoever has a token that says so.
    Token,
}

/// Which end of a sorted set is the top of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The highest score is first.
    Descending,
    /// The lowest score is first.
    Ascending,
}

/// What a board shows of its sorted set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardRule {
    /// How many members it shows.
    pub top: u32,
    /// Which end comes first.
    pub order: Order,
}

/// A list of who is on a channel, as long as it is short enough to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembersRule {
    /// The most members that are listed.
    pub most: u32,
    /// The most bytes that the list takes as JSON, and that news of it take.
    pub bytes: u32,
}

/// One `[[channels]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A channel name in which `*` stands for any run of characters.
    pub pattern: String,
    /// What it counts.
    pub count: Count,
    /// How long somebody whose last socket went is still counted.
    pub linger: Duration,
    /// How it delivers.
    pub deliver: Deliver,
    /// Who may join or watch it.
    pub access: Access,
    /// Whether clients with a token that says so may publish on it.
    pub publish: bool,
    /// Set if it lists who is here.
    pub members: Option<MembersRule>,
    /// Set if what it shows is the sorted set of its name, and not what is published on it.
    pub board: Option<BoardRule>,
    /// Set if headcount keeps that set itself: a pattern of the counted channels on it.
    pub of: Option<String>,
}

impl Rule {
    /// Whether anything is counted.
    pub fn counted(&self) -> bool {
        self.count != Count::None
    }

    /// Whether this rule names one channel exactly: such a channel is set up as 0.
    pub fn exact(&self) -> bool {
        !self.pattern.contains('*')
    }
}

/// The rules in the order of the file; the first that matches decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(pub Vec<Rule>);

/// Longest channel name, in bytes.
pub const MAX_NAME: usize = 200;

/// Why a text is not a channel name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadName(&'static str);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Rules {
    /// The rule for a channel, if any pattern names it.
    pub fn find(&self, channel: &str) -> Option<&Rule> {
        self.0.iter().find(|rule| matches_stars(rule.pattern.as_bytes(), channel.as_bytes()))
    }

    /// Whether a channel is counted and named exactly, and so exists without anybody on it.
    pub fn stands(&self, channel: &str) -> bool {
        self.find(channel).is_some_and(|rule| rule.counted() && rule.pattern == channel && rule.exact())
    }

    /// How long a visitor of the channel is counted after its last socket went.
    pub fn linger(&self, channel: &str) -> Duration {
        self.find(channel).map_or(Duration::ZERO, |rule| rule.linger)
    }

    /// How a channel lists who is here, if it does.
    pub fn members(&self, channel: &str) -> Option<MembersRule> {
        self.find(channel).and_then(|rule| rule.members)
    }

    /// How long a visitor may be counted after its last socket went.
    pub fn longest_linger(&self) -> Duration {
        self.0.iter().map(|rule| rule.linger).max().unwrap_or_default()
    }

    /// The channel that a client joins who names none: the first that is named exactly, but for boards that
    /// headcount keeps.
    pub fn default_channel(&self) -> Option<&str> {
        self.0.iter().find(|rule| rule.exact() && rule.of.is_none()).map(|rule| rule.pattern.as_str())
    }

    /// The boards that headcount keeps itself, each with the pattern of the channels on it.
    pub fn kept(&self) -> impl Iterator<Item = (&Rule, &str)> {
        let is_first = |rule: &&Rule| self.find(&rule.pattern).is_some_and(|found| std::ptr::eq(found, *rule));
        self.0.iter().filter(is_first).filter_map(|rule| Some((rule, rule.of.as_deref()?)))
    }

    /// The counted channels that are named exactly, which exist from the start.
    pub fn standing(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.pattern.as_str()).filter(|name| self.stands(name))
    }
}

/// Checks a channel name or pattern: what the key layout and the wire can carry.
pub fn check_name(name: &str) -> Result<(), BadName> {
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
