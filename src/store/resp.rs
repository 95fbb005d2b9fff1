//! Decodes requests: bytes in, argument lists out.
//!
//! A [`Decoder`] is given a buffer that starts at a request, and reports where that request ends. It
//! keeps its position between calls, so a request that arrives in a thousand pieces is still parsed
//! only once. It allocates only for what has arrived, never for what a length announces. It does no I/O
//! and knows no commands. Errors use Redis's own wording; after an error the connection is unusable.

use std::ops::Range;

use smallvec::SmallVec;

/// The arguments of one request, the command's name first.
pub type Args<'a> = [&'a [u8]];

/// An argument list that needs no allocation while it is short.
pub type ArgList<'a> = SmallVec<[&'a [u8]; 8]>;

/// The longest line that is searched for its end, in bytes.
const MAX_LINE: usize = 64 * 1024;

/// Limits on the size of a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest argument, in bytes.
    pub bulk: usize,
    /// Whether the client has not authenticated yet; it is then limited to ten arguments of 16 KiB each.
    pub unauthenticated: bool,
}

/// Why the bytes are not a request; the text follows `Protocol error: ` in the reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A fixed error text.
    #[error("{0}")]
    Malformed(&'static str),
    /// The byte found instead of the `$` that announces an argument's length.
    #[error("expected '$', got '{}'", char::from(*.0))]
    ExpectedDollar(u8),
}

use ProtocolError::Malformed;

/// Decodes one request after another; see the module's text.
#[derive(Debug, Default)]
pub struct Decoder {
    /// How many arguments are still missing; `None` between requests.
    missing: Option<i64>,
    /// The announced length of the current argument.
    bulk: Option<usize>,
    position: usize,
    spans: Vec<Range<usize>>,
    /// The arguments of an inline request, unquoted; `spans` points into it.
    inline: Option<Vec<u8>>,
}

impl Decoder {
    /// Looks for the end of the request at the start of `input`.
    ///
    /// `Some(n)`: the request is complete and takes `n` bytes; [`Self::args`] returns its arguments, of which there may
    /// be none. `None`: more bytes are needed; call again with the same bytes followed by more.
    pub fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        if self.missing.is_none() {
            match input.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.decode_inline(input),
            }
            if !self.decode_count(input, limits)? {
                return Ok(None);
            }
        }
        while self.missing.is_some_and(|missing| missing > 0) {
            if !self.decode_argument(input, limits)? {
                return Ok(None);
            }
        }
        self.missing = None;
        Ok(Some(self.position))
    }

    /// Whether every argument of the request that [`Self::decode`] has just completed ends in CR LF. As
    /// in Redis, `decode` itself does not check this.
    pub fn is_terminated(&self, input: &[u8]) -> bool {
        self.inline.is_some() || self.spans.iter().all(|span| input[span.end..].starts_with(b"\r\n"))
    }

    /// The arguments of the request that [`Self::decode`] has just completed in `input`.
    pub fn args<'a>(&'a self, input: &'a [u8]) -> ArgList<'a> {
        let source = self.inline.as_deref().unwrap_or(input);
        self.spans.iter().map(|span| &source[span.clone()]).collect()
    }

    /// The memory that it takes besides the input, in bytes.
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Range<usize>>() + self.inline.as_ref().map_or(0, Vec::capacity)
    }

    fn decode_count(&mut self, input: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        self.inline = None;
        self.spans.clear();
        self.position = 0;
        let Some(count) = self.line(input, "too big mbulk count string")? else {
            return Ok(false);
        };
        let count = super::number::parse_int(&input[1..count.end])
            .filter(|count| *count <= i64::from(i32::MAX))
            .ok_or(Malformed("invalid multibulk length"))?;
        if count > 10 && limits.unauthenticated {
            return Err(Malformed("unauthenticated multibulk length"));
        }
        self.missing = Some(count);
        Ok(true)
    }

    fn decode_argument(&mut self, input: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        if self.bulk.is_none() {
            let Some(line) = self.peek_line(input, "too big bulk count string")? else {
                return Ok(false);
            };
            if input[line.start] != b'$' {
                return Err(ProtocolError::ExpectedDollar(input[line.start]));
            }
            let length = super::number::parse_int(&input[line.start + 1..line.end])
                .and_then(|length| usize::try_from(length).ok())
                .filter(|length| *length <= limits.bulk)
                .ok_or(Malformed("invalid bulk length"))?;
            if length > 16 * 1024 && limits.unauthenticated {
                return Err(Malformed("unauthenticated bulk length"));
            }
            self.position = line.end + 2;
            self.bulk = Some(length);
        }
        let length = self.bulk.unwrap_or(0);
        let end = self.position + length;
        if input.len() < end + 2 {
            return Ok(false);
        }
        self.spans.push(self.position..end);
        self.position = end + 2;
        self.bulk = None;
        self.missing = self.missing.map(|missing| missing - 1);
        Ok(true)
    }

    /// Takes the line at the current position, if it has arrived with its CR LF.
    fn line(&mut self, input: &[u8], too_long: &'static str) -> Result<Option<Range<usize>>, ProtocolError> {
        let line = self.peek_line(input, too_long)?;
        if let Some(line) = &line {
            self.position = line.end + 2;
        }
        Ok(line)
    }

    fn peek_line(&self, input: &[u8], too_long: &'static str) -> Result<Option<Range<usize>>, ProtocolError> {
        let rest = &input[self.position..];
        match rest.iter().take(MAX_LINE + 1).position(|&byte| byte == b'\r') {
            Some(length) if rest.len() > length + 1 => Ok(Some(self.position..self.position + length)),
            None if rest.len() > MAX_LINE => Err(Malformed(too_long)),
            _ => Ok(None),
        }
    }

    fn decode_inline(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let end = input.iter().take(MAX_LINE + 1).position(|&byte| byte == b'\n');
        let Some(end) = end else {
            return if input.len() > MAX_LINE { Err(Malformed("too big inline request")) } else { Ok(None) };
        };
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Redis treats such a line as a C string, which ends at the first zero byte.
        let line = line.split(|&byte| byte == 0).next().unwrap_or(line);
        let mut words = Vec::with_capacity(line.len());
        self.spans.clear();
        split_words(line, &mut words, &mut self.spans).ok_or(Malformed("unbalanced quotes in request"))?;
        self.inline = Some(words);
        Ok(Some(end + 1))
    }
}

