//! HyperLogLog: estimates the number of distinct elements to within about one per cent, in 12 KiB.
//!
//! It is a string in Redis's own format, so the same elements give the same bytes and the same
//! estimate: a header of sixteen bytes, which holds the last estimate, and 16,384 registers. While most
//! of the registers are 0, they are stored as runs (`sparse`); later each takes six bits (`dense`).

mod estimate;
mod hash;
mod layout;
mod sparse;

use hash::murmur;

pub use layout::{REGISTERS, Registers, Unusable};

use layout::{CHOICE, DENSE, HEAD, REST};

const MAGIC: &[u8] = b"HYLL";
const IS_DENSE: u8 = 0;
const IS_SPARSE: u8 = 1;
/// The bit that marks the estimate in the header as out of date.
const STALE: u8 = 0x80;

/// Creates an empty HyperLogLog.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4] = IS_SPARSE;
    bytes.extend_from_slice(&sparse::EMPTY);
    bytes
}

/// Checks by its header whether a string is a HyperLogLog.
pub fn check(bytes: &[u8]) -> Result<(), Unusable> {
    let fits = match bytes.get(4) {
        Some(&IS_DENSE) => bytes.len() == DENSE,
        Some(&IS_SPARSE) => bytes.len() >= HEAD,
        _ => false,
    };
    if fits && bytes.starts_with(MAGIC) { Ok(()) } else { Err(Unusable::NotOne) }
}

/// Whether the registers are dense.
pub fn is_dense(bytes: &[u8]) -> bool {
    bytes[4] == IS_DENSE
}

/// Returns the register of an element, and the minimum value that the register must hold.
fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let rest = (hash >> CHOICE) | 1 << REST;
    (hash as usize & (REGISTERS - 1), rest.trailing_zeros() as u8 + 1)
}

/// Adds an element to a string that was checked; returns whether this changed the string.
pub fn add(bytes: &mut Vec<u8>, element: &[u8]) -> Result<bool, Unusable> {
    let (register, count) = place(element);
    set(bytes, register, count)
}

/// Raises a register to at least `count`; returns whether this changed it.
pub fn set(bytes: &mut Vec<u8>, register: usize, count: u8) -> Result<bool, Unusable> {
    if is_dense(bytes) {
        return Ok(set_dense(bytes, register, count));
    }
    match sparse::set(bytes, register, count)? {
        sparse::Raised::Same => Ok(false),
        sparse::Raised::Changed => {
            make_stale(bytes);
            Ok(true)
        }
        sparse::Raised::TooLarge => {
            make_dense(bytes)?;
            set_dense(bytes, register, count);
            make_stale(bytes);
            Ok(true)
        }
    }
}

/// Converts the registers to the dense form, with six bits each.
pub fn make_dense(bytes: &mut Vec<u8>) -> Result<(), Unusable> {
    if is_dense(bytes) {
        return Ok(());
    }
    let mut registers = [0; REGISTERS];
    merge(bytes, &mut registers)?;
    let mut dense = vec![0; DENSE];
    dense[..HEAD].copy_from_slice(&bytes[..HEAD]);
    dense[4] = IS_DENSE;
    for (at, count) in registers.iter().enumerate().filter(|(_, count)| **count > 0) {
        put_dense(&mut dense, at, *count);
    }
    *bytes = dense;
    Ok(())
}

fn set_dense(bytes: &mut [u8], register: usize, count: u8) -> bool {
    let higher = count > get_dense(bytes, register);
    if higher {
        put_dense(bytes, register, count);
        make_stale(bytes);
    }
    higher
}

/// The byte where a register's six bits begin, and the bit within that byte, counted from the lowest.
fn position(register: usize) -> (usize, usize) {
    (HEAD + register * 6 / 8, register * 6 % 8)
}

fn get_dense(bytes: &[u8], register: usize) -> u8 {
    let (at, bit) = position(register);
    let two = u16::from(bytes[at]) | u16::from(bytes.get(at + 1).copied().unwrap_or(0)) << 8;
    (two >> bit) as u8 & 63
}

fn put_dense(bytes: &mut [u8], register: usize, count: u8) {
    let (at, bit) = position(register);
    let (mask, value) = (63u16 << bit, u16::from(count) << bit);
    bytes[at] = bytes[at] & !(mask as u8) | value as u8;
    if let Some(next) = bytes.get_mut(at + 1) {
        *next = *next & !((mask >> 8) as u8) | (value >> 8) as u8;
    }
}

/// Raises each register to its value in a string that was checked.
pub fn merge(bytes: &[u8], into: &mut Registers) -> Result<(), Unusable> {
    if !is_dense(bytes) {
        return sparse::merge(&bytes[HEAD..], into);
    }
    for (at, register) in into.iter_mut().enumerate() {
        *register = (*register).max(get_dense(bytes, at));
    }
    Ok(())
}

/// Estimates the number of distinct elements from the registers.
pub fn estimate(registers: &Registers) -> u64 {
    estimate::estimate(registers)
}

/// The estimate in a string's header, if it is up to date.
pub fn known(bytes: &[u8]) -> Option<u64> {
    let told = bytes[8..HEAD].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    (bytes[HEAD - 1] & STALE == 0).then_some(told)
}

/// Stores the estimate in the header.
pub fn note(bytes: &mut [u8], estimate: u64) {
    bytes[8..HEAD].copy_from_slice(&estimate.to_le_bytes());
}

/// Marks the estimate in the header as out of date.
pub fn make_stale(bytes: &mut [u8]) {
    bytes[HEAD - 1] |= STALE;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn registers(bytes: &[u8]) -> Registers {
        let mut registers = [0; REGISTERS];
        merge(bytes, &mut registers).unwrap();
        registers
    }

    #[test]
    fn the_estimate_is_near_the_truth() {
        let mut bytes = empty();
        for n in 1..=100_000u32 {
            add(&mut bytes, &n.to_le_bytes()).unwrap();
            if [10, 100, 1000, 10_000, 100_000].contains(&n) {
                let error = estimate(&registers(&bytes)) as f64 / f64::from(n) - 1.0;
                assert!(error.abs() < 0.03, "{n}: {error}");
            }
        }
        assert!(is_dense(&bytes));
    }

    proptest! {
        #[test]
        fn both_forms_hold_the_same_registers(steps in prop::collection::vec((0usize..REGISTERS, 1u8..34), 0..400)) {
            let (mut sparse, mut plain) = (empty(), [0; REGISTERS]);
            for (register, count) in steps {
                let higher = count > plain[register];
                prop_assert_eq!(set(&mut sparse, register, count).unwrap(), higher);
                plain[register] = plain[register].max(count);
            }
            prop_assert!(registers(&sparse) == plain);
            make_dense(&mut sparse).unwrap();
            prop_assert!(registers(&sparse) == plain);
        }

        #[test]
        fn no_bytes_break_it(tail in prop::collection::vec(any::<u8>(), 0..60), dense: bool, element: [u8; 4]) {
            let mut bytes = empty();
            bytes.truncate(HEAD);
            bytes.extend_from_slice(&tail);
            bytes[4] = u8::from(!dense);
            if check(&bytes).is_ok() {
                let mut all = [0; REGISTERS];
                let _ = merge(&bytes, &mut all).map(|()| estimate(&all));
                let _ = add(&mut bytes, &element);
                let _ = make_dense(&mut bytes);
            }
        }
    }
}
