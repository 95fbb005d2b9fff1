//! Bits within a string: counting and finding them, and accessing integers of any width.
//!
//! Bit 0 is the highest bit of the first byte.

/// Counts the bits that are set in a range; both ends are included.
pub fn count(bytes: &[u8], first: usize, last: usize) -> usize {
    let (from, to) = (first / 8, last / 8);
    let Some(within) = bytes.get(from..=to) else { return 0 };
    let all: usize = within.chunks(8).map(ones).sum();
    // The bits of the first and the last byte that lie outside the range.
    let before = !(0xffu8 >> (first % 8));
    let after = (0xffu16 >> (last % 8 + 1)) as u8;
    all - (bytes[from] & before).count_ones() as usize - (bytes[to] & after).count_ones() as usize
}

fn ones(chunk: &[u8]) -> usize {
    match <[u8; 8]>::try_from(chunk) {
        Ok(eight) => u64::from_ne_bytes(eight).count_ones() as usize,
        Err(_) => chunk.iter().map(|byte| byte.count_ones() as usize).sum(),
    }
}

/// Finds the first bit equal to `wanted` in a range; both ends are included.
pub fn find(bytes: &[u8], wanted: bool, first: usize, last: usize) -> Option<usize> {
    let (from, to) = (first / 8, last / 8);
    let flip = if wanted { 0 } else { 0xff };
    let masked = |at: usize| {
        let mut byte = bytes.get(at).copied().unwrap_or(0) ^ flip;
        byte &= if at == from { 0xff >> (first % 8) } else { 0xff };
        byte & if at == to { !((0xffu16 >> (last % 8 + 1)) as u8) } else { 0xff }
    };
    let hit = |at: usize| (masked(at) != 0).then(|| at * 8 + masked(at).leading_zeros() as usize);
    if from == to {
        return hit(from);
    }
    let between = || bytes.get(from + 1..to)?.iter().position(|byte| *byte ^ flip != 0);
    hit(from).or_else(|| hit(from + 1 + between()?)).or_else(|| hit(to))
}

/// Reads an integer of `width` bits at bit `at`; bits beyond the end are 0.
pub fn get(bytes: &[u8], at: usize, width: u32, signed: bool) -> i64 {
    let mut value = 0u64;
    for bit in at..at + width as usize {
        let byte = bytes.get(bit / 8).copied().unwrap_or(0);
        value = value << 1 | u64::from(byte >> (7 - bit % 8) & 1);
    }
    let unused = 64 - width;
    if signed { (value << unused) as i64 >> unused } else { value as i64 }
}

/// Writes the lowest `width` bits of a value at bit `at`; they must lie within the bytes.
pub fn set(bytes: &mut [u8], at: usize, width: u32, value: u64) {
    for (index, bit) in (at..at + width as usize).enumerate() {
        let mask = 0x80 >> (bit % 8);
        let one = value >> (width as usize - 1 - index) & 1 == 1;
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte = if one { *byte | mask } else { *byte & !mask };
        }
    }
}

/// What happens to a number that does not fit its width.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// It wraps around.
    #[default]
    Wrap,
    /// It is clamped to the nearest limit.
    Saturate,
    /// It is not written.
    Fail,
}

/// Adds `more` to `value` and fits the sum into `width` bits; `None` if it does not fit and `overflow` is `Fail`.
pub fn fit(value: i64, more: i64, width: u32, signed: bool, overflow: Overflow) -> Option<i64> {
    let (value, low, high) = if signed {
        (i128::from(value), -(1i128 << (width - 1)), (1i128 << (width - 1)) - 1)
    } else {
        (i128::from(value as u64), 0, (1i128 << width) - 1)
    };
    let sum = value + i128::from(more);
    match overflow {
        _ if (low..=high).contains(&sum) => Some(sum as i64),
        Overflow::Fail => None,
        Overflow::Saturate => Some(sum.clamp(low, high) as i64),
        Overflow::Wrap => {
            let unused = 64 - width;
            let bits = (sum as u64) << unused;
            Some(if signed { bits as i64 >> unused } else { (bits >> unused) as i64 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 == 1)).collect()
    }

    proptest! {
        #[test]
        fn bits_are_counted_and_found_as_one_by_one(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(255u8), any::<u8>()], 1..40),
            ends in (0usize..320, 0usize..320),
            wanted: bool,
        ) {
            let bits = all(&bytes);
            let (first, last) = (ends.0 % bits.len(), ends.1 % bits.len());
            let (first, last) = (first.min(last), first.max(last));
            prop_assert_eq!(count(&bytes, first, last), bits[first..=last].iter().filter(|bit| **bit).count());
            let slow = (first..=last).find(|at| bits[*at] == wanted);
            prop_assert_eq!(find(&bytes, wanted, first, last), slow);
        }

        #[test]
        fn an_integer_that_is_set_is_read_again(at in 0usize..64, width in 1u32..=64, value: i64, signed: bool) {
            prop_assume!(signed || width < 64);
            let mut bytes = [0xa5; 16];
            let before = all(&bytes);
            let kept = fit(value, 0, width, signed, Overflow::Wrap).unwrap();
            set(&mut bytes, at, width, kept as u64);
            prop_assert_eq!(get(&bytes, at, width, signed), kept);
            let (after, end) = (all(&bytes), at + width as usize);
            prop_assert!(after[..at] == before[..at] && after[end..] == before[end..]);
        }
    }

    #[test]
    fn numbers_go_round_stop_or_fail_at_their_ends() {
        assert_eq!(fit(127, 1, 8, true, Overflow::Wrap), Some(-128));
        assert_eq!(fit(127, 1, 8, true, Overflow::Saturate), Some(127));
        assert_eq!(fit(127, 1, 8, true, Overflow::Fail), None);
        assert_eq!(fit(0, -1, 8, false, Overflow::Wrap), Some(255));
        assert_eq!(fit(i64::MIN, i64::MIN, 64, true, Overflow::Wrap), Some(0));
        assert_eq!(fit(i64::MAX, i64::MAX, 63, false, Overflow::Saturate), Some(i64::MAX));
    }
}