/// Splits a line into words, as [`split_words`] does.
pub fn split_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut spans) = (Vec::with_capacity(line.len()), Vec::new());
    split_words(line, &mut words, &mut spans)?;
    Some(spans.into_iter().map(|span| words[span].to_vec()).collect())
}

/// Splits a line at whitespace; `"` allows escapes, `'` only `\'`. Returns `None` if quotes are unbalanced.
fn split_words(line: &[u8], words: &mut Vec<u8>, spans: &mut Vec<Range<usize>>) -> Option<()> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(());
        }
        let start = words.len();
        rest = split_word(rest, words)?;
        spans.push(start..words.len());
    }
}

fn split_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            [byte, ..] if byte.is_ascii_whitespace() => return Some(rest),
            [b'"', inner @ ..] => return closed(double_quoted(inner, word)?),
            [b'\'', inner @ ..] => return closed(single_quoted(inner, word)?),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Requires whitespace or the end of the line after a closing quote.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => Some(rest),
        [byte, ..] if byte.is_ascii_whitespace() => Some(rest),
        _ => None,
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                word.push(digit(*high) << 4 | digit(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
            [] => return None,
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
            [] => return None,
        };
    }
}

/// Appends `args` as a request, which is also the form in which the log stores them.
pub fn encode(args: &Args, out: &mut Vec<u8>) {
    header(out, b'*', args.len() as i64);
    for arg in args {
        header(out, b'$', arg.len() as i64);
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a type byte, a number and CR LF.
pub fn header(out: &mut Vec<u8>, kind: u8, number: i64) {
    out.push(kind);
    if let 0..=9 = number {
        out.extend_from_slice(&[b'0' + number as u8, b'\r', b'\n']);
        return;
    }
    let mut digits = [0; 24];
    digits[22..].copy_from_slice(b"\r\n");
    let mut at = 22;
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
#[path = "resp_tests.rs"]
mod tests;
