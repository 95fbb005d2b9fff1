//! WebSocket frames, RFC 6455: the header in front of a payload.

use bytes::{BufMut, Bytes, BytesMut};

/// Frame opcodes, RFC 6455 section 5.2.
pub mod opcode {
    /// A text message.
    pub const TEXT: u8 = 1;
    /// Close.
    pub const CLOSE: u8 = 8;
    /// Ping.
    pub const PING: u8 = 9;
    /// Pong.
    pub const PONG: u8 = 10;
}

/// Builds one whole, unfragmented, unmasked frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 10);
    out.put_u8(0x80 | opcode);
    match payload.len() {
        n @ 0..126 => out.put_u8(n as u8),
        n @ 126..=0xffff => {
            out.put_u8(126);
            out.put_u16(n as u16);
        }
        n => {
            out.put_u8(127);
            out.put_u64(n as u64);
        }
    }
    out.put_slice(payload);
    out.freeze()
}

/// Reads the first frame in `bytes`, if it is complete: its opcode, its payload, and its total length. The
/// frame must be one that [`frame`] built.
pub fn unframe(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, short) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    let rest = &bytes[2..];
    let (length, start): (usize, usize) = match short {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
        short => (short, 2),
    };
    let end = start.checked_add(length)?;
    Some((first & 0x0f, bytes.get(start..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_once_it_is_whole() {
        for length in [0, 125, 126, 0xffff, 0x1_0000] {
            let bytes = frame(opcode::TEXT, &vec![7; length]);
            let (code, payload, all) = unframe(&bytes).unwrap();
            assert_eq!((code, payload.len(), all), (opcode::TEXT, length, bytes.len()));
            assert_eq!(unframe(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_frame_has_the_shortest_length_that_fits() {
        assert_eq!(frame(opcode::TEXT, &[0; 125])[..2], [0x81, 125]);
        assert_eq!(frame(opcode::TEXT, &[0; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(frame(opcode::TEXT, &vec![0; 65_536])[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
