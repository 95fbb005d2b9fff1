//! From bytes to messages: RFC 6455 section 5, as a server reads it.
//!
//! Headers are parsed by tungstenite; the buffers are our own, so that a socket with nothing to read has
//! none. Pure: bytes in, messages out. The rest of an incomplete frame stays in [`Partial`] until more
//! comes.

use std::io::Cursor;

use hyper_tungstenite::tungstenite::protocol::frame::FrameHeader;
use hyper_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::close_code::{self, Close};

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A whole text message.
    Text(String),
    /// A ping, with the payload for the pong.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A fragment without content. It counts as one of the messages that a client may send per second;
    /// otherwise one message could go on forever.
    Nothing,
    /// A close frame.
    Close,
}

/// The rest of a message or frame that is not complete.
#[derive(Debug, Default)]
pub struct Partial {
    /// Bytes of an incomplete frame, from its first byte.
    bytes: Vec<u8>,
    /// The text of a fragmented message so far.
    text: Option<Vec<u8>>,
}

impl Partial {
    /// Appends bytes that were read to those that were left.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Puts back bytes that are not a whole frame yet.
    pub fn put_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Takes the bytes of the incomplete frame, to go on with it.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Returns how many bytes the incomplete frame still needs; 0 while its header does not say.
    pub fn missing(&self) -> usize {
        let Ok(Some((_, start, length))) = parse(&self.bytes) else { return 0 };
        start.saturating_add(length).saturating_sub(self.bytes.len())
    }

    /// Returns whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.text.is_none()
    }
}

/// Reads the next message from `bytes`, and returns it with the number of bytes that it took. None means
/// that there is no whole message; what was taken of it is in `partial`.
///
/// # Errors
/// The close code that says what is wrong.
pub fn next(bytes: &mut [u8], partial: &mut Partial, max: usize) -> Result<(Option<Said>, usize), &'static Close> {
    let mut taken = 0;
    loop {
        let Some((header, start, length)) = parse(&bytes[taken..])? else { return Ok((None, taken)) };
        check(&header, length, partial, max)?;
        let end = taken + start + length;
        if bytes.len() < end {
            return Ok((None, taken));
        }
        let payload = &mut bytes[taken + start..end];
        unmask(payload, header.mask.unwrap_or_default());
        taken = end;
        if let Some(said) = read(&header, payload, partial)? {
            return Ok((Some(said), taken));
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(FrameHeader, usize, usize)>, &'static Close> {
    let mut cursor = Cursor::new(bytes);
    match FrameHeader::parse(&mut cursor) {
        Ok(Some((header, length))) => {
            // A length must have its shortest form, and its highest bit must be 0.
            let shortest = match bytes.get(1).map(|byte| byte & 0x7f) {
                Some(126) => length >= 126,
                Some(127) => length > 0xffff && length >> 63 == 0,
                _ => true,
            };
            if !shortest {
                return Err(&close_code::PROTOCOL);
            }
            let length = usize::try_from(length).map_err(|_| &close_code::TOO_BIG)?;
            Ok(Some((header, cursor.position() as usize, length)))
        }
        Ok(None) => Ok(None),
        Err(_) => Err(&close_code::PROTOCOL),
    }
}

/// Checks what can be wrong with a header alone, so that nothing is buffered for a refused frame.
fn check(header: &FrameHeader, length: usize, partial: &Partial, max: usize) -> Result<(), &'static Close> {
    if header.rsv1 || header.rsv2 || header.rsv3 || header.mask.is_none() {
        return Err(&close_code::PROTOCOL);
    }
    match header.opcode {
        OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => Err(&close_code::PROTOCOL),
        OpCode::Control(_) if !header.is_final || length > 125 => Err(&close_code::PROTOCOL),
        OpCode::Control(_) => Ok(()),
        // A continuation needs a message that has begun, and that message must end before the next one.
        OpCode::Data(Data::Continue) if partial.text.is_none() => Err(&close_code::PROTOCOL),
        OpCode::Data(Data::Text | Data::Binary) if partial.text.is_some() => Err(&close_code::PROTOCOL),
        OpCode::Data(Data::Binary) => Err(&close_code::BINARY),
        OpCode::Data(_) if partial.text.as_ref().map_or(0, Vec::len).saturating_add(length) > max => {
            Err(&close_code::TOO_BIG)
        }
        OpCode::Data(_) => Ok(()),
    }
}

