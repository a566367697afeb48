//! Floats in PHP's notation.

/// The shortest text that parses to the same float, as with `serialize_precision = -1`:
/// `0.1`, `5`, `1.0E+25`, `-0`. `e` is the letter of the exponent. Not for INF and NAN.
pub(super) fn shortest(float: f64, e: u8) -> String {
    let shortest = format!("{float:e}");
    format(even(float, &shortest).as_deref().unwrap_or(&shortest), 17, e)
}

/// If a float lies exactly between two shortest texts, the one with the even digit, which PHP
/// writes; Rust rounds up.
fn even(float: f64, shortest: &str) -> Option<String> {
    let (mantissa, exponent) = shortest.split_once('e')?;
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let tie = |precision| {
        let exact = format!("{float:.precision$e}");
        let exact = exact.split('e').next().unwrap_or_default();
        // A decimal point follows the first digit.
        let start = exact.len() - (precision + 1 - digits) + usize::from(digits == 0);
        let rest = exact.get(start..)?.strip_prefix('5')?;
        let kept = exact[..start].trim_end_matches('.').to_owned();
        rest.bytes().all(|digit| digit == b'0').then_some(kept)
    };
    // No float has more than 767 digits; far fewer suffice for most.
    let below = tie(digits + 8).and_then(|_| tie(800))?;
    let is_even = below.bytes().last().is_some_and(|digit| digit % 2 == 0);
    let even = format!("{below}e{exponent}");
    (is_even && even.parse() == Ok(float)).then_some(even)
}

/// A float cast to a string by PHP: 14 significant digits.
pub(crate) fn to_text(float: f64) -> String {
    if float.is_nan() {
        return "NAN".to_owned();
    }
    if float.is_infinite() {
        return if float < 0.0 { "-INF" } else { "INF" }.to_owned();
    }
    format(&format!("{float:.13e}"), 14, b'E')
}

/// Turns Rust's `-1.25e-7` into PHP's form: with an exponent where the decimal point would stand
/// left of three zeros or right of `precision` digits.
fn format(scientific: &str, precision: i32, e: u8) -> String {
    let (mantissa, exponent) = scientific.split_once('e').expect("{:e} writes an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} writes its exponent as an int");
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = exponent + 1;
    if point < -3 || precision < point {
        let (first, rest) = digits.split_at(1);
        let rest = if rest.is_empty() { "0" } else { rest };
        return format!("{sign}{first}.{rest}{}{exponent:+}", char::from(e));
    }
    let Ok(whole) = usize::try_from(point) else {
        return format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
    };
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    let (left, right) = digits.split_at(whole);
    let left = if left.is_empty() { "0" } else { left };
    format!("{sign}{left}.{right}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_formatted_as_by_php() {
        for (float, text, cast) in [
            (0.1, "0.1", "0.1"),
            (5.0, "5", "5"),
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (-1.5, "-1.5", "-1.5"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_01, "1.0E-5", "1.0E-5"),
            (100.25, "100.25", "100.25"),
            (1e14, "100000000000000", "1.0E+14"),
            (1e16, "10000000000000000", "1.0E+16"),
            (1e17, "1.0E+17", "1.0E+17"),
            (123_456_789_012_345_680.0, "1.2345678901234568E+17", "1.2345678901235E+17"),
            (1e100, "1.0E+100", "1.0E+100"),
            (1_128_669_824_045_463.0 + 0.25, "1128669824045463.2", "1.1286698240455E+15"),
            (0.1 + 0.2, "0.30000000000000004", "0.3"),
            (999_999_999_999_999.9, "999999999999999.9", "1.0E+15"),
            (123_456_789.123_456_78, "123456789.12345678", "123456789.12346"),
        ] {
            assert_eq!(shortest(float, b'E'), text);
            assert_eq!(to_text(float), cast);
        }
        assert_eq!(shortest(1e25, b'e'), "1.0e+25");
        assert_eq!(to_text(f64::NEG_INFINITY), "-INF");
    }
}
