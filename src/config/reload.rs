//! The part of a reloaded configuration that a running node adopts, and the part that waits for a restart.
//!
//! The rule: [`keys`] says which keys are live. For the others, a node keeps the values that it was started
//! with, and says so at each reload until it is restarted.

use super::keys::{self, TakesEffect};
use super::model::Loaded;

/// The keys whose values differ from those in effect, in the order of the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ChangedKeys {
    /// The keys whose new values are in effect now.
    pub live: Vec<&'static str>,
    /// The keys whose new values need a restart.
    pub restart: Vec<&'static str>,
}

impl Loaded {
    /// Adopts the values that may change while the node runs.
    pub fn adopt(&mut self, new: Loaded) -> ChangedKeys {
        let mut changes = ChangedKeys::default();
        let differ: Vec<_> = keys::all().filter(|key| self.differs(&new, key.path)).collect();
        for key in differ {
            let TakesEffect::Live(adopt) = key.reload else {
                changes.restart.push(key.path);
                continue;
            };
            adopt(&mut self.config, &new.config);
            changes.live.push(key.path);
            let shown = new.shown(key.path).to_owned();
            if let Some(row) = self.effective.iter_mut().find(|(path, _)| *path == key.path) {
                row.1 = shown;
            }
            match new.hidden.get(key.path) {
                Some(fingerprint) => self.hidden.insert(key.path, *fingerprint),
                None => self.hidden.remove(key.path),
            };
        }
        changes
    }

    fn differs(&self, new: &Loaded, path: &str) -> bool {
        // Contents of files, and what has a secret in it, are compared directly.
        self.shown(path) != new.shown(path)
            || self.hidden.get(path) != new.hidden.get(path)
            || match path {
                "redis.url" => self.config.redis.url != new.config.redis.url,
                // The same files may now contain other keys.
                "auth.secret_files" => self.config.auth.verifier.keys != new.config.auth.verifier.keys,
                "tls.certificate" => self.config.tls != new.config.tls,
                "store.password" => self.config.store.password != new.config.store.password,
                "store.users" => self.config.store.users != new.config.store.users,
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

    #[test]
    fn a_value_that_is_not_shown_takes_effect_too() {
        let with = |tenant: &str| {
            loaded(&[
                ("HEADCOUNT_AUTH__ISSUER", &format!("https://login.example.com/@{tenant}/")),
                ("HEADCOUNT_REDIS__KEY_PREFIX", &format!("x:/{tenant}@")),
            ])
        };
        let (mut running, new) = (with("a"), with("b"));
        let [before, after] = [&running, &new].map(|loaded| loaded.shown("auth.issuer").to_owned());
        assert_eq!(before, after, "neither is shown");
        let changes = running.adopt(new.clone());
        assert_eq!((changes.live, changes.restart), (vec!["auth.issuer"], vec!["redis.key_prefix"]));
        assert_eq!(running.config.auth.verifier.policy.issuer, new.config.auth.verifier.policy.issuer);
        assert_eq!(running.adopt(new).live, Vec::<&str>::new(), "it is told once");
    }

    #[test]
    fn live_keys_take_effect_and_another_one_does_not() {
        let variables = [
            ("HEADCOUNT_SERVER__NOTICE", "7s"),
            ("HEADCOUNT_SERVER__ORIGINS", "https://example.com"),
            ("HEADCOUNT_LIMITS__CLIENTS", "7"),
            ("HEADCOUNT_SESSION__PING", "7s"),
            ("HEADCOUNT_LOG__LEVEL", "debug"),
            ("HEADCOUNT_SERVER__BACKLOG", "77"),
        ];
        let (mut running, new) = (loaded(&[]), loaded(&variables));
        let changes = running.adopt(new.clone());
        assert_eq!(changes.restart, ["server.backlog"]);
        assert_ne!(running.config.server.backlog, 77);
        running.config.server.backlog = 77;
        assert_eq!(format!("{:?}", running.config), format!("{:?}", new.config));
    }
}