fn read(header: &FrameHeader, payload: &[u8], partial: &mut Partial) -> Result<Option<Said>, &'static Close> {
    Ok(Some(match header.opcode {
        OpCode::Control(Control::Ping) => Said::Ping(payload.to_vec()),
        OpCode::Control(Control::Pong) => Said::Pong,
        OpCode::Control(_) => {
            check_close(payload)?;
            Said::Close
        }
        OpCode::Data(_) => {
            let mut text = partial.text.take().unwrap_or_default();
            text.extend_from_slice(payload);
            if !header.is_final {
                partial.text = Some(text);
                return Ok(payload.is_empty().then_some(Said::Nothing));
            }
            Said::Text(String::from_utf8(text).map_err(|_| &close_code::NOT_UTF8)?)
        }
    }))
}

fn check_close(payload: &[u8]) -> Result<(), &'static Close> {
    match payload {
        [] => Ok(()),
        [_] => Err(&close_code::PROTOCOL),
        [a, b, reason @ ..] => {
            if !CloseCode::from(u16::from_be_bytes([*a, *b])).is_allowed() {
                return Err(&close_code::PROTOCOL);
            }
            std::str::from_utf8(reason).map(|_| ()).map_err(|_| &close_code::NOT_UTF8)
        }
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a frame as a client sends it; `first` is the byte with FIN, RSV and opcode.
    fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
        out.extend(payload.iter().zip([1u8, 2, 3, 4].into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    fn all(mut bytes: Vec<u8>, step: usize) -> Result<Vec<Said>, &'static Close> {
        let (mut partial, mut said) = (Partial::default(), Vec::new());
        let mut rest = Vec::new();
        for chunk in bytes.chunks_mut(step) {
            rest.extend_from_slice(chunk);
            loop {
                let (message, taken) = next(&mut rest, &mut partial, 1000)?;
                rest.drain(..taken);
                match message {
                    Some(message) => said.push(message),
                    None => break,
                }
            }
        }
        Ok(said)
    }

    #[test]
    fn messages_are_the_same_however_the_bytes_arrive() {
        let mut bytes = sent(0x01, b"hel");
        bytes.extend(sent(0x89, b"ping"));
        bytes.extend(sent(0x80, b"lo"));
        bytes.extend(sent(0x8a, b""));
        bytes.extend(sent(0x88, &1000u16.to_be_bytes()));
        let whole = [Said::Ping(b"ping".to_vec()), Said::Text("hello".to_owned()), Said::Pong, Said::Close];
        for step in 1..bytes.len() {
            assert_eq!(all(bytes.clone(), step).unwrap(), whole, "in steps of {step}");
        }
    }

    #[test]
    fn what_the_rfc_does_not_allow_has_its_code() {
        let unmasked = vec![0x81, 2, b'h', b'i'];
        for (bytes, code) in [
            (unmasked, 1002),
            (sent(0xc1, b"x"), 1002),
            (sent(0x83, b"x"), 1002),
            (sent(0x8b, b"x"), 1002),
            (sent(0x09, b"x"), 1002),
            (sent(0x80, b"x"), 1002),
            ([sent(0x01, b"x"), sent(0x81, b"x")].concat(), 1002),
            (sent(0x88, b"x"), 1002),
            (sent(0x88, &1005u16.to_be_bytes()), 1002),
            (sent(0x82, b"x"), 1003),
            (sent(0x81, &[0xff]), 1007),
            // The length is refused as soon as the header is complete, before any of the payload.
            (vec![0x81, 0xfe, 0x10, 0, 1, 2, 3, 4], 1009),
            (vec![0x81, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
            (vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
            (vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], 1002),
            (vec![0x81, 0xfe, 0, 125, 1, 2, 3, 4], 1002),
        ] {
            let code_of = all(bytes.clone(), 1000).map_err(|close| close.code);
            assert_eq!(code_of, Err(code), "{bytes:?}");
        }
    }
}
