//! The order of a sorted set: which member has which rank.
//!
//! Entries are kept in order, in chunks of up to [`CHUNK`], with a Fenwick tree over the chunks' lengths. So the rank
//! of an entry, or the entry at a rank, is found in O(log n), and an insertion moves only the tail of one chunk. An
//! entry is a score and its member's position in the set's table, twelve bytes in all. Members are compared only where
//! scores tie, so every call takes the table as an argument.

use std::cmp::Ordering;

use indexmap::IndexMap;

use super::small_bytes::SmallBytes;

/// Members and their scores, in a table with stable lookups by position.
pub type Members = IndexMap<SmallBytes, f64>;

const CHUNK: usize = 256;
const SPARSE: usize = 48;

#[derive(Debug, Default, Clone)]
struct Chunk {
    scores: Vec<f64>,
    positions: Vec<u32>,
}

/// A sequence of (score, member position) entries that can be searched by rank; see the module's text.
#[derive(Debug, Default, Clone)]
pub struct ScoreIndex {
    chunks: Vec<Chunk>,
    /// A Fenwick tree over the chunks' lengths, its first slot unused.
    lengths: Vec<u32>,
    len: usize,
}

fn order(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(b.1))
}

fn member(members: &Members, position: u32) -> &[u8] {
    members.get_index(position as usize).map_or(&[], |(member, _)| member)
}

impl ScoreIndex {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of leading entries for which `before` holds; once it fails, it must fail for all that follow.
    pub fn partition_point(&self, members: &Members, mut before: impl FnMut(f64, &[u8]) -> bool) -> usize {
        let (chunk, offset) = self.locate(members, &mut before);
        self.prefix(chunk) + offset
    }

