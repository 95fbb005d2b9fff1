use super::*;

const LIMITS: Limits = Limits { bulk: 1024, unauthenticated: false };

fn all(input: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
    let mut decoder = Decoder::default();
    let mut rest = input;
    let mut requests = Vec::new();
    while let Some(used) = decoder.decode(rest, &LIMITS)? {
        requests.push(decoder.args(rest).iter().map(|arg| arg.to_vec()).collect());
        rest = &rest[used..];
    }
    Ok(requests)
}

/// Feeds the input to the decoder with one more byte at each call, as a slow network would.
fn bytewise(input: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
    let mut decoder = Decoder::default();
    let (mut start, mut requests) = (0, Vec::new());
    for end in 1..=input.len() {
        while let Some(used) = decoder.decode(&input[start..end], &LIMITS)? {
            let args = decoder.args(&input[start..end]);
            requests.push(args.iter().map(|arg| arg.to_vec()).collect());
            start += used;
        }
    }
    Ok(requests)
}

#[test]
fn requests_read_the_same_in_one_piece_and_byte_by_byte() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n\r\n*0\r\n*1\r\n$0\r\n\r\nset k \"a\\x41 b\" 'c d'\n";
    let whole = all(input).unwrap();
    assert_eq!(whole, bytewise(input).unwrap());
    assert_eq!(whole.len(), 6);
    assert_eq!(whole[5], [&b"set"[..], b"k", b"aA b", b"c d"]);
}

#[test]
fn malformed_requests_are_told_in_the_words_of_redis() {
    let long = [b'1'; MAX_LINE + 10];
    let with = |head: &[u8]| [head, &long[..]].concat();
    for (input, message) in [
        (b"*x\r\n".to_vec(), "invalid multibulk length"),
        (b"*3000000000\r\n".to_vec(), "invalid multibulk length"),
        (b"*1\r\n+PING\r\n".to_vec(), "expected '$', got '+'"),
        (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$2000\r\n".to_vec(), "invalid bulk length"),
        (b"get \"a\r\n".to_vec(), "unbalanced quotes in request"),
        (b"get \"a\"b\r\n".to_vec(), "unbalanced quotes in request"),
        (with(b"*"), "too big mbulk count string"),
        (with(b"*1\r\n$"), "too big bulk count string"),
        (with(b""), "too big inline request"),
    ] {
        assert_eq!(all(&input).unwrap_err().to_string(), message);
    }
}

#[test]
fn an_unknown_client_gets_little() {
    let limits = Limits { unauthenticated: true, ..LIMITS };
    let mut decoder = Decoder::default();
    let error = decoder.decode(b"*11\r\n", &limits).unwrap_err();
    assert_eq!(error.to_string(), "unauthenticated multibulk length");
}

#[test]
fn what_is_encoded_decodes_to_itself() {
    let mut wire = Vec::new();
    encode(&[b"SET", b"", b"\r\n"], &mut wire);
    assert_eq!(all(&wire).unwrap(), [[&b"SET"[..], b"", b"\r\n"]]);
}

#[test]
fn headers_print_every_integer() {
    for number in [0, 9, 10, -1, i64::MAX, i64::MIN] {
        let mut out = Vec::new();
        header(&mut out, b':', number);
        assert_eq!(out, format!(":{number}\r\n").into_bytes());
    }
}

#[test]
fn an_inline_request_ends_at_its_first_zero() {
    assert_eq!(all(b"\0\0\n").unwrap(), [Vec::<Vec<u8>>::new()]);
    assert_eq!(all(b"PING a\0b c\r\n").unwrap(), [[&b"PING"[..], b"a"]]);
}
