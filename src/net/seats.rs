//! Counts connections, clients, and things that are held only for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use super::address_limits::Permit;

/// The numbers of connections and of clients. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    clients: AtomicUsize,
    /// The metric for the number of clients.
    shown: Gauge,
}

/// The place of one connection or client; released on drop.
#[derive(Debug)]
pub struct Seat {
    all: Seats,
    is_client: bool,
    /// Its place in the limits of its address; None if the address has no limits.
    pub permit: Option<Box<Permit>>,
}

impl Seats {
    /// Creates empty counts. `shown` always shows the number of clients.
    pub fn new(shown: Gauge) -> Self {
        Self(Arc::new(Counts { shown, ..Counts::default() }))
    }

    /// Takes a seat for a connection.
    pub fn take(&self, permit: Option<Box<Permit>>) -> Seat {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Seat { all: self.clone(), is_client: false, permit }
    }

    /// Returns the number of connections that have not become a client.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Returns the number of connections and clients together.
    pub fn all(&self) -> usize {
        self.connections() + self.0.clients.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Counts the connection as a client from now on.
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

/// Counts how many of something are held. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct HeldCount(Arc<AtomicUsize>);

/// One unit of a [`HeldCount`]; released on drop.
#[derive(Debug)]
pub struct Held(HeldCount);

impl HeldCount {
    /// Holds one more.
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    /// Holds one more, unless `most` are held already.
    pub fn hold_up_to(&self, most: usize) -> Option<Held> {
        let held = self.hold();
        (self.held() <= most).then_some(held)
    }

    /// Returns how many are held.
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
