//! Errors for people.

/// An I/O error without the "(os error N)" that tells people nothing, and without the full stop that Windows puts behind it, to
/// go on a sentence with.
#[must_use]
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    // Windows ends its own with a full stop.
    let mut plain = text[..end].trim_end_matches('.').to_owned();
    if let Some(first) = plain.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_number() {
        let error = std::io::Error::from_raw_os_error(2);
        let plainly = plain(&error);
        assert!(
            plainly.starts_with(char::is_lowercase) && plainly.ends_with(char::is_alphabetic),
            "{plainly}"
        );
        // In other words, or in another language, on Windows.
        #[cfg(unix)]
        assert_eq!(plainly, "no such file or directory");
        assert_eq!(plain(&std::io::Error::other("Über")), "Über", "what is no ASCII stays");
    }
}
