//! The part of DER (X.690) that public keys need.

/// An element that contains other elements.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Splits off the first element, which must have this tag. Returns its content and the bytes after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    // Accepts only the shortest form of a length, and no length beyond what a key can have.
    let (length, rest) = match (short, rest) {
        (0..=0x7f, _) => (usize::from(short), rest),
        (0x81, [a, rest @ ..]) if *a >= 0x80 => (usize::from(*a), rest),
        (0x82, [a, b, rest @ ..]) if *a >= 1 => (usize::from(u16::from_be_bytes([*a, *b])), rest),
        _ => return None,
    };
    if first == tag { rest.split_at_checked(length) } else { None }
}

/// Returns the content of the only element. Nothing may follow it.
fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    element(bytes, tag).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// Returns the algorithm in a SubjectPublicKeyInfo (RFC 5280), and the bytes of the key itself.
pub fn public_key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (algorithm, rest) = element(only(info, SEQUENCE)?, SEQUENCE)?;
    // The leading zero says that no bit of the last byte is unused.
    let key = only(rest, BIT_STRING)?.strip_prefix(&[0])?;
    Some((algorithm, key))
}

/// Returns the modulus and exponent of an RSAPublicKey (RFC 8017), without the leading zero that marks a number
/// as positive.
pub fn rsa(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (n, rest) = element(only(key, SEQUENCE)?, INTEGER)?;
    let e = only(rest, INTEGER)?;
    Some((unsigned(n)?, unsigned(e)?))
}

fn unsigned(number: &[u8]) -> Option<&[u8]> {
    match number {
        [0, rest @ ..] if rest.first()? & 0x80 != 0 => Some(rest),
        [1..=0x7f, ..] => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_have_one_form_and_nothing_follows() {
        let key = [0x30, 0x0b, 0x30, 0x02, 0x06, 0x00, 0x03, 0x05, 0x00, 1, 2, 3, 4];
        assert_eq!(public_key(&key), Some((&[0x06, 0x00][..], &[1, 2, 3, 4][..])));
        assert_eq!(public_key(&[&key[..], &[0]].concat()), None);
        assert_eq!(public_key(&[&[0x30, 0x81, 0x0b], &key[2..]].concat()), None);
        assert_eq!(public_key(&key[..12]), None);
        assert_eq!(rsa(&[0x30, 0x07, 2, 2, 0, 0x80, 2, 1, 3]), Some((&[0x80][..], &[3][..])));
        assert_eq!(rsa(&[0x30, 0x06, 2, 1, 0x80, 2, 1, 3]), None, "a negative number");
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_it_ends(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (public_key(&bytes), rsa(&bytes));
        }
    }
}
