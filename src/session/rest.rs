//! Clients that asked more often than they may: they are not read for a while.
//!
//! Answering each of their messages would cost more than it is worth, and cost is what a flood aims for.
//! Unread, their messages stay with them, and the kernel does not report them: a worker that wakes up for
//! messages that it does not read is what a flood aims for, too. The rule: all rest equally long, so the
//! queue is in order.

use std::time::Duration;

use mio::Token;

use super::worker::Worker;
use crate::hub::SocketId;

/// How long a client is not read after it asked too often.
const REST: Duration = Duration::from_secs(1);

/// Stops reading a client for a while.
pub(super) fn begin(worker: &mut Worker, id: SocketId) {
    let until = worker.now + REST;
    let Some(slot) = worker.slot(id).filter(|slot| !slot.rests) else { return };
    slot.rests = true;
    let key = (id, slot.generation);
    worker.resting.push_back((until, key));
    if let Some(io) = worker.shard.io(id) {
        // If this fails, the worker is only woken for nothing.
        let _ = worker.poller.mute(io, Token(id as usize));
    }
}

/// Resumes reading the clients whose rest is over.
pub(super) fn end_due(worker: &mut Worker) {
    while let Some((_, key)) = worker.resting.front().copied().filter(|(until, _)| *until <= worker.now) {
        worker.resting.pop_front();
        if let Some(slot) = worker.alive(key) {
            slot.rests = false;
            let told = worker.shard.io(key.0).map(|io| worker.poller.unmute(io, Token(key.0 as usize)));
            if matches!(told, Some(Err(_))) {
                worker.drop_gone(key.0);
                continue;
            }
            // What arrived before the rest was reported then, and may not be reported again.
            worker.read_on(key.0);
        }
    }
}
