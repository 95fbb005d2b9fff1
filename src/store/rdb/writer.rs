//! Writing the basic elements of the format.

use crate::store::number::parse_int;

/// The longest text that may be written as a number.
const LONGEST_NUMBER: usize = 11;

/// A payload that is being written.
#[derive(Debug, Default)]
pub struct Writer {
    /// The bytes written so far.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// Writes a byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes a length or a number.
    pub fn length(&mut self, length: u64) {
        match length {
            0..=0x3f => self.byte(length as u8),
            0x40..=0x3fff => self.raw(&[0x40 | (length >> 8) as u8, length as u8]),
            0x4000..=0xffff_ffff => {
                self.byte(0x80);
                self.raw(&(length as u32).to_be_bytes());
            }
            _ => {
                self.byte(0x81);
                self.raw(&length.to_be_bytes());
            }
        }
    }

    /// Writes a string, as a number if it is a small one.
    pub fn string(&mut self, text: &[u8]) {
        let number = if text.len() <= LONGEST_NUMBER { parse_int(text) } else { None };
        match number {
            Some(number @ -0x80..=0x7f) => self.raw(&[0xc0, number as u8]),
            Some(number @ -0x8000..=0x7fff) => {
                self.byte(0xc1);
                self.raw(&(number as i16).to_le_bytes());
            }
            Some(number @ -0x8000_0000..=0x7fff_ffff) => {
                self.byte(0xc2);
                self.raw(&(number as i32).to_le_bytes());
            }
            _ => {
                self.length(text.len() as u64);
                self.raw(text);
            }
        }
    }
}
