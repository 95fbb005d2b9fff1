//! What a running node takes over of a configuration that was loaded again, and what waits.
//!
//! The rule: [`super::keys::KEYS`] says which keys are live. Of the others the node keeps what it
//! was started with, and says so at each reload until it is started again.

use super::keys::KEYS;
use super::{Config, Loaded};

/// The keys whose values differ from those in effect, in the list's order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In effect from now on.
    pub live: Vec<&'static str>,
    /// In effect from the next start on.
    pub restart: Vec<&'static str>,
}

impl Loaded {
    /// Takes over what may change while the node runs.
    pub fn adopt(&mut self, new: Loaded) -> Changes {
        let mut changes = Changes::default();
        let differ: Vec<_> = KEYS.iter().filter(|key| self.differs(&new, key.path)).collect();
        for key in differ {
            if !key.live {
                changes.restart.push(key.path);
                continue;
            }
            changes.live.push(key.path);
            let shown = new.shown(key.path).to_owned();
            if let Some(row) = self.effective.iter_mut().find(|(path, _)| *path == key.path) {
                row.1 = shown;
            }
        }
        let Config { server, tls, limits, session, log, channels, .. } = new.config;
        let config = &mut self.config;
        config.server.notice = server.notice;
        config.server.drain = server.drain;
        config.server.origins = server.origins;
        config.server.trusted_proxies = server.trusted_proxies;
        config.server.forwarded_header = server.forwarded_header;
        config.server.proxy_protocol = server.proxy_protocol;
        // Addresses that encrypt are still listened on when they are gone from the file.
        config.tls = tls.or(config.tls.take());
        (config.limits, config.session, config.channels) = (limits, session, channels);
        config.log.level = log.level;
        changes
    }

    fn differs(&self, new: &Loaded, path: &str) -> bool {
        // What is not shown is compared by its value.
        self.shown(path) != new.shown(path)
            || match path {
                "redis.url" => self.config.redis.url != new.config.redis.url,
                "tls.certificate" => self.config.tls != new.config.tls,
                "store.password" => self.config.store.options.password != new.config.store.options.password,
                _ => false,
            }
    }

    fn shown(&self, path: &str) -> &str {
        self.effective.iter().find(|(key, _)| *key == path).map_or("", |(_, text)| text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{Overrides, load_from};
    use super::*;

    fn loaded(variables: &[(&str, &str)]) -> Loaded {
        let env: HashMap<_, _> = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        load_from(&Overrides::default(), env).unwrap()
    }

    #[test]
    fn what_needs_a_restart_keeps_its_value_and_is_named_each_time() {
        let mut running = loaded(&[]);
        let new = loaded(&[
            ("HEADCOUNT_LOG__LEVEL", "debug"),
            ("HEADCOUNT_SERVER__WORKERS", "7"),
            ("REDIS_URL", "redis://:secret@127.0.0.1:6379"),
        ]);
        let changes = running.adopt(new.clone());
        assert_eq!(changes.live, ["log.level"]);
        assert_eq!(changes.restart, ["server.workers", "redis.url"]);
        assert_eq!(running.config.log.level, tracing::Level::DEBUG);
        assert_ne!(running.config.server.workers, 7);
        let again = running.adopt(new);
        assert_eq!((again.live, again.restart), (vec![], changes.restart));
    }
}
