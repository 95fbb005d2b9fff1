//! Tells from outside whether a loop still goes round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The pulse of one loop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<State>);

#[derive(Debug, Default)]
struct State {
    beats: AtomicU64,
    running: AtomicBool,
}

impl Pulse {
    /// The loop begins: from now on it is expected to go round.
    pub fn begin(&self) {
        self.0.running.store(true, Ordering::Relaxed);
    }

    /// One more turn.
    pub fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// The loop has ended, as it should.
    pub fn end(&self) {
        self.0.running.store(false, Ordering::Relaxed);
    }

    /// How often it went round.
    pub fn beats(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }

    /// Whether it went round since it had this many beats, or need not.
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
