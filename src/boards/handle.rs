//! The handle that other modules hold: it says which boards are wanted, and delivers their news.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::state::{BoardNews, BoardsState};
use crate::config::channels::BoardRule;

/// A handle to the boards of this node. Clones share it.
#[derive(Clone)]
pub struct Boards {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<BoardsState>,
    work: Notify,
    news: Mutex<HashMap<Arc<str>, BoardNews>>,
    fresh: Notify,
}

impl Boards {
    /// Creates a handle without boards; each board will be read at most once per `pace`.
    pub fn new(pace: Duration) -> Self {
        let shared = Shared {
            state: Mutex::new(BoardsState::new(pace)),
            work: Notify::new(),
            news: Mutex::default(),
            fresh: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Wants a board, or changes the rule of a wanted board.
    pub fn want(&self, name: Arc<str>, rule: BoardRule) {
        self.change(|state| state.want(name, rule, Instant::now()));
    }

    /// Stops wanting a board.
    pub fn release(&self, name: &str) {
        self.change(|state| state.release(name));
        lock(&self.shared.news).remove(name);
    }

    /// Adds a socket that follows a member. False if the board follows as many as it may, or is not wanted.
    pub fn follow(&self, name: &str, member: &str) -> bool {
        self.change(|state| state.follow(name, member.as_bytes(), Instant::now()))
    }

    /// Removes a socket that follows a member.
    pub fn unfollow(&self, name: &str, member: &str) {
        self.change(|state| state.unfollow(name, member.as_bytes()));
    }

    /// Sets the shortest time between two reads of one board.
    pub fn set_pace(&self, pace: Duration) {
        self.change(|state| state.set_pace(pace));
    }

    /// Waits for news and takes that of all boards. Cancel safe.
    pub async fn news(&self) -> HashMap<Arc<str>, BoardNews> {
        loop {
            let news = mem::take(&mut *lock(&self.shared.news));
            if !news.is_empty() {
                return news;
            }
            self.shared.fresh.notified().await;
        }
    }

    /// Waits until a board is wanted.
    pub(super) async fn wanted(&self) {
        while self.with(|state| state.is_empty()) {
            self.work().await;
        }
    }

    pub(super) async fn work(&self) {
        self.shared.work.notified().await;
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut BoardsState) -> T) -> T {
        look(&mut lock(&self.shared.state))
    }

    pub(super) fn hand_on(&self, name: Arc<str>, news: BoardNews) {
        let mut all = lock(&self.shared.news);
        let waiting = all.entry(name).or_default();
        waiting.board = news.board.or(waiting.board.take());
        waiting.places.extend(news.places);
        drop(all);
        self.shared.fresh.notify_one();
    }

    fn change<T>(&self, change: impl FnOnce(&mut BoardsState) -> T) -> T {
        let result = self.with(change);
        self.shared.work.notify_one();
        result
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
