//! Reading the basic elements of the format.

use super::compressed;
use crate::store::error::{BAD_FORMAT, CommandError, OOM};

/// A length, or how a string is encoded.
enum Length {
    Plain(u64),
    Encoded(u8),
}

/// The rest of a payload, and the memory that its value may still take.
pub struct Reader<'a> {
    left: &'a [u8],
    memory: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of a payload.
    pub fn new(bytes: &'a [u8], memory: usize) -> Self {
        Self { left: bytes, memory }
    }

    /// Whether everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }

    /// Counts memory that the value takes; fails if that is too much.
    pub fn charge(&mut self, bytes: usize) -> Result<(), CommandError> {
        self.memory = self.memory.checked_sub(bytes).ok_or(OOM)?;
        Ok(())
    }

    /// Reads this many bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], CommandError> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(BAD_FORMAT)?;
        self.left = left;
        Ok(taken)
    }

    /// Reads a fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CommandError> {
        self.take(N)?.try_into().map_err(|_| BAD_FORMAT)
    }

    /// Reads a byte.
    pub fn byte(&mut self) -> Result<u8, CommandError> {
        self.array().map(|[byte]| byte)
    }

    /// Reads a length or a number.
    pub fn length(&mut self) -> Result<u64, CommandError> {
        match self.any_length()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(_) => Err(BAD_FORMAT),
        }
    }

    fn any_length(&mut self) -> Result<Length, CommandError> {
        let first = self.byte()?;
        Ok(match first {
            0..=0x3f => Length::Plain(u64::from(first)),
            0x40..=0x7f => Length::Plain(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            0xc0.. => Length::Encoded(first & 0x3f),
            _ => return Err(BAD_FORMAT),
        })
    }

    /// Reads a string in any encoding.
    pub fn string(&mut self) -> Result<Vec<u8>, CommandError> {
        let number = match self.any_length()? {
            Length::Plain(length) => {
                let bytes = self.take(usize::try_from(length).map_err(|_| BAD_FORMAT)?)?;
                self.charge(bytes.len())?;
                return Ok(bytes.to_vec());
            }
            Length::Encoded(3) => return self.compressed(),
            Length::Encoded(0) => i32::from(i8::from_le_bytes(self.array()?)),
            Length::Encoded(1) => i32::from(i16::from_le_bytes(self.array()?)),
            Length::Encoded(2) => i32::from_le_bytes(self.array()?),
            Length::Encoded(_) => return Err(BAD_FORMAT),
        };
        Ok(number.to_string().into_bytes())
    }

    fn compressed(&mut self) -> Result<Vec<u8>, CommandError> {
        let (packed, length) = (self.length()?, self.length()?);
        let packed = self.take(usize::try_from(packed).map_err(|_| BAD_FORMAT)?)?;
        let length = usize::try_from(length).map_err(|_| BAD_FORMAT)?;
        self.charge(length)?;
        compressed::expand(packed, length).ok_or(BAD_FORMAT)
    }
}
