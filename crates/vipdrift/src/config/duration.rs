//! Spans of time as people write them in the configuration.

use std::time::Duration;

/// Reads `"10ms"`, `"1.5s"`, `"2m"`, `"1h"`, `"250us"`: a number and one unit, no sign, no space.
///
/// # Errors
/// One sentence that says what is missing.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let nanos_per_unit: u64 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" if !number.is_empty() => return Err(format!("the unit is missing, for example `{number}ms`")),
        _ => return Err("expected a number and a unit (us, ms, s, m, h), for example `100ms`".into()),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err("a digit is missing after the point".into()),
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return Err("expected a number and a unit (us, ms, s, m, h), for example `100ms`".into());
    }
    let too_long = || "longer than anything here can be".to_owned();
    let whole: u64 = whole.parse().map_err(|_| too_long())?;
    let mut nanos = whole.checked_mul(nanos_per_unit).ok_or_else(too_long)?;
    let mut place = nanos_per_unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * place).ok_or_else(too_long)?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Writes a span the way [`parse`] reads it, in the largest unit that keeps it whole.
pub(crate) fn show(span: Duration) -> String {
    let nanos = span.as_nanos();
    for (unit, size) in
        [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)]
    {
        if nanos >= size && nanos.is_multiple_of(size) {
            return format!("{}{unit}", nanos / size);
        }
    }
    if nanos >= 1_000_000 {
        // In whole numbers: a floating-point one would show 2.55 as 2.5500000000000003.
        let fraction = format!("{:06}", nanos % 1_000_000);
        format!("{}.{}ms", nanos / 1_000_000, fraction.trim_end_matches('0'))
    } else {
        format!("{}us", nanos / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, micros) in [
            ("10ms", 10_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("250us", 250),
            ("0.5ms", 500),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_with_a_reason() {
        assert_eq!(parse("100"), Err("the unit is missing, for example `100ms`".into()));
        assert_eq!(parse("1.s"), Err("a digit is missing after the point".into()));
        for text in ["", "ms", "-1s", "1 s", "1sec", "1.2.3s", ".5s", "1e3s", "ten"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("99999999999999999999s").is_err());
        assert!(parse("9999999999999h").is_err());
    }

    #[test]
    fn shows_in_the_largest_whole_unit() {
        for text in ["10ms", "1500ms", "2m", "250us", "3s", "1h", "2.55ms", "250.25ms", "1.000001ms"] {
            assert_eq!(show(parse(text).expect("valid")), text);
        }
    }
}
