//! Checks tokens beside the threads that carry sockets.
//!
//! A signature with a public key costs about 50 µs (Ed25519 45, P-256 52), as much as the rest of a connect.
//! One thread of low priority does that, so that no message waits for it. A secret is checked in place: at
//! 0.4 µs that costs less than to ask another thread. The rule: what waits for the thread is bounded, and so is
//! how long a client waits. After a restart thousands come back at once, and none of them is to be turned away for that.

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

/// Tokens that wait for the thread: about a twentieth of a second's work. Further ones wait with their clients.
const WAITING: usize = 1024;
/// The longest that a client waits for its token to be checked.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far the thread stands back where the processors are busy, if the service manager lets it.
const NICE: i32 = 5;

struct Job {
    token: String,
    reply: oneshot::Sender<Result<Grant, Denied>>,
}

/// What became of a token.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It grants this.
    Granted(Grant),
    /// It is not accepted.
    Denied(Denied),
    /// It was not checked in time, because too many others wait.
    Busy,
}

/// See the module.
pub struct Verification {
    /// Whose tokens are taken.
    pub tokens: Arc<Tokens>,
    jobs: Option<Sender<Job>>,
    patience: Duration,
}

impl Verification {
    /// Starts the thread. It ends with this.
    pub fn start(tokens: Arc<Tokens>) -> Self {
        let (jobs, work) = channel(WAITING);
        let for_thread = tokens.clone();
        let started = thread::Builder::new().name("tokens".to_owned()).spawn(move || check_all(&for_thread, work));
        if let Err(error) = &started {
            tracing::warn!(%error, "cannot start a thread that verifies tokens; they are verified in place");
        }
        Self { tokens, jobs: started.is_ok().then_some(jobs), patience: PATIENCE }
    }

    /// Checks a token, if that costs so little that it can be done anywhere.
    pub fn verify_here(&self, token: &str) -> Option<Verdict> {
        self.elsewhere().is_none().then(|| verdict(self.tokens.verify(token)))
    }

    /// Where tokens are checked that cost much, if they do now.
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
    // In Linux that is the priority of this thread, whatever the name says.
    let _ = setpriority_process(None, NICE);
    while let Some(Job { token, reply }) = work.blocking_recv() {
        if !reply.is_closed() {
            // Whoever asked may have gone.
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
    use crate::auth::{Key, Keys, Policy, Verifier};

    /// A token that a public key signs, and what takes it.
    fn signed() -> (String, Arc<Tokens>) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        // RFC 8410: what stands before the 32 bytes of the key.
        let head = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        let key = Key::public(&[&head, pair.public_key().as_ref()].concat()).unwrap();
        let verifier = Verifier { keys: Arc::new(Keys(vec![key])), policy: Arc::new(Policy::default()) };
        let claims = format!(r#"{{"exp":{}}}"#, crate::auth::now().as_secs() + 600);
        let message = [r#"{"alg":"EdDSA"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())));
        (token, Arc::new(Tokens::new(verifier, true)))
    }

    #[tokio::test]
    async fn a_crowd_that_shows_tokens_at_once_waits_and_is_not_turned_away() {
        let (token, tokens) = signed();
        // However busy this machine is.
        let verification = Verification { patience: PATIENCE * 20, ..Verification::start(tokens) };
        let verdicts =
            futures_util::future::join_all((0..WAITING * 3).map(|_| verification.verify(token.clone()))).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Granted(_))));
    }

    #[tokio::test]
    async fn a_token_that_is_not_checked_in_time_is_told_so_and_no_sooner() {
        let (token, tokens) = signed();
        // Nobody takes anything out of it.
        let (jobs, _work) = channel(1);
        let patience = Duration::from_millis(50);
        let verification = Verification { tokens, jobs: Some(jobs), patience };
        let start = Instant::now();
        let both = tokio::join!(verification.verify(token.clone()), verification.verify(token));
        assert_eq!(both, (Verdict::Busy, Verdict::Busy));
        assert!(start.elapsed() >= patience, "{:?}", start.elapsed());
    }
}