    /// Adds an entry that is not there yet; its member must be at `position` in the table.
    pub fn insert(&mut self, members: &Members, score: f64, position: u32) {
        let name = member(members, position);
        let (chunk, offset) = self.locate(members, &mut |s, m| order((s, m), (score, name)) == Ordering::Less);
        let (chunk, offset) = match chunk.checked_sub(1) {
            // The place before a chunk's first entry is also the end of the previous chunk, which may have room.
            Some(before) if offset == 0 && self.chunks[before].scores.len() < CHUNK => {
                (before, self.chunks[before].scores.len())
            }
            _ => (chunk, offset),
        };
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
            self.recount();
        }
        let target = &mut self.chunks[chunk];
        target.scores.insert(offset, score);
        target.positions.insert(offset, position);
        self.len += 1;
        if target.scores.len() > CHUNK {
            self.split(chunk);
        } else {
            self.add(chunk, 1);
        }
    }

    /// Removes the entry of `name`, which must be in the table and be indexed under `score`.
    pub fn remove(&mut self, members: &Members, score: f64, name: &[u8]) {
        let (chunk, offset) = self.locate(members, &mut |s, m| order((s, m), (score, name)) == Ordering::Less);
        let target = &mut self.chunks[chunk];
        target.scores.remove(offset);
        target.positions.remove(offset);
        self.len -= 1;
        let len = target.scores.len();
        if len == 0 || (len < SPARSE && self.merge(chunk)) {
            self.chunks.retain(|chunk| !chunk.scores.is_empty());
            self.recount();
        } else {
            self.add(chunk, -1);
        }
    }

    /// Records that `name` is now at another position in the table.
    pub fn moved(&mut self, members: &Members, score: f64, name: &[u8], position: u32) {
        let (chunk, offset) = self.find(members, score, name);
        self.chunks[chunk].positions[offset] = position;
    }

    /// Records that two members are about to swap their positions in the table.
    pub fn exchange(&mut self, members: &Members, one: u32, other: u32) {
        // Look up both before changing either, while the table and the order agree.
        let [(chunk, offset), (other_chunk, other_offset)] = [one, other].map(|position| {
            let score = members.get_index(position as usize).map_or(0.0, |(_, score)| *score);
            self.find(members, score, member(members, position))
        });
        self.chunks[chunk].positions[offset] = other;
        self.chunks[other_chunk].positions[other_offset] = one;
    }

    fn find(&self, members: &Members, score: f64, name: &[u8]) -> (usize, usize) {
        self.locate(members, &mut |s, m| order((s, m), (score, name)) == Ordering::Less)
    }

    /// Member positions from `rank` on, in ascending order.
    pub fn forward(&self, rank: usize) -> impl Iterator<Item = u32> + '_ {
        let (chunk, offset) = self.seek(rank).unwrap_or((self.chunks.len(), 0));
        let tail = self.chunks.get(chunk).map_or(&[][..], |chunk| &chunk.positions[offset..]);
        let rest = self.chunks.get(chunk + 1..).unwrap_or(&[]);
        tail.iter().chain(rest.iter().flat_map(|chunk| &chunk.positions)).copied()
    }

    /// Member positions from `rank` down to the first.
    pub fn backward(&self, rank: usize) -> impl Iterator<Item = u32> + '_ {
        let (head, before): (&[u32], &[Chunk]) = match self.seek(rank) {
            Some((chunk, offset)) => (&self.chunks[chunk].positions[..=offset], &self.chunks[..chunk]),
            None => (&[], &[]),
        };
        let before = before.iter().rev().flat_map(|chunk| chunk.positions.iter().rev());
        head.iter().rev().chain(before).copied()
    }

    /// The chunk and offset of the first entry for which `before` fails.
    fn locate(&self, members: &Members, before: &mut impl FnMut(f64, &[u8]) -> bool) -> (usize, usize) {
        let after = self.chunks.partition_point(|chunk| before(chunk.scores[0], member(members, chunk.positions[0])));
        let Some(chunk) = after.checked_sub(1) else {
            return (0, 0);
        };
        let found = &self.chunks[chunk];
        let (mut low, mut high) = (1, found.scores.len());
        while low < high {
            let middle = (low + high) / 2;
            if before(found.scores[middle], member(members, found.positions[middle])) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == found.scores.len() && after < self.chunks.len() {
            return (after, 0);
        }
        (chunk, low)
    }

    /// Halves an overfull chunk. The last chunk stays full instead, as it may grow at its end like a queue.
    fn split(&mut self, chunk: usize) {
        let last = chunk + 1 == self.chunks.len();
        let full = &mut self.chunks[chunk];
        let at = if last { CHUNK } else { CHUNK / 2 };
        let new = Chunk { scores: full.scores.split_off(at), positions: full.positions.split_off(at) };
        full.scores.shrink_to_fit();
        full.positions.shrink_to_fit();
        self.chunks.insert(chunk + 1, new);
        self.recount();
    }

    /// Merges a sparse chunk with its neighbour if both fit into half a chunk; returns whether it did.
    fn merge(&mut self, chunk: usize) -> bool {
        let neighbour = if chunk > 0 { chunk - 1 } else { chunk + 1 };
        let (low, high) = (chunk.min(neighbour), chunk.max(neighbour));
        if high >= self.chunks.len() || self.chunks[low].scores.len() + self.chunks[high].scores.len() > CHUNK / 2 {
            return false;
        }
        let mut upper = std::mem::take(&mut self.chunks[high]);
        self.chunks[low].scores.append(&mut upper.scores);
        self.chunks[low].positions.append(&mut upper.positions);
        true
    }

    fn recount(&mut self) {
        self.lengths.clear();
        self.lengths.resize(self.chunks.len() + 1, 0);
        for index in 1..self.lengths.len() {
            self.lengths[index] += self.chunks[index - 1].scores.len() as u32;
            let parent = index + (index & index.wrapping_neg());
            if parent < self.lengths.len() {
                self.lengths[parent] += self.lengths[index];
            }
        }
    }

    fn add(&mut self, chunk: usize, change: i32) {
        let mut index = chunk + 1;
        while index < self.lengths.len() {
            self.lengths[index] = self.lengths[index].wrapping_add_signed(change);
            index += index & index.wrapping_neg();
        }
    }

    fn prefix(&self, chunk: usize) -> usize {
        let (mut index, mut sum) = (chunk, 0);
        while index > 0 {
            sum += self.lengths[index] as usize;
            index -= index & index.wrapping_neg();
        }
        sum
    }

    fn seek(&self, rank: usize) -> Option<(usize, usize)> {
        if rank >= self.len {
            return None;
        }
        let (mut chunk, mut left) = (0, rank);
        let mut step = self.lengths.len().next_power_of_two();
        while step > 0 {
            if let Some(&length) = self.lengths.get(chunk + step)
                && length as usize <= left
            {
                chunk += step;
                left -= length as usize;
            }
            step /= 2;
        }
        Some((chunk, left))
    }
}
