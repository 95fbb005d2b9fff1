//! Boards that headcount keeps itself: which of its channels have the most people.
//!
//! In: the totals of this node's channels. Out: these totals, restated on the boards that the configuration tells
//! headcount to keep. A script reads each total where it is written, so no node can report a stale one. Everything
//! else on such a board is checked once per repair interval. The rule: a board survives whatever the counts survive.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::Script;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use crate::backplane::{Client, Error, Keys, Link};
use crate::config::Rules;
use crate::log::Throttle;
use state::{LEAST, MOST, TrendingState, TrendingStep};

/// The pause before a failed step is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A handle; clones share the boards.
#[derive(Clone)]
pub struct Trending {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<TrendingState>,
    work: Notify,
    client: Client,
    keys: Keys,
    script: Script,
}

impl Trending {
    /// Creates the boards that the rules tell headcount to keep, each checked once per `repair`.
    pub fn new(rules: Arc<Rules>, repair: Duration, client: Client, keys: Keys) -> Self {
        let script = Script::new(include_str!("trending.lua"));
        let state = Mutex::new(TrendingState::new(rules, repair, Instant::now()));
        Self { shared: Arc::new(Shared { state, work: Notify::new(), client, keys, script }) }
    }

    /// Puts new rules into effect.
    pub fn configure(&self, rules: Arc<Rules>) {
        self.lock().configure(rules, Instant::now());
        self.shared.work.notify_one();
    }

    /// Notes the current total of a channel on this node.
    pub fn note(&self, channel: &Arc<str>, total: i64) {
        let mut state = self.lock();
        if !state.is_idle() {
            state.note(channel, total, Instant::now());
            drop(state);
            self.shared.work.notify_one();
        }
    }

    /// Notes that nobody on this node is on a channel any more.
    pub fn left(&self, channel: &Arc<str>) {
        let mut state = self.lock();
        if !state.is_idle() {
            state.left(channel, Instant::now());
            drop(state);
            self.shared.work.notify_one();
        }
    }

    /// Keeps the boards up to date. Runs until it is dropped.
    pub async fn run(self) {
        let mut link = self.shared.client.link();
        loop {
            let due = self.lock().next_due();
            tokio::select! {
                () = self.shared.work.notified() => {}
                changed = link.changed() => match changed {
                    Ok(()) if matches!(*link.borrow_and_update(), Link::Up(_)) => {
                        self.lock().look_at_all(Instant::now());
                    }
                    Ok(()) => {}
                    Err(_) => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            }
            self.catch_up().await;
        }
    }

    /// Checks all boards once more after this node's own people are gone, for `within` at most.
    pub async fn close(&self, within: Duration) {
        self.lock().look_at_all(Instant::now());
        // If the store does not answer in time, another node checks them, or this one after its next start.
        let _ = timeout(within, self.catch_up()).await;
    }

    async fn catch_up(&self) {
        loop {
            let Some(step) = self.lock().next(Instant::now()) else { return };
            if let Err(error) = self.carry_out(&step).await {
                self.lock().failed(step, Instant::now() + AGAIN);
                tell(&error);
                return;
            }
        }
    }

    async fn carry_out(&self, step: &TrendingStep) -> Result<(), Error> {
        let Shared { client, keys, script, .. } = &*self.shared;
        let mut call = script.key(keys.total(&step.board));
        call.arg(keys.total("")).arg(lua_pattern(&step.of)).arg(LEAST).arg(MOST);
        call.arg(if step.all { "all" } else { "" });
        step.channels.iter().for_each(|channel| {
            call.arg(&**channel);
        });
        // A key of another type belongs to some other program; it is tried again with the next change.
        client.run::<String>(&call).await.map(|word| {
            if word != "ok" {
                tell(&Error::Refused(format!("WRONGTYPE {} is not a sorted set", step.board)));
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, TrendingState> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(error: &Error) {
    static SAID: Throttle = Throttle::new();
    match error {
        Error::Down | Error::Lost(_) => {}
        _ => {
            if let Some(left_out) = SAID.pass() {
                tracing::error!(%error, left_out, "a board that headcount keeps cannot be written; trying again");
            }
        }
    }
}

/// Translates a channel pattern into a Lua pattern.
fn lua_pattern(pattern: &str) -> String {
    let mut lua = String::from("^");
    for letter in pattern.chars() {
        match letter {
            '*' => lua.push_str(".*"),
            _ if letter.is_ascii_punctuation() => lua.extend(['%', letter]),
            _ => lua.push(letter),
        }
    }
    lua.push('$');
    lua
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_star_means_something_in_a_pattern() {
        assert_eq!(lua_pattern("page:/*"), "^page%:%/.*$");
        assert_eq!(lua_pattern("a.b%-é"), "^a%.b%%%-é$");
    }
}
