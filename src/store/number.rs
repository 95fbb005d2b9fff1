//! Parsing and printing of numbers, as Redis does it.
//!
//! The rules are stricter than Rust's own: integers have no leading `+`, zeros or spaces, scores are
//! never NaN, and doubles are printed with seventeen significant digits.

pub use crate::text::{hex, parse_int};

/// Parses a double as C's `strtod` does if it must use up the whole text; NaN is refused.
pub fn parse_float(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    if lower == "inf" || lower == "infinity" {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        let value = i64::from_str_radix(hex, 16).ok()? as f64;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Prints a double as C's `%.17g` does.
pub fn format_double(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if value.fract() == 0.0 && value.abs() < 1e17 {
        return format!("{}", value as i64);
    }
    format_general(value, 17)
}

/// Prints a double as C's `%.{precision}g` does.
pub fn format_general(value: f64, precision: usize) -> String {
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim_zeros(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

/// Removes the zeros at the end of a fraction, and the point if nothing follows it.
pub fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_in_c() {
        for (value, text) in [
            (3.0, "3"),
            (3.1, "3.1000000000000001"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e20, "1e+20"),
            (1e16, "10000000000000000"),
            (1.5e-7, "1.4999999999999999e-07"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }
}
