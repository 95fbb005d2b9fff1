//! What all parts of a node share of tokens: the keys that count now, and what was revoked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::grant::Grant;
use super::keys::Keys;
use super::revoked::Revoked;
use super::verifier::{Denied, Verifier};

/// See the module.
#[derive(Debug, Default)]
pub struct Tokens {
    /// What was taken back.
    pub revoked: Revoked,
    /// Rung when a token names a key that is not known.
    pub unknown_key: Notify,
    on: AtomicBool,
    current: RwLock<Current>,
}

#[derive(Debug, Default)]
struct Current {
    /// From the configuration.
    configured: Verifier,
    /// From an address.
    fetched: Keys,
    /// Both.
    both: Arc<Verifier>,
}

impl Current {
    fn join(&mut self) {
        let all = self.configured.keys.0.iter().chain(&self.fetched.0).cloned().collect();
        self.both = Arc::new(Verifier { keys: Arc::new(Keys(all)), policy: self.configured.policy.clone() });
    }
}

/// The time since 1970.
pub fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// The time since 1970 in milliseconds.
pub fn now_ms() -> u64 {
    u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
}

impl Tokens {
    /// With what the configuration says; `on`: tokens are taken, even if no key is known yet.
    pub fn new(configured: Verifier, on: bool) -> Self {
        let tokens = Self::default();
        tokens.configure(configured, on);
        tokens
    }

    /// Whether tokens are taken.
    pub fn are_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Puts what the configuration says into effect.
    pub fn configure(&self, configured: Verifier, on: bool) {
        self.on.store(on, Ordering::Relaxed);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.configured = configured;
        current.join();
    }

    /// Puts keys into effect that were fetched from an address, in the place of those from before.
    pub fn fetched(&self, keys: Keys) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.fetched = keys;
        current.join();
    }

    /// Whether checking a token costs so little that it can be done anywhere.
    pub fn is_cheap(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).both.keys.are_secrets()
    }

    /// What a token grants, now.
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
