//! Checks tokens beside the threads that carry sockets.
//!
//! A signature with a public key costs about 50 µs (Ed25519 45, P-256 52), as much as the rest of a connect.
//! One thread of low priority does that, so that no message waits for it. A secret is checked in place: at
//! 0.4 µs that costs less than to ask another thread. The rule: what waits for the thread is bounded.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

use crate::auth::{Denied, Grant, Tokens};

/// Tokens that may wait for the thread: about a twentieth of a second's work.
const WAITING: usize = 1024;
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
    /// Too many wait to be checked.
    Busy,
}

/// See the module.
pub struct Verification {
    tokens: Arc<Tokens>,
    jobs: Option<SyncSender<Job>>,
}

impl Verification {
    /// Starts the thread. It ends with this.
    pub fn start(tokens: Arc<Tokens>) -> Self {
        let (jobs, work) = sync_channel(WAITING);
        let for_thread = tokens.clone();
        let started = thread::Builder::new().name("tokens".to_owned()).spawn(move || check_all(&for_thread, &work));
        if let Err(error) = &started {
            tracing::warn!(%error, "cannot start a thread that verifies tokens; they are verified in place");
        }
        Self { tokens, jobs: started.is_ok().then_some(jobs) }
    }

    /// Checks a token.
    pub async fn verify(&self, token: String) -> Verdict {
        let Some(jobs) = self.jobs.as_ref().filter(|_| !self.tokens.is_cheap()) else {
            return verdict(self.tokens.verify(&token));
        };
        let (reply, answer) = oneshot::channel();
        if jobs.try_send(Job { token, reply }).is_err() {
            return Verdict::Busy;
        }
        answer.await.map_or(Verdict::Busy, verdict)
    }
}

fn verdict(verified: Result<Grant, Denied>) -> Verdict {
    verified.map_or_else(Verdict::Denied, Verdict::Granted)
}

fn check_all(tokens: &Tokens, work: &Receiver<Job>) {
    // In Linux that is the priority of this thread, whatever the name says.
    let _ = setpriority_process(None, NICE);
    for Job { token, reply } in work {
        if !reply.is_closed() {
            // Whoever asked may have gone.
            let _ = reply.send(tokens.verify(&token));
        }
    }
}
