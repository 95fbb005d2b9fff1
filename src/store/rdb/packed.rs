//! Collections that Redis keeps in one block and serializes as such.

use super::element::ELEMENT;
use super::reader::Reader;
use crate::store::error::{BAD_FORMAT, CommandError};
use crate::store::listpack::{self, Element};
use crate::store::number::parse_float;
use crate::store::small_bytes::SmallBytes;
use crate::store::value::{Collection, Hash, List, Set, Value};
use crate::store::zset::Zset;

/// The type of a list node that is one long string.
const PLAIN: u64 = 1;
/// The type of a list node that is a block.
const PACKED: u64 = 2;

/// Reads a block and validates it completely.
fn block(reader: &mut Reader) -> Result<Vec<u8>, CommandError> {
    let block = reader.string()?;
    if !listpack::is_valid(&block) {
        return Err(BAD_FORMAT);
    }
    reader.charge(listpack::count(&block).saturating_mul(ELEMENT))?;
    Ok(block)
}

/// The elements of a block in pairs.
fn pairs(block: &[u8]) -> Result<impl Iterator<Item = (Element<'_>, Element<'_>)>, CommandError> {
    let mut elements = listpack::iter(block);
    if !listpack::count(block).is_multiple_of(2) {
        return Err(BAD_FORMAT);
    }
    Ok(std::iter::from_fn(move || Some((elements.next()?, elements.next()?))))
}

/// Makes a value of a collection; fails if it is empty.
fn value<T: Collection>(collection: T) -> Result<Value, CommandError> {
    let value = collection.into_value();
    if value.elements() == 0 { Err(BAD_FORMAT) } else { Ok(value) }
}

pub fn quicklist(reader: &mut Reader) -> Result<Value, CommandError> {
    let mut list = List::default();
    for _ in 0..reader.length()? {
        match reader.length()? {
            PLAIN => {
                reader.charge(ELEMENT)?;
                list.push(false, SmallBytes::from(reader.string()?));
            }
            PACKED => {
                let block = block(reader)?;
                let items = listpack::iter(&block).map(|item| item.with(SmallBytes::new));
                items.for_each(|item| list.push(false, item));
            }
            _ => return Err(BAD_FORMAT),
        }
    }
    value(list)
}

pub fn intset(reader: &mut Reader) -> Result<Value, CommandError> {
    let bytes = reader.string()?;
    let (head, body) = bytes.split_at_checked(8).ok_or(BAD_FORMAT)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let (width, count) = (number(0), number(4));
    if ![2, 4, 8].contains(&width) || count.checked_mul(width) != Some(body.len()) {
        return Err(BAD_FORMAT);
    }
    reader.charge(count.saturating_mul(ELEMENT))?;
    let mut set = Set::default();
    for bytes in body.chunks_exact(width) {
        let raw = bytes.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let unused = 64 - 8 * width as u32;
        let member = ((raw << unused) as i64 >> unused).to_string();
        if !set.insert(member.as_bytes()) {
            return Err(BAD_FORMAT);
        }
    }
    value(set)
}

pub fn set(reader: &mut Reader) -> Result<Value, CommandError> {
    let (block, mut set) = (block(reader)?, Set::default());
    if listpack::iter(&block).all(|member| member.with(|member| set.insert(member))) {
        value(set)
    } else {
        Err(BAD_FORMAT)
    }
}

pub fn hash(reader: &mut Reader) -> Result<Value, CommandError> {
    let (block, mut hash) = (block(reader)?, Hash::default());
    for (field, value) in pairs(&block)? {
        if !field.with(|field| value.with(|value| hash.insert(field, value))) {
            return Err(BAD_FORMAT);
        }
    }
    value(hash)
}

pub fn zset(reader: &mut Reader) -> Result<Value, CommandError> {
    let (block, mut zset) = (block(reader)?, Zset::default());
    for (member, score) in pairs(&block)? {
        let score = score.with(parse_float).ok_or(BAD_FORMAT)?;
        if member.with(|member| zset.insert(member, score)).is_some() {
            return Err(BAD_FORMAT);
        }
    }
    value(zset)
}
