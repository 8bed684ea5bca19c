//! Is a file there, and can it be read?

use std::fs::File;
use std::io::Read;
use std::path::Path;

use vipdrift_platform::error::plain;

use crate::output::Outcome;

/// May block, where a file system hangs.
pub(crate) fn look(path: &Path) -> Outcome {
    let read = File::open(path).and_then(|mut file| {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(std::io::Error::other("not a file"));
        }
        // Opening alone does not find out about a disk that is gone.
        file.read(&mut [0; 1])
    });
    match read {
        Ok(_) => Outcome::good(format!("{} can be read", path.display())),
        Err(error) => Outcome::bad(format!("{}: {}", path.display(), plain(&error))),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn there_missing_and_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flag");
        assert_eq!(look(&path).summary, format!("{}: no such file or directory", path.display()));
        std::fs::write(&path, "").unwrap();
        assert!(look(&path).good);
        assert_eq!(look(folder.path()).summary, format!("{}: not a file", folder.path().display()));
    }
}
