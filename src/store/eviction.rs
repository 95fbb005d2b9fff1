//! Which keys go when memory is short: Redis's policies, and what they have to know of a key's use.

/// What `maxmemory-policy` can be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// None; what needs memory is refused.
    #[default]
    NoEviction,
    /// Any key.
    AllKeys(Choice),
    /// Keys that expire.
    Volatile(Choice),
}

/// Which of them goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The one that was not used for longest.
    Lru,
    /// The one that is used least often.
    Lfu,
    /// Any.
    Random,
    /// The one that expires first.
    Ttl,
}

impl Policy {
    /// Each with its name, in the order in which `CONFIG SET` tells them.
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Volatile(Choice::Lru), "volatile-lru"),
        (Self::Volatile(Choice::Lfu), "volatile-lfu"),
        (Self::Volatile(Choice::Random), "volatile-random"),
        (Self::Volatile(Choice::Ttl), "volatile-ttl"),
        (Self::AllKeys(Choice::Lru), "allkeys-lru"),
        (Self::AllKeys(Choice::Lfu), "allkeys-lfu"),
        (Self::AllKeys(Choice::Random), "allkeys-random"),
        (Self::NoEviction, "noeviction"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(policy, _)| *policy == self).map_or("", |(_, name)| name)
    }

    /// The policy of this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(policy, _)| *policy)
    }

    /// Whether it goes by how often keys are used.
    pub fn counts_uses(self) -> bool {
        matches!(self, Self::AllKeys(Choice::Lfu) | Self::Volatile(Choice::Lfu))
    }
}

/// When a key was last used, in seconds; or, where uses are counted, in minutes with the count in the lowest
/// byte. The count grows ever more slowly and falls by one a minute.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage(u32);

/// The count of a new key, which would otherwise be the first to go.
const NEW: u32 = 5;
/// How much more slowly a higher count grows.
const SLOWNESS: f64 = 10.0;

impl Usage {
    /// That of a key that is used for the first time.
    pub fn new(policy: Policy, now: u64) -> Self {
        if policy.counts_uses() { Self(minutes(now) << 8 | NEW) } else { Self(seconds(now)) }
    }

    /// That of a key that was not used for so many seconds, under a policy that goes by them.
    pub fn idle_for(now: u64, idle: u64) -> Self {
        Self(u64::from(seconds(now)).saturating_sub(idle) as u32)
    }

    /// That of a key with this count, under a policy that goes by counts.
    pub fn counted(now: u64, count: u8) -> Self {
        Self(minutes(now) << 8 | u32::from(count))
    }

    /// Notes a use.
    pub fn touch(&mut self, policy: Policy, now: u64) {
        if !policy.counts_uses() {
            self.0 = seconds(now);
            return;
        }
        let count = self.count(now);
        let above = f64::from(count.saturating_sub(NEW));
        let grows = count < 255 && fastrand::f64() < 1.0 / (above * SLOWNESS + 1.0);
        self.0 = (minutes(now) << 8) | (count + u32::from(grows));
    }

    /// For how many seconds the key was not used.
    pub fn idle(self, now: u64) -> u32 {
        seconds(now).saturating_sub(self.0)
    }

    /// How often it is used, on a scale up to 255.
    pub fn count(self, now: u64) -> u32 {
        let since = (minutes(now).wrapping_sub(self.0 >> 8)) & 0x00ff_ffff;
        (self.0 & 0xff).saturating_sub(since)
    }
}

fn seconds(now: u64) -> u32 {
    (now / 1000) as u32
}

fn minutes(now: u64) -> u32 {
    (now / 60_000) as u32 & 0x00ff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_a_name() {
        for (policy, name) in Policy::NAMES {
            assert_eq!((policy.name(), Policy::parse(&name.to_uppercase())), (name, Some(policy)));
        }
        assert_eq!(Policy::parse("lru"), None);
    }

    #[test]
    fn the_count_of_uses_grows_slowly_and_falls_with_time() {
        let (policy, start) = (Policy::AllKeys(Choice::Lfu), 1_700_000_000_000);
        let mut usage = Usage::new(policy, start);
        (0..10_000).for_each(|_| usage.touch(policy, start));
        let count = usage.count(start);
        assert!((20..120).contains(&count), "{count}");
        assert_eq!(usage.count(start + 10 * 60_000), count - 10);
        assert_eq!(usage.count(start + 1000 * 60_000), 0);
    }
}
