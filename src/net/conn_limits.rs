//! Places: how many clients each address has, where that has a limit, and how many there are of what is
//! held only for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The addresses that have clients here.
#[derive(Debug, Default)]
pub struct IpLimiter(Mutex<HashMap<IpAddr, u32>>);

/// One client's place among those of its address; given up when it is dropped.
#[derive(Debug)]
pub struct IpPermit {
    per_address: Arc<IpLimiter>,
    address: IpAddr,
}

impl IpLimiter {
    /// Takes a place, unless the address has as many as `limit` already.
    pub fn take(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<Box<IpPermit>> {
        let address = household(address);
        let mut taken = self.lock();
        let count = taken.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Box::new(IpPermit { per_address: self.clone(), address }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for IpPermit {
    fn drop(&mut self) {
        let mut taken = self.per_address.lock();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
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

/// What one client can have many of: of an IPv6 address, its network of 64 bits.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let per_address = Arc::new(IpLimiter::default());
        let take = |text: &str| per_address.take(text.parse().unwrap(), 2);
        let first = take("192.0.2.1");
        let second = take("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some() && take("192.0.2.1").is_none() && take("192.0.2.2").is_some());
        drop(first);
        assert!(take("192.0.2.1").is_some());
        let held = [take("2001:db8::1"), take("2001:db8::2:3")];
        assert!(held.iter().all(Option::is_some) && take("2001:db8::9").is_none() && take("2001:db8:0:1::1").is_some());
        drop((second, held));
        assert!(per_address.lock().is_empty());
    }
}
