//! Connections that are refused, held for a moment before they are hung up on.
//!
//! Whoever is hung up on at once can connect again at once, and so make a server accept and close as fast
//! as both can. Held, it connects only as often a second as it has sockets. The rule: a held connection
//! costs its descriptor and a place in a queue, nothing of it is read, and whoever finds no place in the queue
//! is hung up on at once.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::time::sleep_until;

use crate::net::household::Household;
use crate::net::seats::{Held, HeldCount};

/// How long a connection is held.
const HOLD: Duration = Duration::from_secs(1);
/// How much longer it may be, so that many end in one turn.
const SLACK: Duration = Duration::from_millis(50);
/// Of the places, the part that one household may have.
const SHARE: usize = 2;

/// The connections that one listener has refused.
pub struct Tarpit {
    /// The oldest first.
    held: VecDeque<Stuck>,
    /// Never 0.
    households: HashMap<Household, usize>,
    /// Those of all listeners, and how many there may be.
    all: HeldCount,
    most: usize,
}

struct Stuck {
    until: Instant,
    household: Household,
    _stream: TcpStream,
    _place: Held,
}

impl Tarpit {
    /// Empty. `all` counts the connections that are held, here and elsewhere, and is never above `most`.
    pub fn new(all: HeldCount, most: usize) -> Self {
        Self { held: VecDeque::new(), households: HashMap::new(), all, most }
    }

    /// Holds a connection, or hangs up on it where there is no place for it.
    pub fn take(&mut self, stream: TcpStream, household: Household, now: Instant) {
        // Nobody else does while there is always another to accept.
        self.release(now);
        if self.households.get(&household).is_some_and(|held| *held >= self.most.div_ceil(SHARE)) {
            return;
        }
        let Some(place) = self.all.hold_up_to(self.most) else { return };
        // What it sends waits in the kernel, as far as it must.
        let _ = SockRef::from(&stream).set_recv_buffer_size(0);
        *self.households.entry(household).or_default() += 1;
        self.held.push_back(Stuck { until: now + HOLD, household, _stream: stream, _place: place });
    }

    /// Hangs up on those that were held for long enough.
    pub fn release(&mut self, now: Instant) {
        while self.held.front().is_some_and(|first| first.until <= now) {
            let Some(first) = self.held.pop_front() else { break };
            if let Some(held) = self.households.get_mut(&first.household) {
                *held -= 1;
                if *held == 0 {
                    self.households.remove(&first.household);
                }
            }
        }
    }

    /// Waits until it is worth calling [`Tarpit::release`]. Cancel safe.
    pub async fn due(&self) {
        match self.held.front() {
            Some(first) => sleep_until((first.until + SLACK).into()).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    /// A connection's two ends: a client's, which does not wait, and the server's.
    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn household(n: u8) -> Household {
        Household::of(Some([192, 0, 2, n].into()))
    }

    fn is_open(mut client: &TcpStream) -> bool {
        matches!(client.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    #[test]
    fn a_connection_is_held_for_its_time_and_a_household_has_half_of_the_places() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (all, start) = (HeldCount::default(), Instant::now());
        let mut tarpit = Tarpit::new(all.clone(), 4);
        let mut clients = Vec::new();
        for (n, owner) in [1, 1, 1, 2, 3, 4].into_iter().enumerate() {
            let (client, stream) = pair(&listener);
            tarpit.take(stream, household(owner), start + HOLD / 10 * n as u32);
            clients.push(client);
        }
        let open = |clients: &[TcpStream]| clients.iter().map(is_open).collect::<Vec<_>>();
        assert_eq!(open(&clients), [true, true, false, true, true, false]);
        tarpit.release(start + HOLD);
        assert_eq!(open(&clients), [false, true, false, true, true, false]);
        assert_eq!(all.held(), 3);
        tarpit.release(start + 2 * HOLD);
        assert_eq!((all.held(), tarpit.households.len()), (0, 0));
    }

    #[test]
    fn places_are_those_of_all_listeners_and_are_given_back_with_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (all, now) = (HeldCount::default(), Instant::now());
        let mut tarpits = [Tarpit::new(all.clone(), 2), Tarpit::new(all.clone(), 2)];
        for (n, tarpit) in tarpits.iter_mut().enumerate() {
            tarpit.take(pair(&listener).1, household(n as u8), now);
        }
        let (client, stream) = pair(&listener);
        tarpits[0].take(stream, household(9), now);
        assert!(!is_open(&client) && all.held() == 2);
        drop(tarpits);
        assert_eq!(all.held(), 0);
    }
}
