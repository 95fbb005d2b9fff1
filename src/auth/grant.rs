//! What a verified token grants.

use crate::glob::matches_stars;

/// What somebody may do with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Be counted, and receive.
    Join,
    /// Receive.
    Watch,
    /// Publish.
    Publish,
}

/// Patterns of channel names, by what may be done with the channels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// To be counted, and to receive.
    pub join: Vec<Box<str>>,
    /// To receive.
    pub watch: Vec<Box<str>>,
    /// To publish.
    pub publish: Vec<Box<str>>,
}

impl Rights {
    fn allow(&self, right: Right, channel: &str) -> bool {
        let any = |patterns: &[Box<str>]| {
            patterns.iter().any(|pattern| matches_stars(pattern.as_bytes(), channel.as_bytes()))
        };
        match right {
            Right::Join => any(&self.join),
            // Whoever may be counted may as well look on.
            Right::Watch => any(&self.watch) || any(&self.join),
            Right::Publish => any(&self.publish),
        }
    }
}

/// What somebody with a token may do, and until when.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who it is.
    pub sub: Option<Box<str>>,
    /// The token's own name.
    pub jti: Option<Box<str>>,
    /// What others may know of somebody, as JSON.
    pub info: Option<Box<str>>,
    /// When the token was made, in seconds since 1970; 0 if it does not say.
    pub made: u64,
    /// When it ends, in milliseconds since 1970, with the leeway.
    pub ends: u64,
    /// What it allows.
    pub rights: Rights,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Grant {
    /// Whether something may be done with a channel at this time, in milliseconds since 1970.
    pub fn allows(&self, right: Right, channel: &str, now: u64) -> bool {
        now < self.ends && self.rights.allow(right, channel)
    }

    /// The names under which it can be revoked: `sub:ann` and `jti:…`.
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
