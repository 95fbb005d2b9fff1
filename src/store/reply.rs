//! Encodes replies in RESP2 or RESP3.
//!
//! A [`Reply`] is a client's output buffer together with the client's protocol version. Command bodies say what they
//! mean (a map, a null, a double), and the buffer gets the encoding that the client understands.

use super::number::format_double;
use super::resp::header;

/// The largest reply, in bytes. A client whose command would get a larger one is disconnected, since
/// neither it nor this process may have the memory for it.
pub const LIMIT: usize = 1 << 30;

/// A buffer of replies in one protocol version.
#[derive(Debug, Default)]
pub struct Reply {
    /// The bytes to send.
    pub buf: Vec<u8>,
    /// Whether the client has asked for RESP3.
    pub resp3: bool,
}

impl Reply {
    /// `+OK`
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; `text` must hold no line break.
    pub fn simple(&mut self, text: &str) {
        if self.is_too_large() {
            return;
        }
        self.buf.push(b'+');
        self.buf.extend_from_slice(text.as_bytes());
        self.crlf();
    }

    /// An error; the first word is its code. Line breaks become spaces.
    pub fn error(&mut self, text: &str) {
        self.buf.push(b'-');
        self.buf.extend(text.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.crlf();
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        if self.is_too_large() {
            return;
        }
        header(&mut self.buf, b':', value);
    }

    /// A length or a count.
    pub fn len(&mut self, value: usize) {
        self.int(value as i64);
    }

    /// `:1` or `:0`, which most commands use for true and false in both protocols.
    pub fn flag(&mut self, value: bool) {
        self.buf.extend_from_slice(if value { b":1\r\n" } else { b":0\r\n" });
    }

    /// Whether the buffer has exceeded [`LIMIT`], so that most of what is added is dropped.
    pub fn is_too_large(&self) -> bool {
        self.buf.len() > LIMIT
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.is_too_large() {
            return;
        }
        header(&mut self.buf, b'$', bytes.len() as i64);
        self.buf.extend_from_slice(bytes);
        self.crlf();
    }

    /// A bulk string or null.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A text that RESP3 marks as plain text.
    pub fn verbatim(&mut self, text: &str) {
        self.verbatim_of(b"txt", text.as_bytes());
    }

    /// A text whose format RESP3 states, in three bytes.
    pub fn verbatim_of(&mut self, format: &[u8], text: &[u8]) {
        if self.resp3 && !self.is_too_large() {
            let byte = |at: usize| format.get(at).copied().unwrap_or(b' ');
            header(&mut self.buf, b'=', text.len() as i64 + 4);
            self.buf.extend_from_slice(&[byte(0), byte(1), byte(2), b':']);
            self.buf.extend_from_slice(text);
            self.crlf();
        } else {
            self.bulk(text);
        }
    }

    /// True or false; in RESP2 an integer.
    pub fn boolean(&mut self, value: bool) {
        if self.resp3 {
            self.buf.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.flag(value);
        }
    }

    /// A double; in RESP2 a bulk string.
    pub fn double(&mut self, value: f64) {
        if self.is_too_large() {
            return;
        }
        let text = format_double(value);
        if self.resp3 {
            self.buf.push(b',');
            self.buf.extend_from_slice(text.as_bytes());
            self.crlf();
        } else {
            self.bulk(text.as_bytes());
        }
    }

    /// A double given as digits; in RESP2 a bulk string.
    pub fn exact_double(&mut self, digits: &str) {
        if self.resp3 {
            self.buf.push(b',');
            self.buf.extend_from_slice(digits.as_bytes());
            self.crlf();
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// An integer of any length, given as digits; in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        if self.resp3 {
            self.buf.push(b'(');
            self.buf.extend(digits.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
            self.crlf();
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// A null in place of a bulk string.
    pub fn null(&mut self) {
        self.buf.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A null in place of an array.
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The header of an array of `len` replies.
    pub fn array(&mut self, len: usize) {
        if self.is_too_large() {
            return;
        }
        header(&mut self.buf, b'*', len as i64);
    }

    /// Inserts the header of an array of `len` replies before what was added since `mark`.
    pub fn array_from(&mut self, mark: usize, len: usize) {
        if self.is_too_large() {
            return;
        }
        let mut head = Vec::with_capacity(16);
        header(&mut head, b'*', len as i64);
        self.buf.splice(mark..mark, head);
    }

    /// The header of a map with `len` pairs; in RESP2 a flat array.
    pub fn map(&mut self, len: usize) {
        if self.resp3 {
            header(&mut self.buf, b'%', len as i64);
        } else {
            self.array(len * 2);
        }
    }

    /// The header of a set; in RESP2 an array.
    pub fn set(&mut self, len: usize) {
        header(&mut self.buf, if self.resp3 { b'~' } else { b'*' }, len as i64);
    }

    /// The header of a push message; in RESP2 an array.
    pub fn push(&mut self, len: usize) {
        header(&mut self.buf, if self.resp3 { b'>' } else { b'*' }, len as i64);
    }

    /// An array of bulk strings.
    pub fn bulks<'a>(&mut self, items: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.array(items.len());
        for item in items {
            self.bulk(item);
        }
    }

    fn crlf(&mut self) {
        self.buf.extend_from_slice(b"\r\n");
    }
}
