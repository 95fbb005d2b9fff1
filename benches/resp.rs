//! As much of Redis' protocol as a publisher and a subscriber need.

/// A command, as it goes over the wire.
pub fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The parts of an array at the start of `bytes`, and its length. An integer is an empty part.
/// None: it is not complete.
pub fn array(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let (head, mut at) = line(bytes, 0)?;
    let count: usize = std::str::from_utf8(head.strip_prefix(b"*")?).ok()?.parse().ok()?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let (head, after) = line(bytes, at)?;
        at = after;
        let Some(length) = head.strip_prefix(b"$") else {
            parts.push(&bytes[..0]);
            continue;
        };
        let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
        parts.push(bytes.get(at..at + length)?);
        bytes.get(at + length + 1)?;
        at += length + 2;
    }
    Some((parts, at))
}

/// The text of a bulk string at the start of `bytes`. None: it is not complete.
pub fn bulk(bytes: &[u8]) -> Option<&[u8]> {
    let (head, at) = line(bytes, 0)?;
    let length: usize = std::str::from_utf8(head.strip_prefix(b"$")?).ok()?.parse().ok()?;
    bytes.get(at..at + length + 2).map(|text| &text[..length])
}

fn line(bytes: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(from..)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    Some((&rest[..end.checked_sub(1)?], from + end + 1))
}
