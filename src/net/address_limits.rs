//! The limits of one address: its connections, clients and channels, and how often it may ask for more.
//!
//! An IPv4 address counts as one network. An IPv6 address counts as its network of 64 bits, and its site of
//! 48 bits may take four times as much. An address that is exempt has no [`Permit`] and no limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::{IpNet, Ipv6Net};

use crate::config::Limits;
use crate::metrics::{Limit, Limited, Metrics};

/// How many networks' share a site may take.
const SITE: u32 = 4;
/// How many seconds' worth of unused allowance an address may save up: a whole office comes back at once
/// when a server restarts.
const SAVED: u32 = 10;
/// Connections that an address may have in addition to its clients, for HTTP requests.
const BESIDE: u32 = 32;
/// The shortest time between two log lines about the same limit.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// How many kinds of [`Limit`] an address has.
const LIMITS: usize = 7;
/// How many of them are rates.
const RATES: usize = 5;
/// Pieces per message: what costs less than a message is charged in pieces.
pub const PIECES: u32 = 8;
/// A rate limiter keeps at least twice this many networks before it forgets those with a full allowance.
const REMEMBERED: usize = 4096;

/// The limits of all addresses, and what each address has.
#[derive(Debug)]
pub struct AddressLimits {
    taken: Mutex<HashMap<IpNet, Taken>>,
    rates: RwLock<Arc<Rates>>,
    started: Instant,
    /// When each limit was last logged, in milliseconds.
    said: [AtomicU64; LIMITS],
    metrics: Metrics,
}

/// What a network currently has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Taken {
    connections: u32,
    clients: u32,
    channels: u32,
}

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Connection,
    Client,
    Channel,
}

#[derive(Debug, Default)]
struct Rates {
    /// Connects, joins, new channels, tokens and pieces of messages per second; 0 means unlimited.
    wanted: [u32; RATES],
    limiters: [Option<Limiter>; RATES],
}

/// The place of one connection, client or channel in the limits of its address; released on drop.
#[derive(Debug)]
pub struct Permit {
    all: Arc<AddressLimits>,
    address: IpAddr,
    purpose: Purpose,
}

impl AddressLimits {
    /// Creates limits with nothing taken and no rate limited.
    pub fn new(metrics: Metrics) -> Self {
        let (taken, rates) = (Mutex::default(), RwLock::default());
        Self { taken, rates, started: Instant::now(), said: Default::default(), metrics }
    }

    /// Puts new rates into effect. If any rate has changed, all saved-up allowances are forgotten.
    pub fn configure(&self, limits: &Limits) {
        let wanted = [
            limits.connects_per_second,
            limits.joins_per_second,
            limits.new_channels_per_second,
            limits.tokens_per_second,
            limits.messages_per_address.saturating_mul(PIECES),
        ];
        let mut rates = self.rates.write().unwrap_or_else(PoisonError::into_inner);
        if rates.wanted != wanted {
            *rates = Arc::new(Rates { wanted, limiters: wanted.map(Limiter::new) });
        }
    }

