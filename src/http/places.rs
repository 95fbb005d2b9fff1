//! Who may come in and who may stay: the bounds on connections and clients, from accept on.
//!
//! A connection passes [`Places::arrive`] before a byte of it is read, a client [`Places::client`] before
//! it becomes one. The rules: whoever is refused is told why, as far as that costs little; when all places
//! are taken, a few are left for health checks; and the log says once what is full.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::tarpit::Tarpit;
use crate::config::{Config, Limits};
use crate::metrics::{Limit, Metrics};
use crate::net::address_limits::{AddressLimits, Permit};
use crate::net::household::Household;
use crate::net::seats::{Held, HeldCount, Seat, Seats};

/// Connections beyond `limits.clients` that are answered, if only to say that the server is full.
const SPARE: usize = 256;
/// Descriptors beyond the clients' share that connections may take, to be answered that there are no more,
/// or in the reserve.
pub const ANSWERED: usize = 64;
/// Of those, the ones that are left for health checks when all others are taken.
const RESERVE: usize = 32;
/// Of the reserve, what is left for addresses that have no limit, such as a balancer's.
const RESERVE_FOR_KNOWN: usize = 16;
/// Connections a second that are told that their address connects too often; others are hung up on.
const TOLD: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// See the module.
pub struct Places {
    /// Connections and clients.
    pub seats: Seats,
    /// What each address may take.
    pub addresses: Arc<AddressLimits>,
    /// Clients whose bytes pass through a pair of sockets.
    carried: HeldCount,
    reserve: HeldCount,
    /// Connections that were refused and are held for a moment.
    refused: HeldCount,
    descriptors: Descriptors,
    tell: DefaultDirectRateLimiter,
    full: Told,
    out_of_files: Told,
}

/// Descriptors that connections may take, beside [`ANSWERED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// Those that are served, clients above all.
    pub served: usize,
    /// Those that are refused, as long as they are held.
    pub refused: usize,
}

/// What a connection may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Everything.
    All,
    /// Health checks, for a moment; every other place is taken.
    Health,
    /// To be told that its address connects too often.
    TooOften,
    /// The address for metrics and health checks.
    Internal,
}

/// A connection that was let in.
pub struct Arrived {
    /// What for.
    pub purpose: Use,
    /// Its place.
    pub seat: Seat,
    _reserve: Option<Held>,
}

/// A connection that was not let in. Its household, if that has limits; then it is to be held for a moment.
pub struct TurnedAway(pub Option<Household>);

/// Why a client gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There are as many clients as there may be.
    Full,
    /// There are no more descriptors.
    OutOfFiles,
    /// Its address has as many clients as it may have.
    Address,
}

impl Places {
    /// For connections that may take this many descriptors.
    pub fn new(limits: &Limits, descriptors: Descriptors, metrics: Metrics) -> Self {
        let addresses = Arc::new(AddressLimits::new(metrics.clone()));
        addresses.configure(limits);
        Self {
            seats: Seats::new(metrics.sockets.clone()),
            addresses,
            carried: HeldCount::default(),
            reserve: HeldCount::default(),
            refused: HeldCount::default(),
            descriptors,
            tell: RateLimiter::direct(Quota::per_second(TOLD)),
            full: Told::default(),
            out_of_files: Told::default(),
        }
    }

    /// Where a listener leaves those that it may not let in.
    pub fn tarpit(&self) -> Tarpit {
        Tarpit::new(self.refused.clone(), self.descriptors.refused)
    }

    /// Descriptors that clients take: one each, and a pair more where one carries its bytes.
    fn taken(&self) -> usize {
        self.seats.all() + 2 * self.carried.held()
    }

    /// Lets a connection in, or not at all. `peer`: the other end's address, where it is known and no
    /// proxy's. `tls`: whether a handshake comes before anything can be said.
    ///
    /// # Errors
    /// [`TurnedAway`]
    pub fn arrive(&self, config: &Config, peer: Option<IpAddr>, tls: bool) -> Result<Arrived, TurnedAway> {
        let stranger = peer.filter(|peer| !config.limits.is_exempt(*peer) && !config.server.trusts(Some(*peer)));
        let household = stranger.map(|address| Household::of(Some(address)));
        self.admit(&config.limits, stranger, tls).ok_or(TurnedAway(household))
    }

