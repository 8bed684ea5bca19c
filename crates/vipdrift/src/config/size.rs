//! Amounts of bytes as people write them in the configuration.

/// Reads `"64MiB"` or `"64 MiB"`: a whole number and one unit of KiB, MiB, GiB.
///
/// # Errors
/// One sentence that says what is missing.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a whole number and a unit (KiB, MiB, GiB), for example `64MiB`";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let bytes_per_unit: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "" if !number.is_empty() => return Err(format!("the unit is missing, for example `{number}MiB`")),
        "kB" | "KB" | "MB" | "GB" | "K" | "M" | "G" | "k" | "kib" | "mib" | "gib" if !number.is_empty() => {
            let letter = unit[..1].to_ascii_uppercase();
            return Err(format!("`{unit}` is not a unit here; did you mean `{number}{letter}iB`?"));
        }
        _ => return Err(EXPECTED.into()),
    };
    let number: u64 = number.parse().map_err(|_| EXPECTED.to_owned())?;
    number.checked_mul(bytes_per_unit).ok_or_else(|| "more than anything here can hold".to_owned())
}

/// Writes an amount the way [`parse`] reads it, in the largest unit that keeps it whole, or rounded up to KiB.
pub(crate) fn show(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{}KiB", bytes.div_ceil(1 << 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("64 MiB", 64 << 20), ("1GiB", 1 << 30), ("512KiB", 512 << 10)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_with_a_reason() {
        assert_eq!(parse("64"), Err("the unit is missing, for example `64MiB`".into()));
        assert_eq!(parse("64MB"), Err("`MB` is not a unit here; did you mean `64MiB`?".into()));
        assert_eq!(parse("64 k"), Err("`k` is not a unit here; did you mean `64KiB`?".into()));
        for text in
            ["", "MiB", "-1MiB", "1.5GiB", "64  MiB", "64 MiB ", "99999999999999999999MiB", "20000000000GiB"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_in_the_largest_whole_unit() {
        for text in ["64MiB", "1GiB", "1536KiB"] {
            assert_eq!(show(parse(text).expect("valid")), text);
        }
        assert_eq!(show(1), "1KiB");
    }
}