    /// Whether an address may do something `n` more times, which counts against its rate.
    pub fn allows(&self, rate: Limit, address: IpAddr, n: usize) -> bool {
        let rates = self.rates.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Some(limiter)) = rates.limiters.get(rate as usize) else { return true };
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        let allowed = NonZeroU32::new(n).is_none_or(|n| limiter.allows(address, n));
        if !allowed {
            self.refused(rate, address);
        }
        allowed
    }

    /// Counts that an address reached a limit, and logs it now and then.
    fn refused(&self, limit: Limit, address: IpAddr) {
        self.metrics.limited.get_or_create(&Limited { limit }).inc();
        let now = (self.started.elapsed() + SAY_AGAIN).as_millis() as u64;
        let (said, key) = (&self.said[limit as usize], limit.key());
        let before = said.load(Ordering::Relaxed);
        let due = now - before >= SAY_AGAIN.as_millis() as u64;
        if due && said.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(
                %address,
                "an address met {key}: if many people share it, raise the limit; if it is a proxy, name it in \
                 server.trusted_proxies"
            );
        }
    }

    /// Takes a place for a connection of an address that may have `limit` clients; None if there is none left.
    pub fn connection(self: &Arc<Self>, address: IpAddr, limit: Option<u32>) -> Option<Box<Permit>> {
        self.take(address, Purpose::Connection, limit)
    }

    /// Takes a place for a client of an address that may have `limit` clients; None if there is none left.
    pub fn client(self: &Arc<Self>, address: IpAddr, limit: Option<u32>) -> Option<Box<Permit>> {
        self.take(address, Purpose::Client, limit)
    }

    fn take(self: &Arc<Self>, address: IpAddr, purpose: Purpose, limit: Option<u32>) -> Option<Box<Permit>> {
        let mut taken = self.lock();
        let fits = |(network, times): &(IpNet, u32)| {
            let Taken { connections, clients, channels } = taken.get(network).copied().unwrap_or_default();
            let Some(limit) = limit.map(|limit| limit.saturating_mul(*times)) else { return true };
            match purpose {
                Purpose::Connection => connections + clients < limit.saturating_add(limit / 8 + BESIDE),
                Purpose::Client => clients < limit,
                Purpose::Channel => channels < limit,
            }
        };
        if !networks(address).all(|network| fits(&network)) {
            drop(taken);
            self.refused(if purpose == Purpose::Channel { Limit::Channels } else { Limit::Clients }, address);
            return None;
        }
        for (network, _) in networks(address) {
            let taken = taken.entry(network).or_default();
            *taken.of(purpose) += 1;
        }
        drop(taken);
        Some(Box::new(Permit { all: self.clone(), address, purpose }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpNet, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of(&mut self, purpose: Purpose) -> &mut u32 {
        match purpose {
            Purpose::Connection => &mut self.connections,
            Purpose::Client => &mut self.clients,
            Purpose::Channel => &mut self.channels,
        }
    }
}

impl Permit {
    /// Whether its address may do something `n` more times, which counts against its rate.
    pub fn allows(&self, rate: Limit, n: usize) -> bool {
        self.all.allows(rate, self.address, n)
    }

    /// Takes a place for a channel that this address is the first on, if it has fewer than `limit` such channels.
    pub fn channel(&self, limit: Option<u32>) -> Option<Box<Self>> {
        self.all.take(self.address, Purpose::Channel, limit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        for (network, _) in networks(self.address) {
            if let Some(taken) = all.get_mut(&network) {
                *taken.of(self.purpose) -= 1;
                if *taken == Taken::default() {
                    all.remove(&network);
                }
            }
        }
    }
}

/// The limiter of one rate, for all networks.
#[derive(Debug)]
struct Limiter {
    by_network: DefaultKeyedRateLimiter<IpNet>,
    /// How many networks were left when those with a full allowance were last forgotten.
    kept: AtomicUsize,
}

impl Limiter {
    fn new(per_second: u32) -> Option<Self> {
        // A site has the whole quota; for a network within it, each use counts several times.
        let quota = NonZeroU32::new(per_second.saturating_mul(SITE))?;
        let burst = quota.saturating_mul(NonZeroU32::new(SAVED)?);
        let by_network = RateLimiter::keyed(Quota::per_second(quota).allow_burst(burst));
        Some(Self { by_network, kept: AtomicUsize::new(REMEMBERED) })
    }

    fn allows(&self, address: IpAddr, n: NonZeroU32) -> bool {
        // The site comes first: once it is over its rate, its networks are not even recorded.
        let allowed = networks(address).all(|(network, times)| {
            let cost = n.saturating_mul(NonZeroU32::new(SITE / times).unwrap_or(NonZeroU32::MIN));
            matches!(self.by_network.check_key_n(&network, cost), Ok(Ok(())))
        });
        if self.by_network.len() > 2 * self.kept.load(Ordering::Relaxed) {
            self.by_network.retain_recent();
            self.by_network.shrink_to_fit();
            self.kept.store(self.by_network.len().max(REMEMBERED), Ordering::Relaxed);
        }
        allowed
    }
}

/// The networks that an address is in, widest first, and how many times a network's share each may take.
fn networks(address: IpAddr) -> impl Iterator<Item = (IpNet, u32)> {
    let (site, network) = match address.to_canonical() {
        IpAddr::V6(v6) => {
            let net = |bits| Ipv6Net::new(v6, bits).ok().map(|net| IpNet::from(net.trunc()));
            (net(48), net(64))
        }
        v4 => (None, Some(IpNet::from(v4))),
    };
    site.map(|net| (net, SITE)).into_iter().chain(network.map(|net| (net, 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let all = Arc::new(AddressLimits::new(Metrics::default()));
        let take = |text| all.client(ip(text), Some(2));
        let first = take("192.0.2.1");
        let second = take("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some() && take("192.0.2.1").is_none() && take("192.0.2.2").is_some());
        drop(first);
        assert!(take("192.0.2.1").is_some());
        let held = [take("2001:db8::1"), take("2001:db8::2:3")];
        assert!(held.iter().all(Option::is_some) && take("2001:db8::9").is_none() && take("2001:db8:0:1::1").is_some());
        drop((second, held));
        assert!(all.lock().is_empty());
    }

    #[test]
    fn a_site_has_four_times_what_one_of_its_networks_has() {
        let all = Arc::new(AddressLimits::new(Metrics::default()));
        let take = |net: u32| all.client(ip(&format!("2001:db8:0:{net:x}::1")), Some(2));
        let held: Vec<_> = (0..100).filter_map(take).collect();
        assert_eq!(held.len(), 8);
        assert!(all.client(ip("2001:db8:1::1"), Some(2)).is_some());
        drop(held);
        assert!(all.lock().is_empty());
    }

    #[test]
    fn connections_are_counted_beside_clients_and_have_a_bound_of_their_own() {
        let all = Arc::new(AddressLimits::new(Metrics::default()));
        let one = ip("192.0.2.1");
        let _clients: Vec<_> = (0..2).filter_map(|_| all.client(one, Some(2))).collect();
        let connections: Vec<_> = (0..1000).map_while(|_| all.connection(one, Some(2))).collect();
        assert_eq!(connections.len(), BESIDE as usize);
        assert!(all.connection(one, None).is_some(), "where there is no limit");
    }

    #[test]
    fn a_rate_is_a_networks_own_and_a_site_of_many_networks_gains_little() {
        let all = AddressLimits::new(Metrics::default());
        let rates = |rate| Arc::new(Rates { wanted: [rate; RATES], limiters: [rate; RATES].map(Limiter::new) });
        *all.rates.write().unwrap() = rates(3);
        let allowed =
            |address: &dyn Fn(u32) -> IpAddr| (0..1000).filter(|n| all.allows(Limit::Joins, address(*n), 1)).count();
        let few = |n: usize, times: usize| (times * 30..times * 30 + 5).contains(&n);
        assert!(few(allowed(&|_| ip("192.0.2.1")), 1));
        assert!(few(allowed(&|n| IpAddr::from([192, 0, 3, (n % 2) as u8])), 2));
        assert!(few(allowed(&|n| ip(&format!("2001:db8:0:{n:x}::1"))), 4));
        assert!(!all.allows(Limit::NewChannels, ip("192.0.2.1"), 31), "more at once than there ever is");
        assert!(all.allows(Limit::NewChannels, ip("192.0.2.1"), 0));
        *all.rates.write().unwrap() = rates(0);
        assert_eq!(allowed(&|_| ip("192.0.2.1")), 1000);
    }

    #[test]
    fn networks_that_ask_for_nothing_more_are_forgotten() {
        let limiter = Limiter::new(1_000_000).unwrap();
        for n in 0..100_000_u32 {
            limiter.allows(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), NonZeroU32::MIN);
        }
        assert!(limiter.by_network.len() < 50_000, "{}", limiter.by_network.len());
    }
}
