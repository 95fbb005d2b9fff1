//! Scripts, by the SHA-1 of their sources.
//!
//! Scripts that were only run (`EVAL`) are forgotten when others are run, the least recently run first, as in
//! Redis since version 7.4. Scripts that were loaded (`SCRIPT LOAD`) stay until there are too many of them; then
//! all scripts are forgotten together.

use std::collections::{BTreeMap, HashMap};

use sha1::{Digest, Sha1};

use super::header::Header;
use crate::store::number::hex;
use crate::store::small_bytes::SmallBytes;

/// How many scripts that were only run are kept.
const MOST_RUN: usize = 500;
/// Once this many scripts are loaded, loading another first forgets them all, so that a client that loads a new
/// one each time does not fill the memory.
const MOST: usize = 10_000;
/// The same limit for their total length, in bytes.
const MOST_BYTES: usize = 64 << 20;
/// The memory that a script uses besides its source, in the tables that contain it.
const OVERHEAD: usize = 40 + 3 * size_of::<SmallBytes>() + size_of::<Script>();

/// One script.
#[derive(Debug)]
pub struct Script {
    /// Its source.
    pub source: SmallBytes,
    /// The header in its first line, if it has one.
    pub header: Option<Header>,
    /// When it was last run, as a count of runs; `None` if it was loaded and stays.
    run: Option<u64>,
}

/// Scripts, by the lowercase hexadecimal SHA-1 of their source.
#[derive(Debug, Default)]
pub struct Scripts {
    sources: HashMap<SmallBytes, Script>,
    /// Scripts that were only run, the least recently run first.
    runs: BTreeMap<u64, SmallBytes>,
    last: u64,
    bytes: usize,
}

impl Scripts {
    /// Keeps a script under its SHA-1. If `loaded` is set, it stays.
    pub fn insert(&mut self, name: &[u8], source: &[u8], header: Option<Header>, loaded: bool) {
        if !self.sources.contains_key(name) {
            self.bytes += source.len() + OVERHEAD;
            self.last += 1;
            self.runs.insert(self.last, SmallBytes::new(name));
            let script = Script { source: SmallBytes::new(source), header, run: Some(self.last) };
            self.sources.insert(SmallBytes::new(name), script);
        }
        if loaded
            && let Some(script) = self.sources.get_mut(name)
            && let Some(run) = script.run.take()
        {
            self.runs.remove(&run);
        }
    }

    /// Notes that a script is run.
    pub fn note_run(&mut self, name: &[u8]) {
        if let Some(run) = self.sources.get_mut(name).and_then(|script| script.run.as_mut())
            && let Some(name) = self.runs.remove(run)
        {
            self.last += 1;
            *run = self.last;
            self.runs.insert(self.last, name);
        }
    }

    /// Removes the least recently run script, if there are too many.
    pub fn forget_one(&mut self) -> Option<SmallBytes> {
        if self.runs.len() <= MOST_RUN && self.bytes <= MOST_BYTES {
            return None;
        }
        let (_, name) = self.runs.pop_first()?;
        if let Some(script) = self.sources.remove(&name) {
            self.bytes -= script.source.len() + OVERHEAD;
        }
        Some(name)
    }

    /// Finds a script by its name.
    pub fn get(&self, name: &[u8]) -> Option<&Script> {
        self.sources.get(name)
    }

    /// Forgets all scripts.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many scripts there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// The memory that the scripts use, in bytes.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Whether one more loaded script of this length is too much. Scripts that were only run do not add to the
    /// number.
    pub fn is_full(&self, length: usize) -> bool {
        self.sources.len() - self.runs.len() >= MOST || self.bytes + length > MOST_BYTES.max(length)
    }
}

/// Returns the SHA-1 of some bytes in lowercase hexadecimal.
pub fn sha1_hex(bytes: &[u8]) -> String {
    hex(&Sha1::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> String {
        format!("{n:040}")
    }

    #[test]
    fn of_those_that_were_only_run_the_last_are_kept_and_those_that_were_loaded_all() {
        let mut scripts = Scripts::default();
        for n in 0..1000 {
            scripts.insert(name(n).as_bytes(), b"return 1", None, n % 2 == 0);
            scripts.note_run(name(1).as_bytes());
            assert_eq!(scripts.forget_one(), None);
        }
        for n in 1000..1500 {
            scripts.insert(name(n).as_bytes(), b"return 1", None, false);
            scripts.note_run(name(1).as_bytes());
            assert_eq!(scripts.forget_one().map(|gone| gone.len()), Some(40));
            assert_eq!(scripts.forget_one(), None);
        }
        let kept = |n: usize| scripts.get(name(n).as_bytes()).is_some();
        assert!((0..1000).step_by(2).all(kept) && kept(1) && !kept(3) && kept(1499));
        assert_eq!((scripts.len(), scripts.memory()), (1000, 1000 * (8 + OVERHEAD)));
        scripts.insert(name(1).as_bytes(), b"return 1", None, true);
        (0..1000).for_each(|_| scripts.note_run(name(1).as_bytes()));
        assert_eq!(scripts.runs.len(), 499);
    }

    #[test]
    fn long_scripts_that_were_only_run_go_earlier() {
        let (mut scripts, long) = (Scripts::default(), vec![b' '; MOST_BYTES / 4]);
        for n in 0..8 {
            scripts.insert(name(n).as_bytes(), &long, None, false);
            while scripts.forget_one().is_some() {}
        }
        assert!(scripts.len() == 3 && scripts.memory() <= MOST_BYTES && scripts.get(name(7).as_bytes()).is_some());
    }
}
