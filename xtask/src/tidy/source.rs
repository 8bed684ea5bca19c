//! Rules of the Rust text.

use std::path::Path;

use super::walls;

/// The one package that may hold `unsafe` code.
pub(crate) const UNSAFE: &str = "vipdrift-platform";

/// Longest file, in lines.
const LINES: usize = 800;

/// What no pure package may name in `src`, and why.
const PURE_BANS: [(&str, &str); 18] = [
    ("std::fs", "does input or output"),
    ("std::io", "does input or output"),
    ("std::os", "does input or output"),
    ("std::env", "depends on the process"),
    ("std::process", "depends on the process"),
    ("std::thread", "starts threads"),
    ("std::{", "hides what is imported from this check: import each module by itself"),
    ("UdpSocket", "does input or output"),
    ("TcpStream", "does input or output"),
    ("TcpListener", "does input or output"),
    ("Instant", "reads a clock: time is handed in"),
    ("SystemTime", "reads a clock: time is handed in"),
    ("HashMap", "has a random order: use BTreeMap"),
    ("HashSet", "has a random order: use BTreeSet"),
    ("print!", "prints"),
    ("println!", "prints"),
    ("eprintln!", "prints"),
    ("dbg!", "prints"),
];

/// Which rules apply to a package.
pub(crate) struct Room {
    pure: bool,
    may_be_unsafe: bool,
}

impl Room {
    pub(crate) fn of(package: &str) -> Self {
        Self { pure: walls::PURE.contains(&package), may_be_unsafe: package == UNSAFE }
    }

    /// Of no package of this workspace.
    pub(crate) fn outside() -> Self {
        Self { pure: false, may_be_unsafe: true }
    }
}

/// All breaches in one file.
pub(crate) fn check(file: &Path, room: &Room, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let length = text.lines().count();
    if length > LINES {
        breaches.push(format!("{}: {length} lines, and {LINES} are the most", file.display()));
    }
    let in_src = file.components().any(|part| part.as_os_str() == "src");
    for (number, line) in text.lines().enumerate() {
        let code = code(line);
        let mut breach = |what: String| breaches.push(format!("{}:{}: {what}", file.display(), number + 1));
        if !room.may_be_unsafe && names(&code, "unsafe") {
            breach(format!("`unsafe` belongs to {UNSAFE}"));
        }
        if code.contains("#[ignore") {
            breach("a test is never passed over: no `#[ignore]`".into());
        }
        if room.pure && in_src {
            for (banned, why) in PURE_BANS.iter().filter(|(banned, _)| names(&code, banned)) {
                breach(format!("`{banned}` {why}"));
            }
        }
    }
    breaches
}

/// The line without comments and without what is in quotation marks. Strings of several lines are taken for
/// code.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut quoted = false;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if quoted => {
                rest.next();
            }
            '"' => quoted = !quoted,
            _ if quoted => {}
            '\'' if rest.peek() == Some(&'"') => {
                rest.next();
            }
            '/' if rest.peek() == Some(&'/') => break,
            _ => code.push(c),
        }
    }
    code
}

/// `text` contains `name`, not as a part of a longer name.
fn names(text: &str, name: &str) -> bool {
    let belongs = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(start, _)| {
        let after = text[start + name.len()..].chars().next();
        let longer = name.ends_with(belongs) && after.is_some_and(belongs);
        !longer && !text[..start].ends_with(belongs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(package: &str, file: &str, text: &str) -> Vec<String> {
        check(Path::new(file), &Room::of(package), text)
    }

    #[test]
    fn pure_packages() {
        for line in [
            "use std::net::UdpSocket;",
            "use std::{fs, thread};",
            "    let now = std::time::Instant::now();",
            "fn f(at: SystemTime) {}",
            "std::thread::sleep(pause);",
            "println!(\"text\");",
            "let map: HashMap<u8, u8> = HashMap::new();",
        ] {
            assert_eq!(breaches("vipdrift-core", "crates/core/src/a.rs", line).len(), 1, "{line}");
            assert_eq!(
                breaches("vipdrift-wire", "crates/wire/tests/a.rs", line),
                Vec::<String>::new(),
                "{line}"
            );
            assert_eq!(
                breaches("vipdrift", "crates/vipdrift/src/a.rs", line),
                Vec::<String>::new(),
                "{line}"
            );
        }
        for line in [
            "use std::net::IpAddr;",
            "// std::fs is not used, nor Instant",
            "/// See std::time::Instant.",
            "let text = \"std::fs // Instant\";",
            "struct Instantly;",
            "let quote = '\"'; // Instant",
            "writeln!(f, \"text\")",
        ] {
            assert_eq!(
                breaches("vipdrift-core", "crates/core/src/a.rs", line),
                Vec::<String>::new(),
                "{line}"
            );
        }
    }

    #[test]
    fn unsafe_and_ignored() {
        let text = "let x = unsafe { f() };\n#[ignore = \"slow\"]\n#[deny(unsafe_code)]\n";
        assert_eq!(
            breaches("vipdrift-lab", "crates/lab/src/a.rs", text),
            [
                "crates/lab/src/a.rs:1: `unsafe` belongs to vipdrift-platform",
                "crates/lab/src/a.rs:2: a test is never passed over: no `#[ignore]`"
            ]
        );
        assert_eq!(breaches("vipdrift-platform", "crates/platform/src/a.rs", text).len(), 1);
    }

    #[test]
    fn long_files() {
        assert_eq!(breaches("xtask", "a.rs", &"\n".repeat(LINES)), Vec::<String>::new());
        assert_eq!(breaches("xtask", "a.rs", &"\n".repeat(LINES + 1)).len(), 1);
    }
}
