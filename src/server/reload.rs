//! SIGHUP: reloads the configuration as at startup, and applies what may change.
//!
//! The rule: a configuration with any mistake changes nothing, and every mistake is logged.

use crate::config::{self, ChangedKeys, Loaded, Overrides};
use crate::log::Threshold;

/// The configuration in effect, and where it came from.
pub struct Reload {
    pub loaded: Loaded,
    pub overrides: Overrides,
    pub threshold: Threshold,
}

impl Reload {
    /// Reloads the configuration. Returns whether there is something to put into effect.
    pub fn again(&mut self) -> bool {
        let new = match config::load(&self.overrides) {
            Ok(new) => new,
            Err(invalid) => {
                for problem in invalid.0 {
                    tracing::error!(%problem, "a mistake in the configuration");
                }
                tracing::error!(
                    "not reloaded: the previous configuration stays in effect; correct the file and reload"
                );
                return false;
            }
        };
        let before = self.loaded.config.log.level;
        let changes = self.loaded.adopt(new);
        let level = self.loaded.config.log.level;
        // Logged under whichever of the two levels logs more.
        if level > before {
            self.threshold.set(level);
        }
        tell(&changes);
        self.threshold.set(level);
        !changes.live.is_empty()
    }
}

fn tell(ChangedKeys { live, restart }: &ChangedKeys) {
    if !restart.is_empty() {
        tracing::warn!(keys = restart.join(", "), "these keys changed and need a restart");
    }
    match live.as_slice() {
        [] if restart.is_empty() => tracing::info!("reloaded: nothing changed"),
        [] => tracing::info!("reloaded: nothing else changed"),
        changed => tracing::info!(keys = changed.join(", "), "reloaded: these keys changed"),
    }
}
