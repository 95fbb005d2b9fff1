//! The task that reads boards as they change: one loop, and a bounded number of concurrent reads.

use std::mem;
use std::time::Instant;

use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::board::BoardReading;
use super::handle::Boards;
use super::state::{BoardQuery, ReadOutcome};
use crate::backplane::{Error, Keys, Trackers, Tracking};
use crate::config::channels::SortOrder;
use crate::metrics::Metrics;

/// How many reads may run at once.
const READS: usize = 64;

/// See the module.
pub struct BoardsTask {
    boards: Boards,
    tracker: Trackers,
    keys: Keys,
    metrics: Metrics,
    reads: JoinSet<(BoardQuery, ReadOutcome)>,
    connected: bool,
    /// What was last logged about how changes are noticed.
    told: Option<Tracking>,
    /// Whether the last report in the log is that the store refuses reads.
    refused: bool,
}

impl BoardsTask {
    pub fn new(boards: Boards, tracker: Trackers, keys: Keys, metrics: Metrics) -> Self {
        Self { boards, tracker, keys, metrics, reads: JoinSet::new(), connected: false, told: None, refused: false }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        // A node without boards needs no connection for them.
        self.boards.wanted().await;
        let mut connection = JoinSet::new();
        connection.spawn(self.tracker.clone().keep_up());
        let (boards, tracker) = (self.boards.clone(), self.tracker.clone());
        loop {
            self.start_due();
            let free = self.connected && self.reads.len() < READS;
            let due = boards.with(|state| state.next_due()).filter(|_| free);
            tokio::select! {
                () = boards.work() => {}
                news = tracker.news() => {
                    if let Some(tracking) = news.connected {
                        self.connected = true;
                        boards.with(|state| state.connected(tracking == Tracking::On));
                        self.say(tracking);
                    }
                    boards.with(|state| {
                        if news.all {
                            state.changed_all();
                        }
                        let names = news.keys.iter().filter_map(|key| std::str::from_utf8(key).ok());
                        names.filter_map(|key| self.keys.channel(key)).for_each(|name| state.changed(name));
                    });
                }
                Some(ended) = self.reads.join_next() => {
                    if let Ok((query, outcome)) = ended {
                        self.judge(&outcome);
                        if let Some(news) = boards.with(|state| state.end(&query, outcome, Instant::now())) {
                            boards.hand_on(query.name, news);
                        }
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            }
        }
    }

    fn start_due(&mut self) {
        while self.connected && self.reads.len() < READS {
            let Some(query) = self.boards.with(|state| state.begin(Instant::now())) else { return };
            let (tracker, key) = (self.tracker.clone(), self.keys.total(&query.name));
            self.metrics.board_reads.inc();
            self.reads.spawn(async move {
                let reply = tracker.read(&key, &arguments(&query)).await;
                let outcome = outcome(reply, tracker.is_sharded());
                (query, outcome)
            });
        }
    }

    /// Notes what an outcome says about the store, and logs when that changes.
    fn judge(&mut self, outcome: &ReadOutcome) {
        match outcome {
            ReadOutcome::Lost => self.connected = false,
            // These concern single channels, not the store as a whole.
            ReadOutcome::Away | ReadOutcome::Moving => {}
            ReadOutcome::Read(_) => {
                if mem::take(&mut self.refused) {
                    tracing::info!("boards can be read again");
                }
            }
            ReadOutcome::Refused(why) => {
                self.metrics.board_refused.inc();
                if !mem::replace(&mut self.refused, true) {
                    tracing::error!(why, "the store refuses to read boards; retrying every second");
                }
            }
        }
    }

    /// Logs how changes are noticed, if that is different from before.
    fn say(&mut self, tracking: Tracking) {
        if self.told.as_ref() == Some(&tracking) {
            return;
        }
        self.metrics.boards_tracked.set(i64::from(tracking == Tracking::On));
        match &tracking {
            Tracking::On => tracing::info!("boards are read when they change (client tracking is on)"),
            Tracking::Refused(why) => {
                tracing::warn!(why, "the store has no client tracking: every board is read at each pace tick")
            }
        }
        self.told = Some(tracking);
    }
}

fn arguments(query: &BoardQuery) -> Vec<Vec<u8>> {
    let order: &[u8] = if query.rule.order == SortOrder::Descending { b"desc" } else { b"asc" };
    let mut arguments = vec![query.rule.top.to_string().into_bytes(), order.to_vec()];
    arguments.extend(query.followed.iter().cloned());
    arguments
}

fn outcome(reply: Result<redis::Value, Error>, sharded: bool) -> ReadOutcome {
    match reply {
        Ok(reply) => BoardReading::parse(reply).map_or_else(
            || ReadOutcome::Refused("its reply is not what the script returns".to_owned()),
            ReadOutcome::Read,
        ),
        // The other shards go on.
        Err(Error::Down | Error::Lost(_)) if sharded => ReadOutcome::Away,
        Err(Error::Down | Error::Lost(_)) => ReadOutcome::Lost,
        Err(error) => match error.reason().split(' ').next().filter(|_| sharded) {
            Some("CLUSTERDOWN" | "LOADING" | "MASTERDOWN") => ReadOutcome::Away,
            Some("MOVED" | "ASK" | "TRYAGAIN") => ReadOutcome::Moving,
            _ => ReadOutcome::Refused(error.to_string()),
        },
    }
}
