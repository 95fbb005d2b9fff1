//! Requests read the same in one piece and in any two: same arguments, same error, no panic.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[allow(unused_imports)]
#[path = "../../src/store/number.rs"]
mod number;
#[path = "../../src/store/resp.rs"]
mod resp;
#[path = "../../src/text.rs"]
mod text;

use resp::{Decoder, Limits, ProtocolError};

const LIMITS: Limits = Limits { bulk: 4096, unauthenticated: false };

type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Reads what is complete in each longer and longer part of the input.
fn read(input: &[u8], ends: &[usize]) -> Outcome {
    let (mut decoder, mut start, mut requests) = (Decoder::default(), 0, Vec::new());
    for &end in ends {
        loop {
            match decoder.decode(&input[start..end], &LIMITS) {
                Ok(Some(used)) => {
                    let args = decoder.args(&input[start..end]);
                    requests.push(args.iter().map(|arg| arg.to_vec()).collect());
                    start += used;
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, input)) = data.split_first() else { return };
    let cut = usize::from(cut).min(input.len());
    let whole = read(input, &[input.len()]);
    assert_eq!(whole, read(input, &[cut, input.len()]));
    for request in &whole.0 {
        let args: Vec<&[u8]> = request.iter().map(|arg| &**arg).collect();
        let mut wire = Vec::new();
        resp::encode(&args, &mut wire);
        assert_eq!(read(&wire, &[wire.len()]).0, std::slice::from_ref(request));
    }
});
