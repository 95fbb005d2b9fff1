//! Tells from outside whether a loop is still running.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The pulse of one loop. Clones share its state.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<State>);

#[derive(Debug, Default)]
struct State {
    beats: AtomicU64,
    running: AtomicBool,
}

impl Pulse {
    /// Marks the loop as started: from now on it must beat.
    pub fn begin(&self) {
        self.0.running.store(true, Ordering::Relaxed);
    }

    /// Counts one iteration.
    pub fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks the loop as ended normally.
    pub fn end(&self) {
        self.0.running.store(false, Ordering::Relaxed);
    }

    /// Returns how many iterations the loop has made.
    pub fn beats(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }

    /// Returns whether the loop is not running, or has beaten since `beats` was read.
    pub fn is_alive_since(&self, beats: u64) -> bool {
        !self.0.running.load(Ordering::Relaxed) || self.beats() != beats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_alive_while_it_goes_round_and_once_it_has_ended() {
        let pulse = Pulse::default();
        assert!(pulse.is_alive_since(0), "it has not begun");
        pulse.begin();
        assert!(!pulse.is_alive_since(0));
        pulse.beat();
        assert!(pulse.is_alive_since(0));
        assert!(!pulse.is_alive_since(pulse.beats()));
        pulse.end();
        assert!(pulse.is_alive_since(pulse.beats()));
    }
}
