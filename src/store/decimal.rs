//! Sums of decimal texts, as `INCRBYFLOAT` needs them.
//!
//! Redis adds 80-bit x86 floats and prints seventeen decimals. This code adds the decimals exactly,
//! which gives the same digits wherever Redis's are right. Numbers that are too large for this, or have
//! more than seventeen decimals, are added as doubles.

use super::number::{parse_float, trim_zeros};

/// Why two texts have no sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSum {
    /// One of the texts is not a number.
    NotANumber,
    /// The sum is infinite.
    Infinite,
}

const DECIMALS: i32 = 17;

/// Adds two decimal texts.
pub fn sum(one: &[u8], other: &[u8]) -> Result<String, NoSum> {
    let (a, b) = (parse_float(one).ok_or(NoSum::NotANumber)?, parse_float(other).ok_or(NoSum::NotANumber)?);
    if !(a + b).is_finite() {
        return Err(NoSum::Infinite);
    }
    let exact = scaled(one).zip(scaled(other)).and_then(|(a, b)| a.checked_add(b));
    Ok(exact.map_or_else(|| trim_zeros(&format!("{:.17}", a + b)).to_owned(), print))
}

/// Returns the number times 10^17, if that is an integer in range.
fn scaled(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let shift = DECIMALS.checked_add(exponent)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = if shift >= 0 {
        digits.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?
    } else {
        let divisor = 10_i128.checked_pow(shift.unsigned_abs())?;
        (digits % divisor == 0).then_some(digits / divisor)?
    };
    Some(if negative { -scaled } else { scaled })
}

fn print(scaled: i128) -> String {
    let digits = format!("{:018}", scaled.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - DECIMALS as usize);
    let sign = if scaled < 0 { "-" } else { "" };
    trim_zeros(&format!("{sign}{whole}.{fraction}")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_decimals() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("-3", "0.5", "-2.5"),
            ("1", "-1", "0"),
        ] {
            assert_eq!(sum(a.as_bytes(), b.as_bytes()).as_deref(), Ok(expected));
        }
        assert_eq!(sum(b"x", b"1"), Err(NoSum::NotANumber));
        assert_eq!(sum(b"1", b"inf"), Err(NoSum::Infinite));
    }
}
