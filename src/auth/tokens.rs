//! The token state that all parts of a node share: the keys in effect, and the revoked tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::grant::Grant;
use super::keys::KeySet;
use super::revoked::Revoked;
use super::verifier::{Denied, Verifier};

/// See the module.
#[derive(Debug, Default)]
pub struct Tokens {
    /// The revoked tokens.
    pub revoked: Revoked,
    /// Notified when a token names an unknown key.
    pub unknown_key: Notify,
    on: AtomicBool,
    current: RwLock<Current>,
}

#[derive(Debug, Default)]
struct Current {
    /// The policy and keys from the configuration.
    configured: Verifier,
    /// The keys fetched from `auth.jwks`.
    fetched: KeySet,
    /// The same policy with the keys of both.
    both: Arc<Verifier>,
}

impl Current {
    fn join(&mut self) {
        let all = self.configured.keys.0.iter().chain(&self.fetched.0).cloned().collect();
        self.both = Arc::new(Verifier { keys: Arc::new(KeySet(all)), policy: self.configured.policy.clone() });
    }
}

/// Returns the time since 1970.
pub fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// Returns the time since 1970 in milliseconds.
pub fn now_ms() -> u64 {
    u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
}

impl Tokens {
    /// Starts with the configuration's keys and policy. `on`: tokens are accepted, even if no key is known yet.
    pub fn new(configured: Verifier, on: bool) -> Self {
        let tokens = Self::default();
        tokens.configure(configured, on);
        tokens
    }

    /// Returns whether tokens are accepted.
    pub fn are_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Puts the configuration's keys and policy into effect.
    pub fn configure(&self, configured: Verifier, on: bool) {
        self.on.store(on, Ordering::Relaxed);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.configured = configured;
        current.join();
    }

    /// Puts fetched keys into effect, replacing those of earlier fetches.
    pub fn fetched(&self, keys: KeySet) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.fetched = keys;
        current.join();
    }

    /// Returns whether checking a token is cheap enough to be done on any thread.
    pub fn is_cheap(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).both.keys.are_secrets()
    }

    /// Returns what a token grants now.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn verify(&self, token: &str) -> Result<Grant, Denied> {
        let verifier = self.current.read().unwrap_or_else(PoisonError::into_inner).both.clone();
        match verifier.verify(token, now()) {
            Ok(grant) if self.revoked.holds(&grant, now_ms()) => Err(Denied::Revoked),
            Err(Denied::UnknownKey) => {
                self.unknown_key.notify_one();
                Err(Denied::UnknownKey)
            }
            other => other,
        }
    }
}
