//! A sorted set: members with scores, found by name in O(1) and by rank or range in O(log n).
//!
//! The table of members is authoritative; [`ScoreIndex`] keeps their order, by their positions in the
//! table. The two change together, and only in this file.

use std::ops::Range;

use super::score_index::{Members, ScoreIndex};
use super::small_bytes::SmallBytes;
use super::undo::Recorder;

/// Up to this many members, Redis would use its compact form, which `OBJECT ENCODING` reports.
const COMPACT_LEN: usize = 128;
const COMPACT_MEMBER: usize = 64;

/// A set whose members are kept in the order of their scores, then of their bytes.
#[derive(Debug, Default, Clone)]
pub struct Zset {
    members: Members,
    ranks: ScoreIndex,
    heap: usize,
    outgrown: bool,
    /// The recorded changes, which can be undone.
    pub changes: Recorder<ZsetChange>,
}

/// How to undo a change of a sorted set.
#[derive(Debug)]
pub enum ZsetChange {
    /// Removes the last member; the flag says whether the set had outgrown its compact form before.
    Pop(bool),
    /// Resets the score of the member at a position.
    Score(usize, f64),
    /// Puts a member back at a position; the member that is there now moves to the end.
    PutBack(usize, SmallBytes, f64),
    /// Gives the set its compact form back.
    Compact,
}

impl Zset {
    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.get(member).copied()
    }

    /// Returns the member at a position; positions stay the same as long as no member is removed.
    pub fn at_position(&self, position: usize) -> Option<(&[u8], f64)> {
        self.members.get_index(position).map(|(member, score)| (&**member, *score))
    }

    /// Sets the score of a member; returns its old score.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        // Negative zero sorts and prints as zero.
        let score = score + 0.0;
        if let Some(position) = self.members.get_index_of(member) {
            let old = self.members[position];
            if old != score {
                self.ranks.remove(&self.members, old, member);
                self.members[position] = score;
                self.ranks.insert(&self.members, score, position as u32);
                self.changes.note(|| (ZsetChange::Score(position, old), 0));
            }
            return Some(old);
        }
        let had_outgrown = self.outgrown;
        let name = SmallBytes::new(member);
        self.heap += name.heap_size();
        let (position, _) = self.members.insert_full(name, score);
        self.ranks.insert(&self.members, score, position as u32);
        self.outgrown |= member.len() > COMPACT_MEMBER || self.members.len() > COMPACT_LEN;
        self.changes.note(|| (ZsetChange::Pop(had_outgrown), 0));
        None
    }

    /// Removes a member; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let position = self.members.get_index_of(member)?;
        let score = self.members[position];
        self.ranks.remove(&self.members, score, member);
        let last = self.members.len() - 1;
        if position != last
            && let Some((name, score)) = self.members.get_index(last)
        {
            self.ranks.moved(&self.members, *score, name, position as u32);
        }
        if let Some((name, _)) = self.members.swap_remove_index(position) {
            let freed = name.heap_size();
            self.heap -= freed;
            self.changes.note(|| (ZsetChange::PutBack(position, name, score), freed));
        }
        Some(score)
    }

    /// Undoes a change, which must be the last one.
    pub fn undo(&mut self, change: ZsetChange) {
        match change {
            ZsetChange::Pop(outgrown) => {
                if let Some((name, score)) = self.members.last() {
                    self.heap -= name.heap_size();
                    self.ranks.remove(&self.members, *score, name);
                    self.members.pop();
                }
                self.outgrown = outgrown;
            }
            ZsetChange::Score(position, old) => {
                if let Some((name, score)) = self.members.get_index(position) {
                    self.ranks.remove(&self.members, *score, name);
                    self.members[position] = old;
                    self.ranks.insert(&self.members, old, position as u32);
                }
            }
            ZsetChange::PutBack(position, name, score) => {
                self.heap += name.heap_size();
                let (last, _) = self.members.insert_full(name, score);
                self.ranks.insert(&self.members, score, last as u32);
                self.ranks.exchange(&self.members, position as u32, last as u32);
                self.members.swap_indices(position, last);
            }
            ZsetChange::Compact => self.outgrown = false,
        }
    }

    /// The number of members before this one.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.count_while(|s, m| s < score || (s == score && m < member)))
    }

    /// The number of leading members for which `before` holds.
    pub fn count_while(&self, before: impl FnMut(f64, &[u8]) -> bool) -> usize {
        self.ranks.partition_point(&self.members, before)
    }

    /// The members in a range of ranks, in order or in reverse.
    pub fn range(&self, ranks: Range<usize>, reverse: bool) -> RangeIter<'_> {
        let count = ranks.end.min(self.len()).saturating_sub(ranks.start);
        let positions: Box<dyn Iterator<Item = u32> + '_> = if count == 0 {
            Box::new(std::iter::empty())
        } else if reverse {
            Box::new(self.ranks.backward(ranks.start + count - 1))
        } else {
            Box::new(self.ranks.forward(ranks.start))
        };
        RangeIter { zset: self, positions, left: count }
    }

    /// All members in order.
    pub fn iter(&self) -> RangeIter<'_> {
        self.range(0..self.len(), false)
    }

    /// Marks the set as having outgrown its compact form.
    pub fn outgrow(&mut self) {
        if !std::mem::replace(&mut self.outgrown, true) {
            self.changes.note(|| (ZsetChange::Compact, 0));
        }
    }

    /// The name of the encoding that Redis would use for this set.
    pub fn encoding(&self) -> &'static str {
        if self.outgrown { "skiplist" } else { "listpack" }
    }

    /// An estimate of the bytes that the set takes.
    pub fn footprint(&self) -> usize {
        160 + self.ranks.len() * 75 + self.heap
    }
}

