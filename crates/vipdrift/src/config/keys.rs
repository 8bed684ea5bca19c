//! The cluster's keys: read once by the keeper, handed to every brain, shown to nobody.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vipdrift_platform::file::open_to_everybody;

use super::file::{Config, KeySource, hex_key};
use super::problem::{Problem, Problems, Refused};
use super::{Loaded, plain};

/// Keys in the clear. `Debug` shows nothing.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    current: Vec<u8>,
    previous: Option<Vec<u8>>,
    /// What the page takes orders for.
    #[serde(default)]
    token: Option<Vec<u8>>,
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
        let Config { cluster, control, .. } = &loaded.config;
        let current = take(&cluster.key, folder, KEY, &problems);
        let previous = cluster.previous_key.as_ref().map(|source| take(source, folder, KEY, &problems));
        let token = control.token.as_ref().map(|source| take(source, folder, TOKEN, &problems));
        match (current, previous, token) {
            (Some(current), previous, token) if previous != Some(None) && token != Some(None) => {
                Ok(Self { current, previous: previous.flatten(), token: token.flatten() })
            }
            _ => Err(problems.into_refused(&path.display().to_string(), &loaded.text)),
        }
    }

    /// Whether this is the token of the page, in hexadecimal. `None`: there is none.
    pub(crate) fn is_token(&self, text: &str) -> Option<bool> {
        let token = self.token.as_ref()?;
        // Hashes tell nothing by how long it takes to compare them.
        let same = |bytes: Vec<u8>| Sha256::digest(&bytes) == Sha256::digest(token);
        Some(hex_key(text).is_ok_and(same))
    }

    /// Derives what the heartbeats are authenticated with.
    pub(crate) fn keys(&self, cluster: &str) -> vipdrift_wire::heartbeat::Keys {
        vipdrift_wire::heartbeat::Keys::new(cluster, &self.current, self.previous.as_deref())
    }
}

/// What a file holds: what it is called, and how one comes by it.
type Kind = (&'static str, &'static str);
const KEY: Kind = ("key", "copy it from a node that has it; on the first node, ");
const TOKEN: Kind = ("token", "");

fn take(source: &KeySource, folder: &Path, kind: Kind, problems: &Problems) -> Option<Vec<u8>> {
    let spanned = match source {
        KeySource::Inline(key) => return Some(key.get_ref().clone()),
        KeySource::File(spanned) => spanned,
    };
    let path = folder.join(spanned.get_ref());
    match key_file(&path, kind) {
        Ok(key) => Some(key),
        Err((title, help)) => {
            problems.add(
                Problem::at(
                    spanned.span(),
                    format!("the {} file {}: {title}", kind.0, path.display()),
                    "named here",
                )
                .help(help),
            );
            None
        }
    }
}

/// The key in a file, or what is wrong and what to do.
fn key_file(path: &Path, (what, how): Kind) -> Result<Vec<u8>, (String, String)> {
    /// Longer than any key.
    const LONGEST: u64 = 4096;
    let made = || format!("{how}`vipdrift key --out {}` makes one", path.display());
    let about = path.metadata().map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => made(),
            _ => "run as root, or as a user who may read the file".to_owned(),
        };
        (format!("cannot be read: {}", plain(&error)), help)
    })?;
    if !about.is_file() || about.len() > LONGEST {
        return Err((format!("is not a {what} file"), made()));
    }
    if let Some((done, remedy)) = open_to_everybody(path, &about) {
        return Err((format!("can be {done} by everybody"), remedy));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        (
            format!("cannot be read: {}", plain(&error)),
            "run as root, or as a user who may read the file".to_owned(),
        )
    })?;
    hex_key(&text).map_err(|why| (why, made()))
}
