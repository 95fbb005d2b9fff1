//! Who may come in and who may stay: the limits on connections and clients, from accept on.
//!
//! A connection passes [`Places::arrive`] before any of its bytes is read, and a client passes
//! [`Places::client`] before it becomes one. The rules: a refused client is told why, as long as that is cheap;
//! when all places are taken, a few are left for health checks; and the log says once what is full.

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

/// Connections beyond `limits.clients` that are still answered, if only to say that the server is full.
const SPARE: usize = 256;
/// Descriptors beyond the clients' share, for the reserve and for connections that are only told that none is
/// left.
pub const ANSWERED: usize = 64;
/// The part of [`ANSWERED`] that is reserved for health checks when everything else is taken.
const RESERVE: usize = 32;
/// The part of the reserve for addresses without limits, such as a load balancer's.
const RESERVE_FOR_KNOWN: usize = 16;
/// How many connections a second are told that their address connects too often; further ones get no response.
const TOLD: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// See the module.
pub struct Places {
    /// Connections and clients.
    pub seats: Seats,
    /// The limits per address.
    pub addresses: Arc<AddressLimits>,
    /// Clients whose bytes pass through a socket pair.
    carried: HeldCount,
    reserve: HeldCount,
    /// Connections that were refused and are held for a moment.
    refused: HeldCount,
    descriptors: Descriptors,
    tell: DefaultDirectRateLimiter,
    full: Told,
    out_of_files: Told,
}

/// Descriptors that connections may use, in addition to [`ANSWERED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// For connections that are served, mostly clients.
    pub served: usize,
    /// For refused connections, while they are held.
    pub refused: usize,
}

/// What a connection may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Everything.
    All,
    /// Health checks only, for a moment: every other place is taken.
    Health,
    /// Only to be told that its address connects too often.
    TooOften,
    /// Only metrics and health checks, on the address for those.
    Internal,
}

/// A connection that was admitted.
pub struct Arrived {
    /// What it may be used for.
    pub purpose: Use,
    /// Its place.
    pub seat: Seat,
    _reserve: Option<Held>,
}

/// A connection that was turned away, with its household if that has limits. Such a connection should be held
/// for a moment.
pub struct TurnedAway(pub Option<Household>);

/// Why a client gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There are as many clients as allowed.
    Full,
    /// No descriptor is left.
    OutOfFiles,
    /// Its address has as many clients as allowed.
    Address,
}

impl Places {
    /// Returns the places for connections that may use this many descriptors.
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

    /// Returns a tarpit in which a listener holds refused connections.
    pub fn tarpit(&self) -> Tarpit {
        Tarpit::new(self.refused.clone(), self.descriptors.refused)
    }

    /// Returns how many descriptors clients use: one each, and two more if a socket pair carries the client's
    /// bytes.
    fn taken(&self) -> usize {
        self.seats.all() + 2 * self.carried.held()
    }

    /// Admits a connection, or turns it away. `peer`: the other end's address, if it is known. `tls`: whether a
    /// handshake must come before any response.
    ///
    /// # Errors
    /// [`TurnedAway`]
    pub fn arrive(&self, config: &Config, peer: Option<IpAddr>, tls: bool) -> Result<Arrived, TurnedAway> {
        let stranger = peer.filter(|peer| !config.limits.is_exempt(*peer) && !config.server.trusts(Some(*peer)));
        let household = stranger.map(|address| Household::of(Some(address)));
        self.admit(&config.limits, stranger, tls).ok_or(TurnedAway(household))
    }

    /// Admits a connection if there is a place for it. `stranger`: the other end's address, if it has limits.
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

    /// Admits a connection to the address for metrics.
    ///
    /// # Errors
    /// [`TurnedAway`]
    pub fn arrive_inside(&self) -> Result<Arrived, TurnedAway> {
        let held = self.reserve.hold_up_to(RESERVE).ok_or(TurnedAway(None))?;
        Ok(Arrived { purpose: Use::Internal, seat: self.seats.take(None), _reserve: Some(held) })
    }

    /// Admits a connection whose client was named by a proxy's PROXY header. Returns false if the client must
    /// not connect.
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

    /// Reserves a place for a client at this address. Returns its permit, if the address has a limit, and a
    /// hold on its socket pair, if one carries its bytes (`carried`).
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

    /// Returns whether one more request from an address may be answered.
    pub fn may_ask(&self, limits: &Limits, address: Option<IpAddr>) -> bool {
        let Some(address) = address.filter(|address| !limits.is_exempt(*address)) else { return true };
        self.addresses.allows(Limit::Connects, address, 1)
    }

    /// Returns whether a connection is told that its address connects too often. Over TLS it is not, because
    /// the handshake would cost more than the response.
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

/// Whether something was logged, so that it is logged only once.
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
