//! How many there are: connections, clients, and what is held only for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use super::address_limits::Permit;

/// All connections, and those of them that have become a client. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    clients: AtomicUsize,
    /// Shows the clients to others.
    shown: Gauge,
}

/// The place of one connection or client; given up when it is dropped.
#[derive(Debug)]
pub struct Seat {
    all: Seats,
    is_client: bool,
    /// Its place among those of its address; None where that has no limit.
    pub permit: Option<Box<Permit>>,
}

impl Seats {
    /// None taken. `shown` always shows how many clients there are.
    pub fn new(shown: Gauge) -> Self {
        Self(Arc::new(Counts { shown, ..Counts::default() }))
    }

    /// A connection's.
    pub fn take(&self, permit: Option<Box<Permit>>) -> Seat {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Seat { all: self.clone(), is_client: false, permit }
    }

    /// Connections that have not become a client.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Connections and clients.
    pub fn all(&self) -> usize {
        self.connections() + self.0.clients.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// The connection has become a client.
    pub fn become_client(&mut self) {
        if !std::mem::replace(&mut self.is_client, true) {
            let counts = &self.all.0;
            counts.clients.fetch_add(1, Ordering::Relaxed);
            counts.shown.inc();
            counts.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let counts = &self.all.0;
        if self.is_client {
            counts.clients.fetch_sub(1, Ordering::Relaxed);
            counts.shown.dec();
        } else {
            counts.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How many of something are held. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HeldCount(Arc<AtomicUsize>);

/// One of a [`HeldCount`]; given up when it is dropped.
#[derive(Debug)]
pub struct Held(HeldCount);

impl HeldCount {
    /// Holds one more.
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    /// Holds one more, unless there are as many as `most`.
    pub fn hold_up_to(&self, most: usize) -> Option<Held> {
        let held = self.hold();
        (self.held() <= most).then_some(held)
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_a_connections_until_it_is_a_clients_and_then_nobodys() {
        let gauge = Gauge::default();
        let seats = Seats::new(gauge.clone());
        let (mut one, two) = (seats.take(None), seats.take(None));
        one.become_client();
        one.become_client();
        assert_eq!((seats.connections(), seats.all(), gauge.get()), (1, 2, 1));
        drop((one, two));
        assert_eq!((seats.connections(), seats.all(), gauge.get()), (0, 0, 0));
    }

    #[test]
    fn no_more_are_held_than_may_be() {
        let count = HeldCount::default();
        let held: Vec<_> = (0..5).map_while(|_| count.hold_up_to(3)).collect();
        assert_eq!((held.len(), count.held()), (3, 3));
    }
}
