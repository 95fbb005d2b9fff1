//! Redis's listpack: a sequence of strings and integers in one block of bytes, readable from either end.
//!
//! Streams are stored in listpacks, and `DUMP` writes them. A block is a header of six bytes (its
//! length and the number of elements), the elements, and an end byte. Each element states its length at
//! its front and, for reading backwards, at its end. Integers, and strings that are integers, take as
//! few bytes as they need. Reading never panics on bytes that are not a listpack.

use super::number::parse_int;

/// The size of the header: four bytes for the length, two for the number of elements.
pub const HEADER: usize = 6;
const END: u8 = 0xff;
/// From this many elements on, the header does not hold their number.
const UNCOUNTED: u16 = u16::MAX;
/// The length of the longest text that may be an integer.
const LONGEST_INTEGER: usize = 20;

/// An element of a listpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    /// An integer, or a string that is one.
    Int(i64),
    /// Any other string.
    Text(&'a [u8]),
}

impl Element<'_> {
    /// Returns the integer, if it is one.
    pub fn int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Text(_) => None,
        }
    }

    /// Passes the element to `take` as bytes.
    pub fn with<T>(self, take: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Int(number) => take(number.to_string().as_bytes()),
            Self::Text(bytes) => take(bytes),
        }
    }
}

/// Creates an empty block.
pub fn empty() -> Vec<u8> {
    vec![HEADER as u8 + 1, 0, 0, 0, 0, 0, END]
}

/// Appends a string, as an integer if it is one.
pub fn push(block: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= LONGEST_INTEGER
        && let Some(number) = parse_int(bytes)
    {
        return push_int(block, number);
    }
    block.pop();
    let start = block.len();
    match bytes.len() {
        length @ 0..64 => block.push(0x80 | length as u8),
        length @ 64..4096 => block.extend_from_slice(&[0xe0 | (length >> 8) as u8, length as u8]),
        length => {
            block.push(0xf0);
            block.extend_from_slice(&(length as u32).to_le_bytes());
        }
    }
    block.extend_from_slice(bytes);
    finish(block, start);
}

/// Appends an integer.
pub fn push_int(block: &mut Vec<u8>, number: i64) {
    block.pop();
    let start = block.len();
    encode_int(block, number);
    finish(block, start);
}

/// Replaces the element at `at` by an integer.
pub fn replace_int(block: &mut Vec<u8>, at: usize, number: i64) {
    let Some((_, next)) = read(block, at) else { return };
    let mut encoded = Vec::with_capacity(10);
    encode_int(&mut encoded, number);
    let length = encoded.len();
    push_back_length(&mut encoded, length);
    block.splice(at..next, encoded);
    set_length(block);
}

fn finish(block: &mut Vec<u8>, start: usize) {
    let length = block.len() - start;
    push_back_length(block, length);
    block.push(END);
    let count = u16::from_le_bytes([block[4], block[5]]);
    block[4..HEADER].copy_from_slice(&count.saturating_add(1).to_le_bytes());
    set_length(block);
}

fn set_length(block: &mut [u8]) {
    let length = block.len() as u32;
    block[..4].copy_from_slice(&length.to_le_bytes());
}

