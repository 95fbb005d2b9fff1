//! Registers stored as runs: up to 64 zeros in one byte, up to 16,384 in two, or up to four equal values in one.

use super::layout::{HEAD, REGISTERS, Registers, Unusable};

/// The runs of a HyperLogLog whose registers are all 0.
pub const EMPTY: [u8; 2] = [0x7f, 0xff];
/// The highest value that a run can hold.
const HIGHEST: u8 = 32;
/// The longest string that stores runs; beyond this, six bits per register are faster.
const LONGEST: usize = 3000;
/// The longest run of zeros in one byte.
const SHORT_ZEROS: usize = 64;
/// The longest run of a value other than 0.
const VALUES: usize = 4;
/// How many runs are examined for joining after a change.
const LOOKS: usize = 5;

/// The outcome of raising a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// It already had this value or a higher one.
    Same,
    /// It was raised.
    Changed,
    /// Runs can no longer hold the registers.
    TooLarge,
}

/// A run of registers with the same value.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The value of each register.
    value: u8,
    /// How many registers the run covers.
    length: usize,
    /// How many bytes encode the run.
    size: usize,
}

impl Run {
    fn read(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        Some(match first >> 6 {
            0 => Self { value: 0, length: usize::from(first & 63) + 1, size: 1 },
            1 => {
                let length = (usize::from(first & 63) << 8 | usize::from(*bytes.get(1)?)) + 1;
                Self { value: 0, length, size: 2 }
            }
            _ => Self { value: (first >> 2 & 31) + 1, length: usize::from(first & 3) + 1, size: 1 },
        })
    }

    fn write(value: u8, length: usize, out: &mut Vec<u8>) {
        match length {
            0 => {}
            _ if value > 0 => out.push(0x80 | (value - 1) << 2 | (length - 1) as u8),
            1..=SHORT_ZEROS => out.push((length - 1) as u8),
            _ => out.extend_from_slice(&[0x40 | ((length - 1) >> 8) as u8, (length - 1) as u8]),
        }
    }
}

/// Raises a register of a string that includes its header.
pub fn set(bytes: &mut Vec<u8>, register: usize, count: u8) -> Result<Raised, Unusable> {
    if count > HIGHEST {
        // No run can hold this value, so no register has reached it yet.
        return Ok(Raised::TooLarge);
    }
    let (mut at, mut first, mut before) = (HEAD, 0, HEAD);
    let run = loop {
        let run = Run::read(&bytes[at..]).ok_or(Unusable::Damaged)?;
        if register < first + run.length {
            break run;
        }
        before = at;
        at += run.size;
        first += run.length;
    };
    if run.value >= count {
        return Ok(Raised::Same);
    }
    let mut runs = Vec::with_capacity(5);
    Run::write(run.value, register - first, &mut runs);
    Run::write(count, 1, &mut runs);
    Run::write(run.value, first + run.length - 1 - register, &mut runs);
    if runs.len() > run.size && bytes.len() + runs.len() - run.size > LONGEST {
        return Ok(Raised::TooLarge);
    }
    bytes.splice(at..at + run.size, runs);
    join(bytes, before);
    Ok(Raised::Changed)
}

/// Joins neighbouring runs of the same value near a position that has changed.
fn join(bytes: &mut Vec<u8>, from: usize) {
    let mut at = from;
    for _ in 0..LOOKS {
        let Some(run) = bytes.get(at..).and_then(Run::read) else { return };
        let next = bytes.get(at + run.size..).and_then(Run::read);
        if let Some(next) = next
            && run.value > 0
            && next.value == run.value
            && run.length + next.length <= VALUES
        {
            let mut joined = Vec::with_capacity(1);
            Run::write(run.value, run.length + next.length, &mut joined);
            bytes.splice(at..at + 2, joined);
            continue;
        }
        at += run.size;
    }
}

/// Raises each register to its value in these runs, which must cover all registers.
pub fn merge(mut runs: &[u8], into: &mut Registers) -> Result<(), Unusable> {
    let mut first = 0;
    while !runs.is_empty() {
        let run = Run::read(runs).ok_or(Unusable::Damaged)?;
        let registers = into.get_mut(first..first + run.length).ok_or(Unusable::Damaged)?;
        if run.value > 0 {
            registers.iter_mut().for_each(|register| *register = (*register).max(run.value));
        }
        first += run.length;
        runs = &runs[run.size..];
    }
    if first == REGISTERS { Ok(()) } else { Err(Unusable::Damaged) }
}
