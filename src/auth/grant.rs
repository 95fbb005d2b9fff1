//! What a verified token grants.

use crate::glob::matches_stars;

/// An action on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To be counted, and to receive.
    Join,
    /// To receive.
    Watch,
    /// To publish.
    Publish,
}

/// Patterns of channel names, one list for each right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Channels on which the client may be counted, and receive.
    pub join: Vec<Box<str>>,
    /// Channels on which the client may receive.
    pub watch: Vec<Box<str>>,
    /// Channels on which the client may publish.
    pub publish: Vec<Box<str>>,
}

impl Rights {
    fn allow(&self, right: Right, channel: &str) -> bool {
        let any = |patterns: &[Box<str>]| {
            patterns.iter().any(|pattern| matches_stars(pattern.as_bytes(), channel.as_bytes()))
        };
        match right {
            Right::Join => any(&self.join),
            // A client that may be counted may also watch.
            Right::Watch => any(&self.watch) || any(&self.join),
            Right::Publish => any(&self.publish),
        }
    }
}

/// What the holder of a token may do, and until when.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The name of the person who holds the token.
    pub sub: Option<Box<str>>,
    /// The token's id.
    pub jti: Option<Box<str>>,
    /// What others may know about the person, as JSON.
    pub info: Option<Box<str>>,
    /// When the token was issued, in seconds since 1970; 0 if it does not say.
    pub made: u64,
    /// When the grant ends, in milliseconds since 1970, including the leeway.
    pub ends: u64,
    /// The rights.
    pub rights: Rights,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Grant {
    /// Returns whether the grant allows `right` on a channel at the time `now`, in milliseconds since 1970.
    pub fn allows(&self, right: Right, channel: &str, now: u64) -> bool {
        now < self.ends && self.rights.allow(right, channel)
    }

    /// Returns the names by which the token can be revoked: `sub:ann` and `jti:…`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let sub = self.sub.as_ref().map(|sub| format!("sub:{sub}"));
        sub.into_iter().chain(self.jti.as_ref().map(|jti| format!("jti:{jti}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_for_the_channels_of_its_patterns_and_ends_with_the_token() {
        let list = |pattern: &str| vec![pattern.into()];
        let rights = Rights { join: list("room:1"), watch: list("room:*"), publish: list("*:1") };
        let grant = Grant { sub: None, jti: None, info: None, made: 0, ends: 10, rights };
        for (right, channel, allowed) in [
            (Right::Join, "room:1", true),
            (Right::Join, "room:2", false),
            (Right::Watch, "room:2", true),
            (Right::Watch, "page:1", false),
            (Right::Publish, "page:1", true),
            (Right::Publish, "room:2", false),
        ] {
            assert_eq!(grant.allows(right, channel, 9), allowed, "{right:?} {channel}");
            assert!(!grant.allows(right, channel, 10), "it has ended");
        }
        let only = Grant { rights: Rights { join: list("room:1"), ..Rights::default() }, ..grant };
        assert!(only.allows(Right::Watch, "room:1", 0));
    }
}
