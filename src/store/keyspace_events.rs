//! Keyspace events: what happens to keys, published according to `notify-keyspace-events`.
//!
//! Commands report what they did to a key. The events that the setting asks for are collected here and published when
//! the command ends: `__keyspace@<db>__:<key>` carries the event, `__keyevent@<db>__:<event>` the key.

use super::small_bytes::SmallBytes;

/// A set of event classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes(u16);

impl Classes {
    /// `K`: published under the key's name.
    pub const BY_KEY: Self = Self(1);
    /// `E`: published under the event's name.
    pub const BY_EVENT: Self = Self(1 << 1);
    /// `g`: events that keys of any type can have.
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
    /// `x`: a key has expired.
    pub const EXPIRED: Self = Self(1 << 8);
    /// `e`: a key was evicted because memory was short.
    pub const EVICTED: Self = Self(1 << 9);
    /// `t`
    pub const STREAM: Self = Self(1 << 10);
    /// `m`: a missing key was looked up.
    pub const MISSED: Self = Self(1 << 11);
    /// `d`: types defined by modules, which do not exist here.
    pub const MODULE: Self = Self(1 << 12);
    /// `n`: a new key was created.
    pub const NEW: Self = Self(1 << 13);

    /// All classes with their letters, in the order in which `CONFIG GET` shows them.
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
    /// How many of [`Self::LETTERS`], from the first on, make up `A`.
    const ALL: usize = 10;

    fn all() -> Self {
        Self(Self::LETTERS[..Self::ALL].iter().fold(0, |sum, (class, _)| sum | class.0))
    }

    /// Parses the setting; `None` if a letter is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self::default(), |sum, letter| {
            let class = match letter {
                'A' => Some(Self::all()),
                _ => Self::LETTERS.iter().find(|(_, known)| *known == letter).map(|(class, _)| *class),
            };
            class.map(|class| Self(sum.0 | class.0))
        })
    }

    /// Whether all classes of `other` are in this set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::fmt::Display for Classes {
    /// Writes the letters; `A` replaces the letters that it stands for.
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
pub struct KeyEvent {
    /// The key's database.
    pub db: usize,
    /// What happened.
    pub name: &'static str,
    /// The key that it happened to.
    pub key: SmallBytes,
}

/// Events that are not published yet.
#[derive(Debug, Default)]
pub struct Events {
    /// The classes of events to publish.
    pub wanted: Classes,
    pending: Vec<KeyEvent>,
}

impl Events {
    /// Notes an event, if it is wanted.
    pub fn note(&mut self, class: Classes, name: &'static str, db: usize, key: &[u8]) {
        if self.wanted.has(class) && (self.wanted.has(Classes::BY_KEY) || self.wanted.has(Classes::BY_EVENT)) {
            self.pending.push(KeyEvent { db, name, key: SmallBytes::new(key) });
        }
    }

    /// Whether no events are pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes the pending events.
    pub fn take(&mut self) -> Vec<KeyEvent> {
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
