//! Where programs of this machine reach the daemon: a Unix socket (unix(7)).

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::file::{Access, make_folder};

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT: &str = "/run/vipdrift/control.sock";

/// Why nobody can listen there; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody listens there.
    #[error("somebody listens there")]
    InUse,
    /// There is something that is no socket.
    #[error("something else is there")]
    Occupied,
    /// Anything else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
}

/// Makes a socket at `path`, mode 0660, with its folder if that is missing, and listens; members of `group` may use it. One
/// without a listener is replaced.
///
/// # Errors
/// [`Error`].
pub fn listen(path: &Path, group: Option<u32>) -> Result<Listener, Error> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder, Access::Everybody)?;
    }
    if let Ok(about) = path.symlink_metadata() {
        if !about.file_type().is_socket() {
            return Err(Error::Occupied);
        }
        if answers(path) {
            return Err(Error::InUse);
        }
        std::fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path)?;
    if group.is_some() {
        // In a namespace without that group the socket stays with this one.
        let _ = std::os::unix::fs::chown(path, None, group);
    }
    let ready = socket
        .set_nonblocking(true)
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o660)));
    ready.inspect_err(|_| remove(path))?;
    Ok(Listener { socket })
}

/// Whether somebody listens there. Waits for nobody.
#[must_use]
pub fn answers(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Removes the file of a socket on which nobody is to listen any more.
pub fn remove(path: &Path) {
    // A socket without a listener would only make the next start look twice.
    let _ = std::fs::remove_file(path);
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<OwnedFd> for Listener {
    /// Takes over a listener made by [`listen`], here or in the parent process.
    fn from(fd: OwnedFd) -> Self {
        Self { socket: fd.into() }
    }
}

/// A [`Listener`] in a tokio runtime.
#[derive(Debug)]
pub struct Accepts {
    socket: tokio::net::UnixListener,
}

/// One connection.
pub type Stream = tokio::net::UnixStream;

impl Accepts {
    /// To be called within a runtime that has its I/O driver enabled.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub fn new(listener: Listener) -> io::Result<Self> {
        Ok(Self { socket: tokio::net::UnixListener::from_std(listener.socket)? })
    }

    /// The next connection.
    ///
    /// # Errors
    /// No descriptors or memory left; there may be another try.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        Ok(self.socket.accept().await?.0)
    }
}
