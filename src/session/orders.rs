//! Carries out orders to a worker: to apply another configuration, and to close its sockets.

use std::time::{Duration, Instant};

use super::drain::Drain;
use super::keepalive::SocketKey;
use super::order::Order;
use super::worker::{Slot, Worker};
use crate::config::Config;
use crate::hub::{self, SocketId};

/// Carries out an order.
pub fn obey(worker: &mut Worker, order: Order) {
    match order {
        Order::Config(config) => configure(worker, &config),
        Order::Drain(over) => start_drain(worker, over),
    }
}

fn keys(worker: &Worker) -> Vec<SocketKey> {
    let key = |(id, slot): (usize, &Option<Slot>)| slot.as_ref().map(|slot| (id as SocketId, slot.generation));
    worker.slots.iter().enumerate().filter_map(key).collect()
}

fn configure(worker: &mut Worker, config: &Config) {
    hub::configure(&mut worker.shard, config);
    worker.limits = config.limits.clone();
    let timing = std::mem::replace(&mut worker.timing, config.session.clone());
    if timing.ping != worker.timing.ping {
        // The queue must be in the order of its times, so all pings start anew, spread over the new period.
        worker.deadlines.forget_pings();
        let keys = keys(worker);
        let step = worker.timing.ping / u32::try_from(keys.len().max(1)).unwrap_or(u32::MAX);
        for (turn, key) in (1..).zip(keys) {
            worker.deadlines.ping_at(worker.now + step * turn, key);
        }
    }
}

fn start_drain(worker: &mut Worker, over: Duration) {
    let keys = keys(worker);
    worker.drain = Some((Drain::new(Instant::now(), over, keys.len()), keys));
}

/// Closes as many sockets as the drain requires by now.
pub fn drain_some(worker: &mut Worker) {
    let Some((drain, keys)) = &mut worker.drain else { return };
    let open = drain.may_be_open(Instant::now()).min(keys.len());
    for key in keys.split_off(open) {
        if worker.alive(key).is_some() {
            worker.send_elsewhere(key.0);
        }
    }
}
