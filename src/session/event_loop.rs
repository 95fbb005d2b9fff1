//! The event loop of one worker: its sockets, its deliveries and its deadlines, on one thread.
//!
//! Sockets are read before deadlines are judged.

use std::io;
use std::time::{Duration, Instant};

use mio::Events;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::order::Order;
use super::worker::Worker;
use super::{NewClient, orders, publishing, rest, tokens};
use crate::hub::queue::Receiver;
use crate::pulse::Pulse;

/// The most events taken from the kernel at once.
const EVENTS: usize = 1024;
/// The most deliveries carried out as one batch.
const BATCH: usize = 256;
/// The most connections taken in before the sockets get their turn again.
const TAKE_IN: usize = 64;
/// The size of the one buffer that all sockets of a worker are read into.
const BUFFER: usize = 64 << 10;
/// How long a turn reads and answers before it delivers and accepts again; the rest waits for the next
/// turn. A message passes through three tasks of this thread, and may have to wait for a turn before each.
const TURN: Duration = Duration::from_micros(500);

/// Runs a worker until it is told to drain and its last socket is gone.
pub async fn run(
    mut worker: Worker,
    mut clients: mpsc::Receiver<NewClient>,
    mut deliveries: Receiver,
    mut orders: mpsc::Receiver<Order>,
    pulse: Pulse,
) -> io::Result<()> {
    let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; BUFFER]);
    let (mut batch, mut rooms) = (Vec::new(), Vec::new());
    pulse.begin();
    loop {
        pulse.beat();
        let pause = worker.sleep();
        tokio::select! {
            waited = worker.poller.wait(&mut events) => waited?,
            Some(queued) = deliveries.recv() => {
                batch.push(queued.delivery);
                rooms.extend(queued.room);
            }
            Some(client) = clients.recv() => worker.take_in(client),
            Some(published) = worker.outbound.answered.recv() => publishing::answer(&mut worker, published),
            Some(checked) = worker.checks.done() => tokens::checked(&mut worker, checked),
            Some(order) = orders.recv() => orders::obey(&mut worker, order),
            () = yield_now(), if !worker.unread.is_empty() => {}
            () = sleep(pause) => {}
        }
        let now = Instant::now();
        worker.now = worker.clock.look(now);
        // Deliveries go before what clients say, which may fill the turn.
        while batch.len() < BATCH {
            let Ok(queued) = deliveries.try_recv() else { break };
            batch.push(queued.delivery);
            rooms.extend(queued.room);
        }
        worker.shard.deliver(&mut batch, now);
        rooms.clear();
        worker.turn_ends = Instant::now() + TURN;
        rest::end_due(&mut worker);
        worker.handle(&events, &mut buffer);
        if worker.deadlines.any_due(worker.now) {
            // Clients that have answered by now are read before any of them is judged.
            worker.poller.take(&mut events)?;
            worker.handle(&events, &mut buffer);
            worker.judge_deadlines();
        }
        events.clear();
        for _ in 0..TAKE_IN {
            let Ok(client) = clients.try_recv() else { break };
            worker.take_in(client);
        }
        worker.shard.tick(now);
        while let Ok(published) = worker.outbound.answered.try_recv() {
            publishing::answer(&mut worker, published);
        }
        tokens::take_checked(&mut worker);
        tokens::judge_ends(&mut worker);
        orders::drain_some(&mut worker);
        worker.say_goodbye();
        worker.close_doomed();
        worker.shrink();
        if worker.drain.is_some() && worker.shard.is_empty() {
            pulse.end();
            return Ok(());
        }
    }
}
