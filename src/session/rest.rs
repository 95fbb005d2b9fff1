//! Clients that asked more often than they may: they are not read for a while.
//!
//! An answer to each of their messages would cost more than it is worth, and would be what a flood is after.
//! Unread, what they send stays with them. The rule: all rest equally long, so the queue is in order.

use std::time::Duration;

use super::worker::Worker;
use crate::hub::SocketId;

/// How long a client is not read after it was told that it asks too often.
const REST: Duration = Duration::from_secs(1);

/// Reads nothing more of a client for a while.
pub(super) fn begin(worker: &mut Worker, id: SocketId) {
    let until = worker.now + REST;
    let Some(slot) = worker.slot(id).filter(|slot| !slot.rests) else { return };
    slot.rests = true;
    let key = (id, slot.generation);
    worker.resting.push_back((until, key));
}

/// Reads those again whose rest is over.
pub(super) fn end_due(worker: &mut Worker) {
    while let Some((_, key)) = worker.resting.front().copied().filter(|(until, _)| *until <= worker.now) {
        worker.resting.pop_front();
        if let Some(slot) = worker.alive(key) {
            slot.rests = false;
            // What came meanwhile was told once, and its end too.
            worker.read_on(key.0);
        }
    }
}