fn encode_int(block: &mut Vec<u8>, number: i64) {
    match number {
        0..=127 => block.push(number as u8),
        -4096..=4095 => block.extend_from_slice(&[0xc0 | ((number >> 8) & 0x1f) as u8, number as u8]),
        -0x8000..=0x7fff => {
            block.push(0xf1);
            block.extend_from_slice(&(number as i16).to_le_bytes());
        }
        -0x80_0000..=0x7f_ffff => {
            block.push(0xf2);
            block.extend_from_slice(&(number as i32).to_le_bytes()[..3]);
        }
        -0x8000_0000..=0x7fff_ffff => {
            block.push(0xf3);
            block.extend_from_slice(&(number as i32).to_le_bytes());
        }
        _ => {
            block.push(0xf4);
            block.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Appends the length of the element just written, in groups of seven bits.
fn push_back_length(block: &mut Vec<u8>, length: usize) {
    let groups = back_length_size(length);
    for group in (0..groups).rev() {
        let more = if group + 1 == groups { 0 } else { 0x80 };
        block.push((length >> (7 * group)) as u8 & 0x7f | more);
    }
}

fn back_length_size(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Returns the element at `at` and the position of the next; `None` at the end or where there is no element.
pub fn read(block: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let (element, length) = parse(block, at)?;
    let next = at + length + back_length_size(length);
    (next < block.len()).then_some((element, next))
}

/// Returns the element at `at` and its length, not counting the length stored at its end.
fn parse(block: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let rest = block.get(at..)?;
    let first = *rest.first()?;
    let signed = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    Some(match first {
        0..=0x7f => (Element::Int(i64::from(first)), 1),
        0x80..=0xbf => {
            let length = usize::from(first & 0x3f);
            (Element::Text(rest.get(1..1 + length)?), 1 + length)
        }
        0xc0..=0xdf => {
            let raw = i64::from(first & 0x1f) << 8 | i64::from(*rest.get(1)?);
            (Element::Int(if raw >= 4096 { raw - 8192 } else { raw }), 2)
        }
        0xe0..=0xef => {
            let length = usize::from(first & 0x0f) << 8 | usize::from(*rest.get(1)?);
            (Element::Text(rest.get(2..2 + length)?), 2 + length)
        }
        0xf0 => {
            let length = signed(rest.get(1..5)?) as usize;
            (Element::Text(rest.get(5..5 + length)?), 5 + length)
        }
        0xf1..=0xf4 => {
            let width = [2, 3, 4, 8][usize::from(first - 0xf1)];
            let raw = signed(rest.get(1..1 + width)?);
            let shift = 64 - 8 * width as u32;
            (Element::Int((raw << shift) as i64 >> shift), 1 + width)
        }
        _ => return None,
    })
}

/// Iterates over all elements, starting at the first.
pub fn iter(block: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let (element, next) = read(block, at)?;
        at = next;
        Some(element)
    })
}

/// How many elements there are.
pub fn count(block: &[u8]) -> usize {
    match block {
        [_, _, _, _, low, high, ..] if u16::from_le_bytes([*low, *high]) != UNCOUNTED => {
            usize::from(u16::from_le_bytes([*low, *high]))
        }
        _ => iter(block).count(),
    }
}

/// Whether bytes of unknown origin are a valid listpack throughout.
pub fn is_valid(block: &[u8]) -> bool {
    if block.len() < HEADER + 1 || block[block.len() - 1] != END {
        return false;
    }
    if u32::from_le_bytes([block[0], block[1], block[2], block[3]]) as usize != block.len() {
        return false;
    }
    let (mut at, mut elements) = (HEADER, 0usize);
    while at < block.len() - 1 {
        let Some((_, length)) = parse(block, at) else { return false };
        let mut end = Vec::with_capacity(5);
        push_back_length(&mut end, length);
        if !block[at + length..].starts_with(&end) {
            return false;
        }
        at += length + end.len();
        elements += 1;
    }
    let told = u16::from_le_bytes([block[4], block[5]]);
    at == block.len() - 1 && (told == UNCOUNTED || usize::from(told) == elements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_pushed_is_read_again(
            items in prop::collection::vec(prop_oneof![
                any::<i64>().prop_map(|number| number.to_string().into_bytes()),
                (-5000i64..5000).prop_map(|number| number.to_string().into_bytes()),
                prop::collection::vec(any::<u8>(), 0..70),
                (0usize..20_000).prop_map(|length| vec![b'x'; length]),
            ], 0..20),
        ) {
            let mut block = empty();
            items.iter().for_each(|item| push(&mut block, item));
            prop_assert!(is_valid(&block));
            prop_assert_eq!(count(&block), items.len());
            let read: Vec<Vec<u8>> = iter(&block).map(|element| element.with(<[u8]>::to_vec)).collect();
            prop_assert_eq!(read, items);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..60), at in 0usize..70) {
            let _ = (is_valid(&bytes), read(&bytes, at), iter(&bytes).count(), count(&bytes));
        }
    }
}
