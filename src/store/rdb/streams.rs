//! Streams in the format: their blocks as they are, and their groups.

use super::element::ELEMENT;
use super::reader::Reader;
use super::writer::Writer;
use crate::store::error::{BAD_FORMAT, CommandError};
use crate::store::stream::{Group, Id, Pending, Stream};
use crate::store::value::{Collection, Value};

/// A pending entry takes more memory than other elements, because its consumer refers to it too.
const PENDING: usize = 2 * ELEMENT;
/// The most bytes of memory that a consumer or a group takes besides its name.
const NAMED: usize = 5 * ELEMENT;

pub fn write(stream: &Stream, writer: &mut Writer) {
    let entries = &stream.entries;
    writer.length(entries.nodes().len() as u64);
    for node in entries.nodes() {
        writer.length(16);
        raw_id(node.first, writer);
        writer.length(node.block().len() as u64);
        writer.raw(node.block());
    }
    writer.length(entries.len());
    for id in [entries.last, entries.first, entries.max_deleted] {
        write_id(id, writer);
    }
    writer.length(entries.added);
    writer.length(stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        writer.string(name);
        write_id(group.last, writer);
        writer.length(group.read.unwrap_or(u64::MAX));
        write_group(group, writer);
    }
}

fn write_group(group: &Group, writer: &mut Writer) {
    writer.length(group.pending().len() as u64);
    for (id, pending) in group.pending() {
        raw_id(*id, writer);
        writer.raw(&pending.delivered.to_le_bytes());
        writer.length(pending.count);
    }
    writer.length(group.consumers().len() as u64);
    for (_, consumer) in group.consumers() {
        writer.string(&consumer.name);
        writer.raw(&consumer.seen.to_le_bytes());
        writer.length(consumer.pending.len() as u64);
        consumer.pending.iter().for_each(|id| raw_id(*id, writer));
    }
}

fn write_id(id: Id, writer: &mut Writer) {
    writer.length(id.ms);
    writer.length(id.seq);
}

fn raw_id(id: Id, writer: &mut Writer) {
    writer.raw(&id.ms.to_be_bytes());
    writer.raw(&id.seq.to_be_bytes());
}

/// Reads a stream in this version of the format.
pub fn read(reader: &mut Reader, form: u8) -> Result<Value, CommandError> {
    let mut stream = Stream::default();
    for _ in 0..reader.length()? {
        reader.charge(ELEMENT)?;
        let name = reader.string()?;
        let mut key = Reader::new(&name, usize::MAX);
        let first = read_raw_id(&mut key)?;
        if !key.is_at_end() || !stream.entries.append_block(first, reader.string()?) {
            return Err(BAD_FORMAT);
        }
    }
    let length = reader.length()?;
    let entries = &mut stream.entries;
    let newest = entries.newest().map_or(Id::MIN, |entry| entry.id);
    entries.last = read_id(reader)?;
    (entries.max_deleted, entries.added) = (Id::MIN, length);
    if form >= 2 {
        read_id(reader)?;
        entries.max_deleted = read_id(reader)?;
        entries.added = reader.length()?;
    }
    let told_well = entries.last >= newest && entries.last >= entries.max_deleted && entries.added >= length;
    if length != entries.len() || !told_well {
        return Err(BAD_FORMAT);
    }
    for _ in 0..reader.length()? {
        reader.charge(NAMED)?;
        let (name, last) = (reader.string()?, read_id(reader)?);
        let read = if form >= 2 { Some(reader.length()?).filter(|read| *read != u64::MAX) } else { None };
        let mut group = Group::new(last, read);
        read_group(reader, &mut group, form)?;
        if !stream.add_group(&name, group) {
            return Err(BAD_FORMAT);
        }
    }
    Ok(stream.into_value())
}

fn read_group(reader: &mut Reader, group: &mut Group, form: u8) -> Result<(), CommandError> {
    // The consumers, which come later, say which entries are theirs.
    let mut pending = std::collections::BTreeMap::new();
    for _ in 0..reader.length()? {
        reader.charge(PENDING)?;
        let (id, delivered) = (read_raw_id(reader)?, u64::from_le_bytes(reader.array()?));
        if pending.insert(id, (delivered, reader.length()?)).is_some() {
            return Err(BAD_FORMAT);
        }
    }
    for _ in 0..reader.length()? {
        reader.charge(NAMED)?;
        let (name, seen) = (reader.string()?, u64::from_le_bytes(reader.array()?));
        if form >= 3 {
            reader.array::<8>()?;
        }
        let consumer = group.add_consumer(&name, seen).ok_or(BAD_FORMAT)?;
        for _ in 0..reader.length()? {
            let id = read_raw_id(reader)?;
            let (delivered, count) = pending.remove(&id).ok_or(BAD_FORMAT)?;
            group.give(id, Pending { consumer, delivered, count });
        }
    }
    if pending.is_empty() { Ok(()) } else { Err(BAD_FORMAT) }
}

fn read_id(reader: &mut Reader) -> Result<Id, CommandError> {
    Ok(Id { ms: reader.length()?, seq: reader.length()? })
}

fn read_raw_id(reader: &mut Reader) -> Result<Id, CommandError> {
    Ok(Id { ms: u64::from_be_bytes(reader.array()?), seq: u64::from_be_bytes(reader.array()?) })
}
