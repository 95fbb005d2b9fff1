//! Drawing at random.

/// Draws positions out of `len`: up to `count` different ones, or exactly `-count` with repetition.
pub fn draw(count: i64, len: usize) -> Vec<usize> {
    if count < 0 {
        return (0..count.unsigned_abs()).map(|_| fastrand::usize(0..len)).collect();
    }
    let count = usize::try_from(count).unwrap_or(len).min(len);
    if count == len {
        return (0..len).collect();
    }
    // Floyd's way: every set of positions is equally likely, and nothing of size `len` is made.
    let mut chosen = indexmap::IndexSet::with_capacity(count);
    for upper in len - count..len {
        let position = fastrand::usize(0..=upper);
        if !chosen.insert(position) {
            chosen.insert(upper);
        }
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn draws_are_distinct_unless_repetition_is_asked_for() {
        for _ in 0..100 {
            let mut drawn = draw(5, 9);
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len(), 5);
        }
        assert_eq!(draw(-20, 3).len(), 20);
        assert_eq!(draw(20, 3).len(), 3);
    }
}
