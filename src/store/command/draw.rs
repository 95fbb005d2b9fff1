//! Drawing random elements.

use crate::store::args::int;
use crate::store::error::{BAD_COUNT, CommandError};

/// The most elements that may be drawn at once with repetition, since all of them go into one reply.
const MOST_REPEATED: i64 = 10_000_000;

/// An iterator over the positions drawn.
pub enum Draw {
    /// Distinct positions.
    Distinct(std::vec::IntoIter<usize>),
    /// How many positions are left to draw, and how many there are to draw from.
    Repeated(usize, usize),
}

impl Iterator for Draw {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Distinct(positions) => positions.next(),
            Self::Repeated(left, len) => {
                *left = left.checked_sub(1)?;
                Some(fastrand::usize(0..*len))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Distinct(positions) => positions.size_hint(),
            Self::Repeated(left, _) => (*left, Some(*left)),
        }
    }
}

impl ExactSizeIterator for Draw {}

/// Parses the number of elements to draw.
pub fn draw_count(arg: &[u8]) -> Result<i64, CommandError> {
    match int(arg)? {
        i64::MIN => Err(BAD_COUNT),
        count => Ok(count),
    }
}

/// Draws positions below `len`, which must not be 0: up to `count` distinct ones, or exactly `-count` with
/// repetition if `count` is negative.
pub fn draw(count: i64, len: usize) -> Result<Draw, CommandError> {
    if count < -MOST_REPEATED {
        return Err(BAD_COUNT);
    }
    if count < 0 {
        return Ok(Draw::Repeated(count.unsigned_abs() as usize, len));
    }
    let count = usize::try_from(count).unwrap_or(len).min(len);
    if count == len {
        return Ok(Draw::Distinct((0..len).collect::<Vec<_>>().into_iter()));
    }
    // Floyd's algorithm: every set of positions is equally likely, and nothing of size `len` is allocated.
    let mut chosen = indexmap::IndexSet::with_capacity(count);
    for upper in len - count..len {
        let position = fastrand::usize(0..=upper);
        if !chosen.insert(position) {
            chosen.insert(upper);
        }
    }
    Ok(Draw::Distinct(chosen.into_iter().collect::<Vec<_>>().into_iter()))
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn draws_are_distinct_unless_repetition_is_asked_for() {
        for _ in 0..100 {
            let mut drawn: Vec<usize> = draw(5, 9).unwrap().collect();
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len(), 5);
        }
        assert_eq!(draw(-20, 3).unwrap().count(), 20);
        assert_eq!(draw(20, 3).unwrap().count(), 3);
    }

    #[test]
    fn a_huge_count_is_refused_or_costs_nothing_until_it_is_drawn() {
        for count in [i64::MIN, i64::MIN + 1, -1_000_000_000] {
            assert!(draw(count, 3).is_err());
        }
        assert_eq!(draw(i64::MAX, 3).unwrap().count(), 3);
    }
}
