//! Arguments as one text, from which the C runtime and CommandLineToArgvW make the same arguments again.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::OsStrExt as _;

const QUOTE: u16 = b'"' as u16;
const BACKSLASH: u16 = b'\\' as u16;

/// The command line, with a zero at its end.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`]: there is a zero within.
pub(super) fn command_line(program: &OsStr, args: &[OsString]) -> io::Result<Vec<u16>> {
    let mut line = Vec::new();
    // For the program other rules hold: quotes begin and end, and backslashes mean nothing. No path has a quote in it.
    line.push(QUOTE);
    line.extend(program.encode_wide());
    line.push(QUOTE);
    for arg in args {
        line.push(b' '.into());
        append(&mut line, arg);
    }
    if line.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in an argument"));
    }
    line.push(0);
    Ok(line)
}

fn append(line: &mut Vec<u16>, arg: &OsStr) {
    let units: Vec<u16> = arg.encode_wide().collect();
    let special = |unit: &u16| [b' ', b'\t', b'\n', 0x0b].map(u16::from).contains(unit) || *unit == QUOTE;
    if !units.is_empty() && !units.iter().any(special) {
        line.extend(units);
        return;
    }
    line.push(QUOTE);
    let mut backslashes = 0;
    for unit in units {
        if unit == QUOTE {
            // Those before a quote count twice, and the quote has one of its own.
            line.extend(std::iter::repeat_n(BACKSLASH, backslashes + 1));
        }
        backslashes = if unit == BACKSLASH { backslashes + 1 } else { 0 };
        line.push(unit);
    }
    line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
    line.push(QUOTE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> String {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let line = command_line(OsStr::new(r"C:\a b\p.exe"), &args).unwrap();
        assert_eq!(line.last(), Some(&0));
        String::from_utf16(&line[..line.len() - 1]).unwrap()
    }

    #[test]
    fn as_the_documentation_of_command_line_to_argv_has_it() {
        assert_eq!(line(&["run", "--config", r"C:\x\"]), r#""C:\a b\p.exe" run --config C:\x\"#);
        assert_eq!(line(&["a b", ""]), r#""C:\a b\p.exe" "a b" """#);
        assert_eq!(line(&[r"a b\"]), r#""C:\a b\p.exe" "a b\\""#);
        assert_eq!(line(&[r#"say "hi""#]), r#""C:\a b\p.exe" "say \"hi\"""#);
        assert_eq!(line(&[r#"a\\"b"#]), r#""C:\a b\p.exe" "a\\\\\"b""#);
        assert!(command_line(OsStr::new("p"), &["a\0b".into()]).is_err());
    }
}
