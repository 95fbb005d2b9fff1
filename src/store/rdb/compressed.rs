//! LZF, with which Redis compresses longer strings: literal runs, and copies of recent output.

/// The longest literal run.
const LITERAL: u8 = 32;

/// Decompresses `input`; `None` unless it is valid and expands to exactly `length` bytes.
pub fn expand(mut input: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let [control, rest @ ..] = input {
        input = rest;
        if *control < LITERAL {
            let (run, rest) = input.split_at_checked(usize::from(*control) + 1)?;
            out.extend_from_slice(run);
            input = rest;
        } else {
            let mut run = usize::from(*control >> 5);
            if run == 7 {
                run += usize::from(*input.first()?);
                input = &input[1..];
            }
            let back = (usize::from(*control & 31) << 8 | usize::from(*input.first()?)) + 1;
            input = &input[1..];
            let from = out.len().checked_sub(back)?;
            // Byte by byte, because a copy may overlap its own output.
            for at in from..from + run + 2 {
                out.push(out[at]);
            }
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}