    /// `stranger`: the other end's address, where that has limits.
    fn admit(&self, limits: &Limits, stranger: Option<IpAddr>, tls: bool) -> Option<Arrived> {
        let purpose = match stranger {
            Some(peer) if !self.addresses.allows(Limit::Connects, peer, 1) => {
                self.tell_too_often(tls).then_some(Use::TooOften)?
            }
            _ => Use::All,
        };
        let permit = match stranger {
            Some(peer) => Some(self.addresses.connection(peer, limits.clients_per_address)?),
            None => None,
        };
        let full = self.seats.all() >= limits.clients + SPARE;
        if full || self.taken() >= self.descriptors.served + ANSWERED - RESERVE {
            if full {
                self.tell_full(limits.clients)
            } else {
                self.tell_out_of_files()
            }
            let most = if stranger.is_none() { RESERVE } else { RESERVE - RESERVE_FOR_KNOWN };
            let held = self.reserve.hold_up_to(most)?;
            return Some(Arrived { purpose: Use::Health, seat: self.seats.take(permit), _reserve: Some(held) });
        }
        Some(Arrived { purpose, seat: self.seats.take(permit), _reserve: None })
    }

    /// Lets a connection to the address for metrics in.
    ///
    /// # Errors
    /// [`TurnedAway`]
    pub fn arrive_inside(&self) -> Result<Arrived, TurnedAway> {
        let held = self.reserve.hold_up_to(RESERVE).ok_or(TurnedAway(None))?;
        Ok(Arrived { purpose: Use::Internal, seat: self.seats.take(None), _reserve: Some(held) })
    }

    /// Lets a connection in whose client a proxy has named before anything else. False if it may not.
    pub fn arrive_by_proxy(&self, config: &Config, client: IpAddr, tls: bool, arrived: &mut Arrived) -> bool {
        if config.limits.is_exempt(client) {
            return true;
        }
        if !self.addresses.allows(Limit::Connects, client, 1) {
            if !self.tell_too_often(tls) {
                return false;
            }
            arrived.purpose = Use::TooOften;
        }
        arrived.seat.permit = self.addresses.connection(client, config.limits.clients_per_address);
        arrived.seat.permit.is_some()
    }

    /// Gives a connection the place of a client with this address. Returns what else it holds: `carried`,
    /// a pair of sockets that carries its bytes.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn client(
        &self,
        limits: &Limits,
        address: Option<IpAddr>,
        carried: bool,
    ) -> Result<(Option<Box<Permit>>, Option<Held>), Refused> {
        let pair = carried.then(|| self.carried.hold());
        let descriptors = self.descriptors.served;
        if self.taken() > descriptors {
            self.tell_out_of_files();
            return Err(Refused::OutOfFiles);
        }
        self.out_of_files.forget_if(self.taken() < descriptors - descriptors / 10);
        let clients = self.seats.all();
        if clients > limits.clients {
            self.tell_full(limits.clients);
            return Err(Refused::Full);
        }
        self.full.forget_if(clients < limits.clients - limits.clients / 10);
        let Some(address) = address.filter(|address| !limits.is_exempt(*address)) else { return Ok((None, pair)) };
        let permit = self.addresses.client(address, limits.clients_per_address).ok_or(Refused::Address)?;
        Ok((Some(permit), pair))
    }

    /// Whether one more request of an address is answered.
    pub fn may_ask(&self, limits: &Limits, address: Option<IpAddr>) -> bool {
        let Some(address) = address.filter(|address| !limits.is_exempt(*address)) else { return true };
        self.addresses.allows(Limit::Connects, address, 1)
    }

    /// Whether a connection is told that its address connects too often. Over TLS it is not: the handshake
    /// costs more than all that it would have been let in for.
    fn tell_too_often(&self, tls: bool) -> bool {
        !tls && self.tell.check().is_ok()
    }

    fn tell_full(&self, limit: usize) {
        if self.full.first() {
            tracing::warn!(limit, "full: there are as many clients as limits.clients allows; new ones get 503");
        }
    }

    fn tell_out_of_files(&self) {
        if self.out_of_files.first() {
            let (clients, descriptors) = (self.seats.all(), self.descriptors.served);
            tracing::warn!(clients, descriptors, "full: no more open files; raise the limit (LimitNOFILE)");
        }
    }
}

/// Whether something was said in the log, so that it is said once.
#[derive(Debug, Default)]
struct Told(AtomicBool);

impl Told {
    fn first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    fn forget_if(&self, passed: bool) {
        if passed && self.0.load(Ordering::Relaxed) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
}
