//! Client tokens that are being checked, and what their clients have asked for since.
//!
//! The rule: whatever follows a token is done after the check, and the client is not read until then. So no
//! more waits here than what one read of each client brings.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::keepalive::SocketKey;
use super::request::Request;
use crate::auth::{Verdict, Verification};

/// How many verdicts may wait for a worker; further checks wait to hand over theirs.
const VERDICTS: usize = 64;

/// The verdict on a client's token.
pub struct Checked {
    pub key: SocketKey,
    pub verdict: Verdict,
}

/// The checks of one worker's clients.
pub struct Checks {
    pub verification: Arc<Verification>,
    held: HashMap<SocketKey, Vec<Request>>,
    verdicts: Sender<Checked>,
    checked: Receiver<Checked>,
}

impl Checks {
    /// Creates it with no check under way.
    pub fn new(verification: Arc<Verification>) -> Self {
        let (verdicts, checked) = channel(VERDICTS);
        Self { verification, held: HashMap::new(), verdicts, checked }
    }

    /// Starts to check a client's token; `request` is what came with it.
    pub fn begin(&mut self, key: SocketKey, token: String, request: Request) {
        self.held.insert(key, vec![request]);
        let (verification, verdicts) = (self.verification.clone(), self.verdicts.clone());
        tokio::spawn(async move {
            let verdict = verification.verify(token).await;
            // If the worker has ended, it has no clients left.
            let _ = verdicts.send(Checked { key, verdict }).await;
        });
    }

    /// Keeps a request of a client whose token is being checked.
    pub fn hold(&mut self, key: SocketKey, request: Request) {
        self.held.entry(key).or_default().push(request);
    }

    /// Returns what a client has asked for since it showed its token, which has been checked now.
    pub fn release(&mut self, key: SocketKey) -> Vec<Request> {
        let held = self.held.remove(&key).unwrap_or_default();
        if self.held.is_empty() {
            self.held = HashMap::new();
        }
        held
    }

    /// Waits for the next verdict.
    pub async fn done(&mut self) -> Option<Checked> {
        self.checked.recv().await
    }

    /// Like [`Checks::done`], without waiting.
    pub fn take(&mut self) -> Option<Checked> {
        self.checked.try_recv().ok()
    }
}
