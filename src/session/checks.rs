//! Tokens that clients of a worker have shown and that are being checked, and what these clients asked for since.
//!
//! The rule: whatever comes behind a token is done after it, and a client is not read meanwhile. So no more waits
//! here than one reading of each client brings.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::keepalive::Key;
use super::request::Request;
use crate::auth::{Verdict, Verification};

/// Verdicts that may wait for a worker; further ones wait where they come from.
const VERDICTS: usize = 64;

/// What became of a client's token.
pub struct Checked {
    pub key: Key,
    pub verdict: Verdict,
}

/// See the module.
pub struct Checks {
    pub verification: Arc<Verification>,
    held: HashMap<Key, Vec<Request>>,
    verdicts: Sender<Checked>,
    checked: Receiver<Checked>,
}

impl Checks {
    /// None under way.
    pub fn new(verification: Arc<Verification>) -> Self {
        let (verdicts, checked) = channel(VERDICTS);
        Self { verification, held: HashMap::new(), verdicts, checked }
    }

    /// Has a client's token checked; `request` is what it came with.
    pub fn begin(&mut self, key: Key, token: String, request: Request) {
        self.held.insert(key, vec![request]);
        let (verification, verdicts) = (self.verification.clone(), self.verdicts.clone());
        tokio::spawn(async move {
            let verdict = verification.verify(token).await;
            // A worker that has ended has no clients.
            let _ = verdicts.send(Checked { key, verdict }).await;
        });
    }

    /// Keeps a request of a client whose token is being checked.
    pub fn hold(&mut self, key: Key, request: Request) {
        self.held.entry(key).or_default().push(request);
    }

    /// What a client has asked for since it has shown its token, which is checked now.
    pub fn release(&mut self, key: Key) -> Vec<Request> {
        let held = self.held.remove(&key).unwrap_or_default();
        if self.held.is_empty() {
            self.held = HashMap::new();
        }
        held
    }

    /// The next token that is checked.
    pub async fn done(&mut self) -> Option<Checked> {
        self.checked.recv().await
    }

    /// As [`Checks::done`], if there is one.
    pub fn take(&mut self) -> Option<Checked> {
        self.checked.try_recv().ok()
    }
}
