//! `vipdrift key`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use vipdrift_platform::file::{Access, make_new};

use super::{DONE, NOT_DONE, fail};
use crate::config::plain;

/// As long as the output of the hash that authenticates heartbeats.
const BYTES: usize = 32;

pub(super) fn run(out: Option<&Path>) -> u8 {
    let mut key = [0; BYTES];
    if let Err(error) = getrandom::fill(&mut key) {
        return fail(NOT_DONE, &format!("the system gives no random bytes: {error}"));
    }
    let mut hex = String::new();
    for byte in key {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.push('\n');
    let Some(path) = out else {
        return match io::stdout().write_all(hex.as_bytes()) {
            Ok(()) => DONE,
            Err(error) => fail(NOT_DONE, &plain(&error)),
        };
    };
    match write(path, &hex) {
        Ok(()) => {
            eprintln!(
                "wrote {}; copy it to every node of the cluster, readable by root only",
                path.display()
            );
            DONE
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fail(
            NOT_DONE,
            &format!(
                "{} exists; a key is never overwritten: remove it first, or name another file",
                path.display()
            ),
        ),
        Err(error) => fail(NOT_DONE, &format!("cannot write {}: {}", path.display(), plain(&error))),
    }
}

/// Makes the file anew; a file that could not be written whole is removed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = make_new(path, Access::Owner)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}
