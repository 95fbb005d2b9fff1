//! Checks tokens without delaying the threads that carry sockets.
//!
//! Verifying a signature with a public key costs about 50 µs (Ed25519 45, P-256 52), as much as the rest of a
//! connect. A single low-priority thread does that work, so that no message waits for it. If all keys are
//! secrets, tokens are checked in place: at 0.4 µs that is cheaper than asking another thread. The rule: the
//! queue of that thread is bounded, and so is how long a client waits. After a restart, thousands of clients
//! come back at once, and a full queue must not turn any of them away.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::setpriority_process;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::grant::Grant;
use super::tokens::Tokens;
use super::verifier::Denied;

/// The tokens queued for the thread: about a twentieth of a second's work. Further tokens wait with their
/// clients.
const WAITING: usize = 1024;
/// How long a client waits at most for its token to be checked.
const PATIENCE: Duration = Duration::from_secs(5);
/// The thread's nice value, if the service manager permits it: the thread gives way when the processors are
/// busy.
const NICE: i32 = 5;

struct Job {
    token: String,
    reply: oneshot::Sender<Result<Grant, Denied>>,
}

/// The result of checking a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is accepted, and grants this.
    Granted(Grant),
    /// The token is rejected.
    Denied(Denied),
    /// The token was not checked in time, because too many others were waiting.
    Busy,
}

/// See the module.
pub struct Verification {
    /// The keys and revocations that tokens are checked against.
    pub tokens: Arc<Tokens>,
    jobs: Option<Sender<Job>>,
    patience: Duration,
}

impl Verification {
    /// Starts the thread, which ends when this is dropped.
    pub fn start(tokens: Arc<Tokens>) -> Self {
        let (jobs, work) = channel(WAITING);
        let for_thread = tokens.clone();
        let started = thread::Builder::new().name("tokens".to_owned()).spawn(move || check_all(&for_thread, work));
        if let Err(error) = &started {
            tracing::warn!(%error, "cannot start a thread that verifies tokens; they are verified in place");
        }
        Self { tokens, jobs: started.is_ok().then_some(jobs), patience: PATIENCE }
    }

    /// Checks a token at once if that is cheap enough to be done on any thread.
    pub fn verify_here(&self, token: &str) -> Option<Verdict> {
        self.elsewhere().is_none().then(|| verdict(self.tokens.verify(token)))
    }

    /// Returns the queue of the thread, if checking a token is expensive now.
    fn elsewhere(&self) -> Option<&Sender<Job>> {
        self.jobs.as_ref().filter(|_| !self.tokens.is_cheap())
    }

    /// Checks a token.
    pub async fn verify(&self, token: String) -> Verdict {
        let Some(jobs) = self.elsewhere() else { return verdict(self.tokens.verify(&token)) };
        let (reply, answer) = oneshot::channel();
        let checked = async {
            jobs.send(Job { token, reply }).await.ok()?;
            answer.await.ok()
        };
        timeout(self.patience, checked).await.ok().flatten().map_or(Verdict::Busy, verdict)
    }
}

fn verdict(verified: Result<Grant, Denied>) -> Verdict {
    verified.map_or_else(Verdict::Denied, Verdict::Granted)
}

fn check_all(tokens: &Tokens, mut work: Receiver<Job>) {
    // On Linux this sets the priority of the calling thread only, despite the function's name.
    let _ = setpriority_process(None, NICE);
    while let Some(Job { token, reply }) = work.blocking_recv() {
        if !reply.is_closed() {
            // The receiver may have gone meanwhile.
            let _ = reply.send(tokens.verify(&token));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::auth::{KeySet, Policy, TrustedKey, Verifier};

    /// Returns a token signed with an Ed25519 key, and the `Tokens` that accept it.
    fn signed() -> (String, Arc<Tokens>) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        // The fixed bytes in front of the 32 bytes of the key (RFC 8410).
        let head = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        let key = TrustedKey::public(&[&head, pair.public_key().as_ref()].concat()).unwrap();
        let verifier = Verifier { keys: Arc::new(KeySet(vec![key])), policy: Arc::new(Policy::default()) };
        let claims = format!(r#"{{"exp":{}}}"#, crate::auth::now().as_secs() + 600);
        let message = [r#"{"alg":"EdDSA"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())));
        (token, Arc::new(Tokens::new(verifier, true)))
    }

    #[tokio::test]
    async fn a_crowd_that_shows_tokens_at_once_waits_and_is_not_turned_away() {
        let (token, tokens) = signed();
        // The patience is long, so that the test also passes on a busy machine.
        let verification = Verification { patience: PATIENCE * 20, ..Verification::start(tokens) };
        let verdicts =
            futures_util::future::join_all((0..WAITING * 3).map(|_| verification.verify(token.clone()))).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Granted(_))));
    }

    #[tokio::test]
    async fn a_token_that_is_not_checked_in_time_is_told_so_and_no_sooner() {
        let (token, tokens) = signed();
        // Nothing receives from this channel.
        let (jobs, _work) = channel(1);
        let patience = Duration::from_millis(50);
        let verification = Verification { tokens, jobs: Some(jobs), patience };
        let start = Instant::now();
        let both = tokio::join!(verification.verify(token.clone()), verification.verify(token));
        assert_eq!(both, (Verdict::Busy, Verdict::Busy));
        assert!(start.elapsed() >= patience, "{:?}", start.elapsed());
    }
}
