//! Parsing of numbers as C does it, leaving whatever follows them.

/// Parses the number at the start of a text as C's `strtod` does; returns it and its length.
pub fn c_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let negative = text.first() == Some(&b'-');
    let signed = |value: f64| if negative { -value } else { value };
    let rest = &text[sign..];
    let starts = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
    if starts(b"infinity") {
        return Some((signed(f64::INFINITY), sign + 8));
    }
    if starts(b"inf") {
        return Some((signed(f64::INFINITY), sign + 3));
    }
    if starts(b"nan") {
        return Some((signed(f64::NAN), sign + 3));
    }
    if starts(b"0x")
        && let Some((value, length)) = hexadecimal(&rest[2..])
    {
        return Some((signed(value), sign + 2 + length));
    }
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    if rest.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if whole + fraction == 0 {
            return None;
        }
        end += 1 + fraction;
    } else if whole == 0 {
        return None;
    }
    if matches!(rest.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(end + 1), Some(b'-' | b'+')));
        let exponent = rest.get(end + 1 + sign..).map_or(0, |_| digits(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let value = std::str::from_utf8(&rest[..end]).ok()?.parse::<f64>().ok()?;
    Some((signed(value), sign + end))
}

/// Parses a hexadecimal number without its `0x`, with an optional fraction and binary exponent.
fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let (mut value, mut scale, mut end, mut any, mut point) = (0.0_f64, 0_i32, 0, false, false);
    while let Some(&byte) = text.get(end) {
        if let Some(digit) = char::from(byte).to_digit(16) {
            value = value * 16.0 + f64::from(digit);
            scale -= if point { 4 } else { 0 };
            any = true;
        } else if byte == b'.' && !point {
            point = true;
        } else {
            break;
        }
        end += 1;
    }
    if !any {
        return None;
    }
    if matches!(text.get(end), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let from = end + 1 + sign;
        let digits = text.get(from..).map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
        if digits > 0 {
            let exponent = std::str::from_utf8(&text[from..from + digits]).ok()?.parse::<i32>().unwrap_or(i32::MAX / 4);
            scale = scale.saturating_add(if text[end + 1] == b'-' { -exponent } else { exponent });
            end = from + digits;
        }
    }
    Some((value * f64::from(scale.clamp(-5000, 5000)).exp2(), end))
}

#[cfg(test)]
mod tests {
    use super::c_number;

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, read) in [
            ("1.5x", Some((1.5, 3))),
            ("-2e3", Some((-2000.0, 4))),
            ("1e", Some((1.0, 1))),
            ("1e+", Some((1.0, 1))),
            (".5", Some((0.5, 2))),
            ("5.", Some((5.0, 2))),
            (".", None),
            ("", None),
            ("-", None),
            ("e5", None),
            ("0x10", Some((16.0, 4))),
            ("0x.8p1", Some((1.0, 6))),
            ("0xg", Some((0.0, 1))),
            ("1e400", Some((f64::INFINITY, 5))),
            ("-inf", Some((f64::NEG_INFINITY, 4))),
        ] {
            assert_eq!(c_number(text.as_bytes()), read, "{text}");
        }
    }
}
