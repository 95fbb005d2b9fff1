//! What a worker is told from outside: another configuration, and to close its sockets.

use std::time::{Duration, Instant};

use super::drain::Drain;
use super::keepalive::Key;
use super::order::Order;
use super::worker::{Slot, Worker};
use crate::config::Config;
use crate::hub::{self, SocketId};

impl Worker {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Config(config) => self.configure(&config),
            Order::Drain(over) => self.start_drain(over),
        }
    }

    fn keys(&self) -> Vec<Key> {
        let key = |(id, slot): (usize, &Option<Slot>)| slot.as_ref().map(|slot| (id as SocketId, slot.generation));
        self.slots.iter().enumerate().filter_map(key).collect()
    }

    fn configure(&mut self, config: &Config) {
        hub::configure(&mut self.shard, config);
        self.limits = config.limits.clone();
        let timing = std::mem::replace(&mut self.timing, config.session.clone());
        if timing.ping != self.timing.ping {
            // The queue is in the order of its times; all begin anew, spread over the new period.
            self.deadlines.forget_pings();
            let keys = self.keys();
            let step = self.timing.ping / u32::try_from(keys.len().max(1)).unwrap_or(u32::MAX);
            for (turn, key) in (1..).zip(keys) {
                self.deadlines.ping_at(self.now + step * turn, key);
            }
        }
    }

    fn start_drain(&mut self, over: Duration) {
        let keys = self.keys();
        self.drain = Some((Drain::new(Instant::now(), over, keys.len()), keys));
    }

    /// Closes as many sockets as the drain wants closed by now.
    pub(super) fn drain_some(&mut self) {
        let Some((drain, keys)) = &mut self.drain else { return };
        let open = drain.may_be_open(Instant::now()).min(keys.len());
        for key in keys.split_off(open) {
            if self.alive(key).is_some() {
                self.send_elsewhere(key.0);
            }
        }
    }
}
