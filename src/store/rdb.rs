//! Redis's own format for a value, written by `DUMP` and read by `RESTORE`.
//!
//! A payload is a type, the value, the version of the format in two bytes, and a checksum of all that
//! in eight bytes. Any Redis from 7.0 on can read what is written here. Whatever Redis 7 writes can be
//! read here, and nothing in it is trusted: no length, no count, and no claim that a block is valid.

mod checksum;
mod compressed;
mod element;
mod packed;
mod reader;
mod streams;
mod writer;

use checksum::checksum;
use element::ELEMENT;
use reader::Reader;
use writer::Writer;

use super::error::{BAD_CHECKSUM, BAD_FORMAT, CommandError};
use super::small_bytes::SmallBytes;
use super::value::{Collection, Hash, List, Set, Value};
use super::zset::Zset;

/// The version that is written, which is that of Redis 7.0.
const VERSION: u16 = 10;
/// The highest version that is accepted, provided that its types are known.
const NEWEST: u16 = 12;
/// The size of the version and the checksum, in bytes.
const FOOT: usize = 10;
/// The numbers of the value types in the format.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const HASH: u8 = 4;
    pub const ZSET: u8 = 5;
    pub const INTSET: u8 = 11;
    pub const STREAM_1: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const QUICKLIST: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
}

/// Serializes a value as a payload.
pub fn dump(value: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    match value {
        Value::Int(_) | Value::Text(_) | Value::Growing(_) => {
            writer.byte(kind::STRING);
            writer.string(&value.as_string().unwrap_or_default());
        }
        Value::List(list) => {
            writer.byte(kind::LIST);
            writer.length(list.len() as u64);
            list.items.iter().for_each(|item| writer.string(item));
        }
        Value::Set(set) => {
            writer.byte(kind::SET);
            writer.length(set.len() as u64);
            set.iter().for_each(|member| writer.string(member));
        }
        Value::Hash(hash) => {
            writer.byte(kind::HASH);
            writer.length(hash.len() as u64);
            hash.iter().for_each(|(field, value)| {
                writer.string(field);
                writer.string(value);
            });
        }
        Value::Zset(zset) => {
            writer.byte(kind::ZSET);
            writer.length(zset.len() as u64);
            zset.iter().for_each(|(member, score)| {
                writer.string(member);
                writer.raw(&score.to_le_bytes());
            });
        }
        Value::Stream(stream) => {
            writer.byte(kind::STREAM_2);
            streams::write(stream, &mut writer);
        }
    }
    let mut bytes = writer.bytes;
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
    bytes
}

/// Restores the value in a payload, which may take up to `memory` bytes.
pub fn restore(payload: &[u8], memory: usize) -> Result<Value, CommandError> {
    let body = payload.len().checked_sub(FOOT).ok_or(BAD_CHECKSUM)?;
    let (body, foot) = payload.split_at(body);
    let version = u16::from_le_bytes([foot[0], foot[1]]);
    let told = foot[2..].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let summed = &payload[..body.len() + 2];
    if version > NEWEST || told != checksum(summed) {
        return Err(BAD_CHECKSUM);
    }
    let mut reader = Reader::new(body, memory);
    let value = read(&mut reader)?;
    if reader.is_at_end() { Ok(value) } else { Err(BAD_FORMAT) }
}

fn read(reader: &mut Reader) -> Result<Value, CommandError> {
    match reader.byte()? {
        kind::STRING => Ok(Value::string(&reader.string()?)),
        kind::LIST => collect(reader, 1, |list: &mut List, items| {
            items.iter().for_each(|item| list.push(false, SmallBytes::new(item)));
            true
        }),
        kind::SET => collect(reader, 1, |set: &mut Set, items| set.insert(&items[0])),
        kind::HASH => collect(reader, 2, |hash: &mut Hash, items| hash.insert(&items[0], &items[1])),
        kind::ZSET => zset(reader),
        kind::QUICKLIST => packed::quicklist(reader),
        kind::INTSET => packed::intset(reader),
        kind::SET_LISTPACK => packed::set(reader),
        kind::HASH_LISTPACK => packed::hash(reader),
        kind::ZSET_LISTPACK => packed::zset(reader),
        kind::STREAM_1 => streams::read(reader, 1),
        kind::STREAM_2 => streams::read(reader, 2),
        kind::STREAM_3 => streams::read(reader, 3),
        _ => Err(BAD_FORMAT),
    }
}

/// Reads a collection with `strings` strings per element; `add` returns whether the element is valid.
fn collect<T: Collection>(
    reader: &mut Reader,
    strings: usize,
    add: impl Fn(&mut T, &[Vec<u8>]) -> bool,
) -> Result<Value, CommandError> {
    let mut collection = T::default();
    let count = reader.length()?;
    if count == 0 {
        return Err(BAD_FORMAT);
    }
    for _ in 0..count {
        reader.charge(ELEMENT)?;
        let items = (0..strings).map(|_| reader.string()).collect::<Result<Vec<_>, _>>()?;
        if !add(&mut collection, &items) {
            return Err(BAD_FORMAT);
        }
    }
    Ok(collection.into_value())
}

fn zset(reader: &mut Reader) -> Result<Value, CommandError> {
    let mut zset = Zset::default();
    let count = reader.length()?;
    for _ in 0..count {
        reader.charge(ELEMENT)?;
        let member = reader.string()?;
        let score = f64::from_le_bytes(reader.array()?);
        if score.is_nan() || zset.insert(&member, score).is_some() {
            return Err(BAD_FORMAT);
        }
    }
    if count == 0 { Err(BAD_FORMAT) } else { Ok(zset.into_value()) }
}

#[cfg(test)]
#[path = "rdb_tests.rs"]
mod tests;
