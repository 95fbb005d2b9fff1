//! Which keys are evicted when memory is short: Redis's policies, and the key usage that they depend on.

/// The values of `maxmemory-policy`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// No keys are evicted; commands that need memory are refused.
    #[default]
    NoEviction,
    /// Any key may be evicted.
    AllKeys(Choice),
    /// Only keys that expire may be evicted.
    Volatile(Choice),
}

/// Which of the candidates is evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The one that has been unused for longest.
    Lru,
    /// The one that is used least often.
    Lfu,
    /// A random one.
    Random,
    /// The one that expires first.
    Ttl,
}

impl Policy {
    /// All policies with their names, in the order in which `CONFIG SET` lists them.
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

    /// The policy's name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(policy, _)| *policy == self).map_or("", |(_, name)| name)
    }

    /// Finds the policy with this name, ignoring case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(policy, _)| *policy)
    }

    /// Whether the policy depends on how often keys are used.
    pub fn counts_uses(self) -> bool {
        matches!(self, Self::AllKeys(Choice::Lfu) | Self::Volatile(Choice::Lfu))
    }
}

/// When a key was last used, in seconds. If the policy counts uses, the time is in minutes, with the
/// count in the lowest byte. The count grows ever more slowly and falls by one a minute.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage(u32);

/// The initial count of a key; at 0, new keys would be the first to be evicted.
const NEW: u32 = 5;
/// How strongly a high count slows further growth.
const SLOWNESS: f64 = 10.0;

impl Usage {
    /// The usage of a new key.
    pub fn new(policy: Policy, now: u64) -> Self {
        if policy.counts_uses() { Self(minutes(now) << 8 | NEW) } else { Self(seconds(now)) }
    }

    /// The usage of a key that has been idle for `idle` seconds, under a policy that does not count uses.
    pub fn idle_for(now: u64, idle: u64) -> Self {
        Self(u64::from(seconds(now)).saturating_sub(idle) as u32)
    }

    /// The usage of a key with this count, under a policy that counts uses.
    pub fn counted(now: u64, count: u8) -> Self {
        Self(minutes(now) << 8 | u32::from(count))
    }

    /// Records a use.
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

    /// How many seconds the key has been idle.
    pub fn idle(self, now: u64) -> u32 {
        seconds(now).saturating_sub(self.0)
    }

    /// How often the key is used, on a scale up to 255.
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
