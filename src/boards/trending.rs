//! Boards that headcount keeps itself: which of its channels have the most people.
//!
//! In: the totals of this node's channels. Out: restatements of them on the boards that the configuration
//! has kept. A script reads each total where it is written, so that no node can say an old one; everything
//! else on such a board is looked at in each repair. The rule: a board survives what the counts survive.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::Script;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use crate::backplane::{Client, Error, Keys, Link};
use crate::config::Rules;
use crate::log::Throttle;
use state::{LEAST, MOST, State, Step};

/// Before a step is tried again that the store has not carried out.
const AGAIN: Duration = Duration::from_secs(1);

/// A handle; clones share the boards.
#[derive(Clone)]
pub struct Trending {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Notify,
    client: Client,
    keys: Keys,
    script: Script,
}

impl Trending {
    /// The boards that the rules have kept, each looked at once in `repair`.
    pub fn new(rules: Arc<Rules>, repair: Duration, client: Client, keys: Keys) -> Self {
        let script = Script::new(include_str!("trending.lua"));
        let state = Mutex::new(State::new(rules, repair, Instant::now()));
        Self { shared: Arc::new(Shared { state, work: Notify::new(), client, keys, script }) }
    }

    /// Puts other rules into effect.
    pub fn configure(&self, rules: Arc<Rules>) {
        self.lock().configure(rules, Instant::now());
        self.shared.work.notify_one();
    }

    /// Notes a total that was heard of a channel on this node.
    pub fn note(&self, channel: &Arc<str>, total: i64) {
        let mut state = self.lock();
        if !state.is_idle() {
            state.note(channel, total, Instant::now());
            drop(state);
            self.shared.work.notify_one();
        }
    }

    /// Notes that nobody on this node has a channel any more.
    pub fn left(&self, channel: &Arc<str>) {
        let mut state = self.lock();
        if !state.is_idle() {
            state.left(channel, Instant::now());
            drop(state);
            self.shared.work.notify_one();
        }
    }

    /// Keeps the boards. Runs until it is dropped.
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

    /// Looks at all boards once more, within a time, after this node's own people are gone.
    pub async fn close(&self, within: Duration) {
        self.lock().look_at_all(Instant::now());
        // Who does not answer in time has another node look, or this one after its next start.
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

    async fn carry_out(&self, step: &Step) -> Result<(), Error> {
        let Shared { client, keys, script, .. } = &*self.shared;
        let mut call = script.key(keys.total(&step.board));
        call.arg(keys.total("")).arg(lua_pattern(&step.of)).arg(LEAST).arg(MOST);
        call.arg(if step.all { "all" } else { "" });
        step.channels.iter().for_each(|channel| {
            call.arg(&**channel);
        });
        // A key of another type is somebody else's; it is tried again when there is something to say.
        client.run::<String>(&call).await.map(|word| {
            if word != "ok" {
                tell(&Error::Refused(format!("WRONGTYPE {} is not a sorted set", step.board)));
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
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

/// A channel pattern as Lua has patterns.
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
