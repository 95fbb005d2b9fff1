//! What happens to keys, as `notify-keyspace-events` has it published.
//!
//! Commands say what they did to a key; what the setting asks for is noted here and published when the
//! command is through: `__keyspace@<db>__:<key>` says the event, `__keyevent@<db>__:<event>` the key.

use super::small_bytes::SmallBytes;

/// Kinds of events, several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes(u16);

impl Classes {
    /// `K`: published by the key's name.
    pub const BY_KEY: Self = Self(1);
    /// `E`: published by the event's name.
    pub const BY_EVENT: Self = Self(1 << 1);
    /// `g`: what can happen to a key of any type.
    pub const GENERIC: Self = Self(1 << 2);
    /// `$`
    pub const STRING: Self = Self(1 << 3);
    /// `l`
    pub const LIST: Self = Self(1 << 4);
    /// `s`
    pub const SET: Self = Self(1 << 5);
    /// `h`
    pub const HASH: Self = Self(1 << 6);
    /// `z`
    pub const ZSET: Self = Self(1 << 7);
    /// `x`: a key is gone because its time was up.
    pub const EXPIRED: Self = Self(1 << 8);
    /// `e`: a key is gone because memory was short.
    pub const EVICTED: Self = Self(1 << 9);
    /// `t`
    pub const STREAM: Self = Self(1 << 10);
    /// `m`: a key was asked for that is not there.
    pub const MISSED: Self = Self(1 << 11);
    /// `d`: types that modules bring, of which there are none here.
    pub const MODULE: Self = Self(1 << 12);
    /// `n`: a key is there that was not.
    pub const NEW: Self = Self(1 << 13);

    /// Each with its letter, in the order in which `CONFIG GET` tells them.
    const LETTERS: [(Self, char); 14] = [
        (Self::GENERIC, 'g'),
        (Self::STRING, '$'),
        (Self::LIST, 'l'),
        (Self::SET, 's'),
        (Self::HASH, 'h'),
        (Self::ZSET, 'z'),
        (Self::EXPIRED, 'x'),
        (Self::EVICTED, 'e'),
        (Self::STREAM, 't'),
        (Self::MODULE, 'd'),
        (Self::NEW, 'n'),
        (Self::BY_KEY, 'K'),
        (Self::BY_EVENT, 'E'),
        (Self::MISSED, 'm'),
    ];
    /// This many of [`Self::LETTERS`] make up `A`.
    const ALL: usize = 10;

    fn all() -> Self {
        Self(Self::LETTERS[..Self::ALL].iter().fold(0, |sum, (class, _)| sum | class.0))
    }

    /// Reads the setting; None if a letter is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self::default(), |sum, letter| {
            let class = match letter {
                'A' => Some(Self::all()),
                _ => Self::LETTERS.iter().find(|(_, known)| *known == letter).map(|(class, _)| *class),
            };
            class.map(|class| Self(sum.0 | class.0))
        })
    }

    /// Whether all of these are among them.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::fmt::Display for Classes {
    /// The letters, `A` for all that it stands for.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.has(Self::all());
        if all {
            f.write_str("A")?;
        }
        let letters = Self::LETTERS.iter().enumerate().filter(|(at, _)| !(all && *at <= Self::ALL));
        letters.filter(|(_, (class, _))| self.has(*class)).try_for_each(|(_, (_, letter))| write!(f, "{letter}"))
    }
}

/// Something that happened to a key.
#[derive(Debug)]
pub struct Event {
    /// The key's database.
    pub db: usize,
    /// What happened.
    pub name: &'static str,
    /// To which key.
    pub key: SmallBytes,
}

/// Events that are not yet published.
#[derive(Debug, Default)]
pub struct Events {
    /// What is to be published.
    pub wanted: Classes,
    pending: Vec<Event>,
}

impl Events {
    /// Notes an event, if it is wanted.
    pub fn note(&mut self, class: Classes, name: &'static str, db: usize, key: &[u8]) {
        if self.wanted.has(class) && (self.wanted.has(Classes::BY_KEY) || self.wanted.has(Classes::BY_EVENT)) {
            self.pending.push(Event { db, name, key: SmallBytes::new(key) });
        }
    }

    /// Whether events wait to be published.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes what waits to be published.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_reads_back_as_redis_shows_it() {
        for (given, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kg$", "g$K"),
            ("KEAm", "AKEm"),
            ("KEAn", "AKE"),
            ("mKn", "nKm"),
            ("g$lshzxetdE", "AE"),
        ] {
            assert_eq!(Classes::parse(given).unwrap().to_string(), shown, "{given}");
        }
        assert_eq!(Classes::parse("KEq"), None);
    }
}