/// The members of a range, each with its score.
pub struct RangeIter<'a> {
    zset: &'a Zset,
    positions: Box<dyn Iterator<Item = u32> + 'a>,
    left: usize,
}

impl<'a> Iterator for RangeIter<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.zset.at_position(self.positions.next()? as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for RangeIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares every operation with a plain sorted list, with enough members for many chunks.
    #[test]
    fn ranks_and_ranges_agree_with_a_sorted_list() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut zset = Zset::default();
        let mut plain: Vec<(f64, Vec<u8>)> = Vec::new();
        for step in 0..20_000 {
            let member = format!("m{}", random.u32(0..3000)).into_bytes();
            let grow = step < 8000 || random.u32(0..3) == 0;
            plain.retain(|(_, name)| *name != member);
            if grow {
                let score = f64::from(random.i32(-20..20));
                zset.insert(&member, score);
                plain.push((score, member.clone()));
            } else {
                zset.remove(&member);
            }
            if step % 500 == 0 {
                plain.sort_by(|a, b| a.partial_cmp(b).unwrap());
                let order: Vec<_> = zset.iter().map(|(m, s)| (s, m.to_vec())).collect();
                assert_eq!(order, plain);
                let backward: Vec<_> = zset.range(0..plain.len(), true).collect();
                assert!(backward.iter().rev().map(|(m, _)| *m).eq(plain.iter().map(|p| &*p.1)));
                for (rank, (_, member)) in plain.iter().enumerate().step_by(37) {
                    assert_eq!(zset.rank(member), Some(rank));
                    assert_eq!(zset.range(rank..rank + 1, false).next().map(|(m, _)| m), Some(&**member));
                }
            }
        }
    }

    #[test]
    fn a_set_that_only_grows_upwards_keeps_its_ranks() {
        let mut zset = Zset::default();
        for i in 0..5000 {
            zset.insert(format!("{i}").as_bytes(), f64::from(i));
        }
        assert_eq!(zset.rank(b"4321"), Some(4321));
        assert_eq!(zset.range(4000..4002, false).map(|(m, _)| m).collect::<Vec<_>>(), [b"4000", b"4001"]);
    }
}
