//! Gives memory back after a crowd has come or left.
//!
//! A table keeps the size of its largest crowd, and the system's allocator keeps free pages that lie between
//! used ones. Neither grows without limit; both are returned once much of the memory is unused.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

/// A table with at most this capacity is never shrunk.
pub const SMALL: usize = 64;

/// Shrinks a table once less than a quarter of it is used. Call it after a removal.
pub fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > SMALL && map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}

/// Shrinks a set once less than a quarter of it is used. Call it after a removal.
pub fn shrink_set<K: Eq + Hash>(set: &mut HashSet<K>) {
    if set.capacity() > SMALL && set.len() < set.capacity() / 4 {
        set.shrink_to(set.len() * 2);
    }
}

/// Shrinks a queue once less than a quarter of it is used. Call it after a removal.
pub fn shrink_queue<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > SMALL && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    }
}

/// Returns free pages to the system, as far as its allocator can.
///
/// The allocator walks all free memory, and nobody can allocate meanwhile: with an embedded store of 310 MiB,
/// after half of its million keys had been deleted, requests stalled once for 11 to 16 ms.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: the signature is that of malloc_trim(3), which any thread may call at any time.
        #[expect(unsafe_code)]
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        settle_cache();
        malloc_trim(0);
    }
}

/// Makes the allocator's cache of the calling thread hold low addresses instead of those it happens to hold.
///
/// The cache keeps a few freed blocks of each small size, and `malloc_trim` neither empties it nor returns the pages
/// on which they lie: after a crowd, each may be the only block of its page. For each size more blocks are taken
/// than the cache holds, and given back lowest first, so that the cache takes the lowest, and the pages of the
/// others are free.
#[cfg(target_env = "gnu")]
fn settle_cache() {
    /// The sizes that the cache knows differ by 16 bytes, up to about 1 KiB.
    const STEP: usize = 16;
    const LARGEST: usize = 1032;
    /// The cache holds seven blocks of a size, and may fetch as many again when it is found empty.
    const BLOCKS: usize = 32;
    for size in (STEP + STEP / 2..=LARGEST).step_by(STEP) {
        let mut blocks: [Vec<u8>; BLOCKS] = std::array::from_fn(|_| Vec::with_capacity(size));
        blocks.sort_unstable_by_key(|block| block.as_ptr().addr());
        blocks.into_iter().for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_held_a_crowd_is_small_again_once_the_crowd_has_left_one_by_one() {
        const CROWD: usize = 20_000;
        let mut map: HashMap<_, _> = (0..CROWD).map(|n| (n, n)).collect();
        let mut set: HashSet<_> = (0..CROWD).collect();
        let mut queue: VecDeque<_> = (0..CROWD).collect();
        for left in (0..CROWD).rev() {
            map.remove(&left);
            set.remove(&left);
            queue.pop_back();
            shrink(&mut map);
            shrink_set(&mut set);
            shrink_queue(&mut queue);
            // A table's capacity is its next power of two, less an eighth.
            let bound = SMALL.max(left * 4) + SMALL;
            let capacities = [map.capacity(), set.capacity(), queue.capacity()];
            assert!(capacities.iter().all(|capacity| *capacity <= bound), "{capacities:?} with {left}");
        }
    }
}
