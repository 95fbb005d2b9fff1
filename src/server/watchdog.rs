//! Tells the service manager about the node's state, that every worker and the embedded store still work,
//! and that a stop is in progress, however long it takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::hub::{Registry, StoreState};
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::systemd::Manager;

/// The time between two checks; shorter if the manager's watchdog timeout requires it.
const LOOK: Duration = Duration::from_secs(2);
/// How long the manager should wait for the next message of a node that is stopping, beyond its own limit.
const EXTENSION: Duration = Duration::from_secs(20);
/// Checks per watchdog timeout: enough for two signs of life, each of which may need two checks.
const LOOKS: u32 = 4;

/// What the watchdog checks and reports.
pub struct Watchdog {
    pub manager: Manager,
    pub watchdog: Option<Duration>,
    /// The pulses of every worker and of the embedded store.
    pub pulses: Vec<Pulse>,
    pub metrics: Metrics,
    pub registry: Arc<Registry>,
}

impl Watchdog {
    /// Runs until it is dropped.
    pub async fn run(self) {
        if !self.manager.listens() {
            return;
        }
        let look = self.watchdog.map_or(LOOK, |patience| LOOK.min(patience / LOOKS)).max(Duration::from_millis(1));
        let mut looks = interval(look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut status, mut beats) = (String::new(), vec![0; self.pulses.len()]);
        loop {
            looks.tick().await;
            let now = self.status();
            if now != status {
                self.manager.status(&now);
                status = now;
            }
            // One stuck loop is reason enough to withhold the sign of life, so that the manager restarts the node.
            if self.watchdog.is_some() && self.pulses.iter().zip(&beats).all(|(pulse, at)| pulse.is_alive_since(*at)) {
                self.manager.alive();
                beats = self.pulses.iter().map(Pulse::beats).collect();
            }
        }
    }

    fn status(&self) -> String {
        let store = match self.registry.store() {
            Some(StoreState::Live) => "the store is live",
            Some(StoreState::Refused) => "the store does not let this server count",
            Some(StoreState::Degraded) => "the store is out of reach",
            None => "the store has not answered yet",
        };
        format!("{}; {store}", clients(&self.metrics))
    }
}

/// Tells the manager that a stop is in progress, so that a stop that outlasts its limit is not cut short,
/// but a stop that hangs is. Runs until it is dropped.
pub async fn see_out<T>(manager: Manager, metrics: Metrics) -> T {
    manager.stopping();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        manager.extend(EXTENSION, &format!("stopping; {} left", clients(&metrics)));
    }
}

fn clients(metrics: &Metrics) -> String {
    let clients = metrics.sockets.get();
    format!("{clients} client{}", if clients == 1 { "" } else { "s" })
}
