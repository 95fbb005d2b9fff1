//! Holds refused connections for a moment before closing them.
//!
//! A client whose connection is closed immediately can reconnect immediately, which makes the server accept and
//! close as fast as both can. If its connections are held instead, it can only connect as often per second as
//! it has sockets. The rule: a held connection costs one descriptor and one place in a queue; nothing is read
//! from it; and a connection that finds no place in the queue is closed immediately.
//!
//! Holding does not slow a client that closes first: connections that it has already closed soon fill its
//! places, and from then on it connects as fast as both can. So a household that had too many connections
//! closed immediately is shut out for as long as a connection is held. This module decides which households;
//! the listener shuts them out.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::time::sleep_until;

use crate::net::household::Household;
use crate::net::listener::MOST_SHUT_OUT;
use crate::net::seats::{Held, HeldCount};

/// How long a connection is held.
const HOLD: Duration = Duration::from_secs(1);
/// How much longer it may be held, so that many can be released at once.
const SLACK: Duration = Duration::from_millis(50);
/// One household may take at most one in this many places.
const SHARE: usize = 2;

/// How many connections of a household are closed immediately, while it has held ones, before it is shut out.
const HASTY: usize = 256;

/// The refused connections of one listener.
pub struct Tarpit {
    /// Oldest first.
    held: VecDeque<Stuck>,
    /// The households that have connections here.
    households: HashMap<Household, Knocks>,
    /// The households that are shut out, each with the end of its time, oldest first. Never more than
    /// [`MOST_SHUT_OUT`].
    shut_out: VecDeque<(Instant, Household)>,
    /// Whether `shut_out` has changed since the listener last got it.
    changed: bool,
    /// The number of held connections of all listeners, and its limit.
    all: HeldCount,
    most: usize,
}

/// The refused connections of one household.
#[derive(Default)]
struct Knocks {
    /// How many are held; never 0.
    held: usize,
    /// How many were closed immediately since the first held one, or since the household was last shut out.
    hasty: usize,
}

struct Stuck {
    until: Instant,
    household: Household,
    _stream: TcpStream,
    _place: Held,
}

impl Tarpit {
    /// Returns an empty tarpit. `all` counts the held connections of all tarpits, and never exceeds `most`.
    pub fn new(all: HeldCount, most: usize) -> Self {
        let (held, shut_out) = (VecDeque::new(), VecDeque::with_capacity(MOST_SHUT_OUT));
        Self { held, households: HashMap::new(), shut_out, changed: false, all, most }
    }

    /// Holds a connection, or hangs up on it if there is no place for it.
    pub fn take(&mut self, stream: TcpStream, household: Household, now: Instant) {
        // While there is always another connection to accept, nothing else calls this.
        self.release(now);
        let share = self.most.div_ceil(SHARE);
        let fits = self.households.get(&household).is_none_or(|knocks| knocks.held < share);
        let place = if fits { self.all.hold_up_to(self.most) } else { None };
        let Some(place) = place else { return self.hang_up(household, now) };
        // What the client sends waits in the kernel, in the smallest possible buffer.
        let _ = SockRef::from(&stream).set_recv_buffer_size(0);
        self.households.entry(household).or_default().held += 1;
        self.held.push_back(Stuck { until: now + HOLD, household, _stream: stream, _place: place });
    }

    fn hang_up(&mut self, household: Household, now: Instant) {
        let Some(knocks) = self.households.get_mut(&household) else { return };
        knocks.hasty += 1;
        if knocks.hasty >= HASTY && self.shut_out.len() < MOST_SHUT_OUT {
            knocks.hasty = 0;
            self.shut_out.push_back((now + HOLD, household));
            self.changed = true;
        }
    }

    /// Returns the households to shut out now, if they have changed since the last call.
    pub fn newly_shut_out(&mut self) -> Option<impl ExactSizeIterator<Item = Household>> {
        std::mem::take(&mut self.changed).then(|| self.shut_out.iter().map(|(_, household)| *household))
    }

    /// Hangs up on connections that were held for long enough, and readmits households that were shut out for
    /// as long.
    pub fn release(&mut self, now: Instant) {
        while self.shut_out.front().is_some_and(|(until, _)| *until <= now) {
            self.shut_out.pop_front();
            self.changed = true;
        }
        while self.held.front().is_some_and(|first| first.until <= now) {
            let Some(first) = self.held.pop_front() else { break };
            if let Some(knocks) = self.households.get_mut(&first.household) {
                knocks.held -= 1;
                if knocks.held == 0 {
                    self.households.remove(&first.household);
                }
            }
        }
    }

    /// Waits until there is something to do for [`Tarpit::release`]. Cancel safe.
    pub async fn due(&self) {
        let (held, shut_out) =
            (self.held.front().map(|first| first.until), self.shut_out.front().map(|(until, _)| *until));
        match held.into_iter().chain(shut_out).min() {
            Some(first) => sleep_until((first + SLACK).into()).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    /// Returns both ends of a connection: the client's, which is non-blocking, and the server's.
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
    fn a_household_that_is_hung_up_on_at_once_too_often_is_shut_out_for_as_long_as_others_are_held() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = Instant::now();
        let mut tarpit = Tarpit::new(HeldCount::default(), 4);
        let shut_out = |tarpit: &mut Tarpit| tarpit.newly_shut_out().map(Iterator::collect::<Vec<_>>);
        let take = |tarpit: &mut Tarpit, owner, now| tarpit.take(pair(&listener).1, household(owner), now);
        for _ in 0..2 + HASTY - 1 {
            take(&mut tarpit, 1, start);
        }
        assert_eq!(shut_out(&mut tarpit), None);
        take(&mut tarpit, 1, start + HOLD / 2);
        assert_eq!(shut_out(&mut tarpit), Some(vec![household(1)]));
        take(&mut tarpit, 2, start + HOLD / 2);
        assert_eq!(shut_out(&mut tarpit), None, "the listener knows");
        tarpit.release(start + HOLD);
        assert_eq!(shut_out(&mut tarpit), None, "not for less");
        tarpit.release(start + HOLD + HOLD / 2);
        assert_eq!(shut_out(&mut tarpit), Some(vec![]));
        take(&mut tarpit, 1, start + 2 * HOLD);
        assert_eq!(shut_out(&mut tarpit), None, "it begins anew");
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
