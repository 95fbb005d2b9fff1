//! What is known about a client: who it is, and what its token allows.

use std::sync::Arc;

use super::identity::{Identity, Info, Who};
use crate::auth::{Grant, Right, now_ms};
use crate::presence::{self, VisitorId};

/// What is known about a client. Most clients need no such record.
#[derive(Debug, Default)]
pub struct Known {
    /// Who it is on channels that it joins from now on; None until needed, if the client did not say.
    identity: Option<Identity>,
    /// Who it is on channels that it joined before it showed a token.
    earlier: Option<Identity>,
    grant: Option<Grant>,
    /// Its token was revoked: it is being closed, and does not linger in the count.
    pub revoked: bool,
}

/// The error for a new token whose `sub` differs from the previous one's.
#[derive(Debug, PartialEq, Eq)]
pub struct SomebodyElse;

impl Known {
    /// Creates the record of a client that gave an id or showed a token; None if it did neither.
    pub fn new(client: Option<Identity>, grant: Option<Grant>) -> Option<Box<Self>> {
        if client.is_none() && grant.is_none() {
            return None;
        }
        let mut known = Self { identity: client, ..Self::default() };
        grant.into_iter().for_each(|grant| known.take(grant));
        Some(Box::new(known))
    }

    /// Returns what its token allows, if it has shown one.
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    /// Returns whether its token allows this now.
    pub fn may(&self, right: Right, channel: &str) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.allows(right, channel, now_ms()))
    }

    /// Replaces the token. Returns whether that gives the client another identity on channels that it joins
    /// from now on.
    ///
    /// # Errors
    /// [`SomebodyElse`]; nothing has changed then.
    pub fn renew(&mut self, grant: Grant) -> Result<bool, SomebodyElse> {
        if self.grant.as_ref().is_some_and(|before| before.sub != grant.sub) {
            return Err(SomebodyElse);
        }
        let named = self.grant.is_none() && grant.sub.is_some();
        if named {
            self.earlier = self.identity.take();
        }
        self.take(grant);
        Ok(named)
    }

    fn take(&mut self, grant: Grant) {
        let info = grant.info.clone().map(|json| Arc::new(Info { json, made: grant.made }));
        match (&grant.sub, &mut self.identity) {
            (Some(sub), _) => self.identity = Some(Identity { who: Who::Subject(sub.clone()), info }),
            (None, Some(identity)) => identity.info = info,
            (None, None) if info.is_some() => self.identity = Some(Identity { info, ..Identity::draw() }),
            (None, None) => {}
        }
        self.grant = Some(grant);
    }

    /// Returns who it is; with `earlier`, who it is on channels that it joined before it showed a token.
    pub fn identity(&mut self, earlier: bool) -> &Identity {
        let identity = if earlier { &mut self.earlier } else { &mut self.identity };
        identity.get_or_insert_with(Identity::draw)
    }

    /// Returns the visitor that it is on a channel.
    pub fn on(&mut self, channel: &str, earlier: bool) -> VisitorId {
        self.identity(earlier).on(channel)
    }

    /// Like [`Known::on`], with what others are told about it.
    pub fn who(&mut self, channel: &str, earlier: bool) -> presence::VisitorProfile {
        let identity = self.identity(earlier);
        (identity.on(channel), identity.profile())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Rights;

    fn grant(sub: Option<&str>, info: Option<&str>) -> Grant {
        let text = |text: Option<&str>| text.map(Into::into);
        Grant { sub: text(sub), jti: None, info: text(info), made: 7, ends: u64::MAX, rights: Rights::default() }
    }

    #[test]
    fn a_token_names_somebody_for_what_is_joined_after_it() {
        let client = Identity::client("0123456789abcdef");
        let mut known = Known::new(Some(client.clone()), None).unwrap();
        assert_eq!(known.on("a", false), client.on("a"));
        assert_eq!(known.renew(grant(Some("ann"), Some("{}"))), Ok(true));
        assert_eq!(known.on("a", true), client.on("a"));
        assert_eq!(known.on("a", false), Identity::from(Who::Subject("ann".into())).on("a"));
        assert_eq!(known.identity.as_ref().and_then(|all| all.info.clone()).map(|info| info.made), Some(7));
        assert_eq!(known.renew(grant(Some("ann"), None)), Ok(false));
        for other in [Some("bob"), None] {
            assert_eq!(known.renew(grant(other, None)), Err(SomebodyElse));
        }
        assert_eq!(known.grant().and_then(|grant| grant.sub.as_deref()), Some("ann"));
    }

    #[test]
    fn a_token_without_a_name_changes_nobody() {
        let client = Identity::client("0123456789abcdef");
        let mut known = Known::new(Some(client.clone()), Some(grant(None, None))).unwrap();
        assert_eq!(known.on("a", false), client.on("a"));
        assert_eq!(known.renew(grant(None, Some("{}"))), Ok(false));
        assert_eq!(known.on("a", false), client.on("a"));
        assert_eq!(known.renew(grant(Some("ann"), None)), Err(SomebodyElse), "another sub than before");
        assert!(Known::new(None, None).is_none());
    }
}
