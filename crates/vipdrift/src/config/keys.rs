//! The cluster's keys: read once by the keeper, handed to every brain, shown to nobody.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vipdrift_platform::file::open_to_everybody;

use super::file::{Config, KeySource, hex_key};
use super::problem::{Problem, Problems, Refused};
use super::{Loaded, plain};

/// Keys in the clear. `Debug` shows nothing.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    current: Vec<u8>,
    previous: Option<Vec<u8>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Takes the keys out of the configuration, or out of the files that it names (relative to its own folder).
    ///
    /// # Errors
    /// A key file that cannot be read, is too short, or is open to everybody, shown at its place.
    pub(crate) fn read(path: &Path, loaded: &Loaded) -> Result<Self, Refused> {
        let problems = Problems::default();
        let folder = path.parent().unwrap_or(Path::new("."));
        let Config { cluster, .. } = &loaded.config;
        let current = take(&cluster.key, folder, &problems);
        let previous = cluster.previous_key.as_ref().map(|source| take(source, folder, &problems));
        match (current, previous) {
            (Some(current), None) => Ok(Self { current, previous: None }),
            (Some(current), Some(Some(previous))) => Ok(Self { current, previous: Some(previous) }),
            _ => Err(problems.into_refused(&path.display().to_string(), &loaded.text)),
        }
    }

    /// Derives what the heartbeats are authenticated with.
    pub(crate) fn keys(&self, cluster: &str) -> vipdrift_wire::heartbeat::Keys {
        vipdrift_wire::heartbeat::Keys::new(cluster, &self.current, self.previous.as_deref())
    }
}

fn take(source: &KeySource, folder: &Path, problems: &Problems) -> Option<Vec<u8>> {
    let spanned = match source {
        KeySource::Inline(key) => return Some(key.get_ref().clone()),
        KeySource::File(spanned) => spanned,
    };
    let path = folder.join(spanned.get_ref());
    match key_file(&path) {
        Ok(key) => Some(key),
        Err((title, help)) => {
            problems.add(
                Problem::at(
                    spanned.span(),
                    format!("the key file {}: {title}", path.display()),
                    "named here",
                )
                .help(help),
            );
            None
        }
    }
}

/// The key in a file, or what is wrong and what to do.
fn key_file(path: &Path) -> Result<Vec<u8>, (String, String)> {
    /// Longer than any key.
    const LONGEST: u64 = 4096;
    let made = || {
        format!(
            "copy it from a node that has it; on the first node, `vipdrift key --out {}` makes one",
            path.display()
        )
    };
    let about = path.metadata().map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => made(),
            _ => "run as root, or as a user who may read the file".to_owned(),
        };
        (format!("cannot be read: {}", plain(&error)), help)
    })?;
    if !about.is_file() || about.len() > LONGEST {
        return Err(("is not a key file".into(), made()));
    }
    if let Some((what, remedy)) = open_to_everybody(path, &about) {
        return Err((format!("can be {what} by everybody"), remedy));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        (
            format!("cannot be read: {}", plain(&error)),
            "run as root, or as a user who may read the file".to_owned(),
        )
    })?;
    hex_key(&text).map_err(|why| (why, made()))
}
