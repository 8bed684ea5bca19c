//! Where programs of this machine reach the daemon: a named pipe.
//!
//! The keeper holds one instance of the pipe that nobody can connect to. It keeps the name, with who may use it, from the
//! keeper's start to its end; it is what a brain inherits, to learn the name. The brain makes instances of its own beside it and
//! serves those: an instance can be bound to the completion port of one process only, for as long as it exists, so one that a dead
//! brain has served could be served by no other (CreateIoCompletionPort, ERROR_INVALID_PARAMETER).

use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr;

use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_BAD_PATHNAME, ERROR_FILE_NOT_FOUND, ERROR_INVALID_NAME,
    ERROR_NO_DATA, ERROR_PIPE_BUSY, GENERIC_READ, GENERIC_WRITE, GetLastError, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, FILE_NAME_INFO, FileNameInfo,
    GetFileInformationByHandleEx, OPEN_EXISTING, PIPE_ACCESS_DUPLEX, SECURITY_ANONYMOUS,
    SECURITY_SQOS_PRESENT,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, DisconnectNamedPipe, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE,
    PIPE_UNLIMITED_INSTANCES, WaitNamedPipeW,
};
use windows_sys::Win32::System::Threading::CreateMutexW;

use super::descriptor::{AsDescriptor, Borrowed, Owned};
use super::security::Descriptor;
use super::text::wide;

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT: &str = r"\\.\pipe\vipdrift";

/// What all names of pipes begin with.
const PREFIX: &str = r"\\.\pipe\";
/// Room for what was not read yet, each way, in bytes.
const ROOM: u32 = 64 * 1024;
/// So many instances wait for clients: while the place of one is being filled, the other is there.
const WAITING: usize = 2;

/// Why nobody can listen there; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody listens there.
    #[error("somebody listens there")]
    InUse,
    /// It is no name of a pipe.
    #[error("not the name of a pipe, such as {DEFAULT}")]
    Occupied,
    /// Anything else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The name, held.
#[derive(Debug)]
pub struct Listener {
    pipe: OwnedHandle,
    /// Says the same once more: not every system heeds that a pipe is to be the first of its name. None in a brain.
    #[expect(dead_code, reason = "held for as long as the name is")]
    name: Option<OwnedHandle>,
}

/// Makes a pipe of this name. The system, administrators and the user of this process may use it, nobody else, and
/// nobody from other machines. `group` has no meaning here.
///
/// # Errors
/// [`Error`].
pub fn listen(path: &Path, _group: Option<u32>) -> Result<Listener, Error> {
    let text = path.to_str().filter(|text| is_pipe(text)).ok_or(Error::Occupied)?;
    let name = hold(text)?;
    let (wide, descriptor) = (wide(text), Descriptor::owner_only(false)?);
    let attributes = descriptor.attributes();
    // SAFETY: the name ends with zero; it, the attributes and what they point to live across the call.
    let raw = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED,
            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            ROOM,
            ROOM,
            0,
            &raw const attributes,
        )
    };
    if raw == INVALID_HANDLE_VALUE {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error().map(i32::cast_unsigned) {
            // Documented for a second first instance; and one whose owner has not let us make another.
            Some(ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY) => Error::InUse,
            Some(ERROR_INVALID_NAME | ERROR_BAD_PATHNAME) => Error::Occupied,
            _ => Error::Io(error),
        });
    }
    // SAFETY: the handle was just made for us.
    let pipe = unsafe { OwnedHandle::from_raw_handle(raw) };
    close_to_clients(&pipe, &wide)?;
    Ok(Listener { pipe, name: Some(name) })
}

fn is_pipe(text: &str) -> bool {
    let rest = text.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX));
    rest.is_some()
        && text.len() > PREFIX.len()
        && !text.contains('\0')
        && !text[PREFIX.len()..].contains('\\')
}

/// Takes the name for this process alone (CreateMutexW).
fn hold(path: &str) -> Result<OwnedHandle, Error> {
    let name = wide(format!(r"Global\vipdrift-pipe-{}", path[PREFIX.len()..].to_lowercase()));
    let descriptor = Descriptor::owner_only(false)?;
    let attributes = descriptor.attributes();
    // SAFETY: the name ends with zero; it, the attributes and what they point to live across the call.
    let raw = unsafe { CreateMutexW(&raw const attributes, 0, name.as_ptr()) };
    // SAFETY: takes no pointer.
    let code = unsafe { GetLastError() };
    if raw.is_null() {
        // One of somebody else's, who does not let us open it.
        return Err(if code == ERROR_ACCESS_DENIED {
            Error::InUse
        } else {
            Error::Io(io::Error::from_raw_os_error(code.cast_signed()))
        });
    }
    // SAFETY: the handle was just made for us.
    let held = unsafe { OwnedHandle::from_raw_handle(raw) };
    if code == ERROR_ALREADY_EXISTS { Err(Error::InUse) } else { Ok(held) }
}

/// A new instance waits for clients from its beginning. This one gets ours, and is rid of it: then nobody can connect to it, and
/// whoever tries is told that all are busy.
fn close_to_clients(pipe: &OwnedHandle, name: &[u16]) -> io::Result<()> {
    // SAFETY: the name ends with zero and lives across the call.
    let raw = unsafe {
        CreateFileW(
            name.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            0,
            ptr::null(),
            OPEN_EXISTING,
            SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS,
            ptr::null_mut(),
        )
    };
    // Where it fails somebody was faster, who is thrown out as well.
    // SAFETY: the handle was just made for us.
    let ours = (raw != INVALID_HANDLE_VALUE).then(|| unsafe { OwnedHandle::from_raw_handle(raw) });
    // SAFETY: the pipe is open.
    let thrown_out = unsafe { DisconnectNamedPipe(pipe.as_raw_handle()) };
    let error = io::Error::last_os_error();
    drop(ours);
    if thrown_out == 0 { Err(error) } else { Ok(()) }
}

/// Whether somebody listens there. Waits for nobody.
#[must_use]
pub fn answers(path: &Path) -> bool {
    let Some(name) = path.to_str().filter(|text| is_pipe(text)).map(wide) else { return false };
    // SAFETY: the name ends with zero and lives across the call; waits for a millisecond at most.
    if unsafe { WaitNamedPipeW(name.as_ptr(), 1) } != 0 {
        return true;
    }
    // All instances are busy, or it may not be used: it is there.
    // SAFETY: takes no pointer.
    !matches!(unsafe { GetLastError() }, ERROR_FILE_NOT_FOUND | ERROR_INVALID_NAME | ERROR_BAD_PATHNAME)
}

/// A pipe is gone with its last handle: does nothing.
pub fn remove(_path: &Path) {}

impl AsDescriptor for Listener {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.pipe.as_handle().into()
    }
}

impl From<Owned> for Listener {
    /// Takes over what [`listen`] has made in the parent process.
    fn from(owned: Owned) -> Self {
        Self { pipe: owned.into(), name: None }
    }
}

/// A [`Listener`] in a tokio runtime.
#[derive(Debug)]
pub struct Accepts {
    /// Keeps the name, and who may use it.
    #[expect(dead_code, reason = "held for as long as somebody listens")]
    listener: Listener,
    name: String,
    waiting: [NamedPipeServer; WAITING],
}

/// One connection.
pub type Stream = NamedPipeServer;

impl Accepts {
    /// To be called within a runtime that has its I/O driver enabled. From now on clients can connect.
    ///
    /// # Errors
    /// No handles or memory left.
    pub fn new(listener: Listener) -> io::Result<Self> {
        let name = name(&listener.pipe)?;
        let waiting = [instance(&name)?, instance(&name)?];
        Ok(Self { listener, name, waiting })
    }

    /// The next connection.
    ///
    /// # Errors
    /// No handles or memory left; there may be another try.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            let [first, second] = &self.waiting;
            let (which, connected) = tokio::select! {
                connected = first.connect() => (0, connected),
                connected = second.connect() => (1, connected),
            };
            match connected {
                Ok(()) => {
                    // Should that fail, the client is still there at the next try.
                    let next = instance(&self.name)?;
                    return Ok(std::mem::replace(&mut self.waiting[which], next));
                }
                // The client has gone again.
                Err(error) if error.raw_os_error() == Some(ERROR_NO_DATA.cast_signed()) => {
                    self.waiting[which].disconnect()?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Another instance of the pipe, which waits for a client from its beginning.
fn instance(name: &str) -> io::Result<NamedPipeServer> {
    let descriptor = Descriptor::owner_only(false)?;
    let mut attributes = descriptor.attributes();
    let mut options = ServerOptions::new();
    options.reject_remote_clients(true).in_buffer_size(ROOM).out_buffer_size(ROOM);
    // SAFETY: the attributes and what they point to live across the call.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}

/// The name that a pipe was made with.
fn name(pipe: &OwnedHandle) -> io::Result<String> {
    // The length of the name in bytes, and the name; in words of four bytes, as the structure wants it.
    let mut answer = [0u32; 300];
    #[expect(clippy::cast_possible_truncation, reason = "some hundred bytes")]
    let room = size_of_val(&answer) as u32;
    // SAFETY: the handle is open; address and room are those of `answer`.
    let known = unsafe {
        GetFileInformationByHandleEx(pipe.as_raw_handle(), FileNameInfo, answer.as_mut_ptr().cast(), room)
    };
    if known == 0 {
        return Err(io::Error::last_os_error());
    }
    let length = answer[0] as usize / 2;
    let units = answer[1..].iter().flat_map(|word| {
        let [a, b, c, d] = word.to_ne_bytes();
        [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
    });
    const { assert!(std::mem::offset_of!(FILE_NAME_INFO, FileName) == 4) };
    let units: Vec<u16> = units.take(length).collect();
    let text = String::from_utf16(&units).map_err(io::Error::other)?;
    Ok(format!("{PREFIX}{}", text.trim_start_matches('\\')))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::windows::named_pipe::ClientOptions;

    use super::*;

    fn path(what: &str) -> String {
        format!(r"\\.\pipe\vipdrift-test-{what}-{}", std::process::id())
    }

    fn busy(result: io::Result<tokio::net::windows::named_pipe::NamedPipeClient>) -> bool {
        result.is_err_and(|error| error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed()))
    }

    // Under wine 8 it is the mutex alone that refuses the second: it takes a second first instance.
    #[test]
    fn a_name_is_had_once() {
        let path = path("once");
        let path = Path::new(&path);
        assert!(!answers(path));
        let listener = listen(path, None).unwrap();
        assert!(answers(path));
        assert!(matches!(listen(path, None), Err(Error::InUse)));
        drop(listener);
        assert!(!answers(path));
        drop(listen(path, Some(3)).unwrap());
        for wrong in ["", "vipdrift", r"C:\vipdrift", r"\\.\pipe\", r"\\.\pipe\a\b", r"\\host\pipe\a"] {
            assert!(matches!(listen(Path::new(wrong), None), Err(Error::Occupied)), "{wrong}");
            assert!(!answers(Path::new(wrong)));
        }
    }

    async fn exchange(accepts: &mut Accepts, path: &str) {
        let mut client = ClientOptions::new().open(path).unwrap();
        let mut served = accepts.accept().await.unwrap();
        client.write_all(b"ask").await.unwrap();
        let mut buffer = [0; 3];
        served.read_exact(&mut buffer).await.unwrap();
        served.write_all(b"yes").await.unwrap();
        client.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"yes");
    }

    #[tokio::test]
    async fn one_brain_after_another_serves_clients() {
        let path = path("serve");
        let listener = listen(Path::new(&path), None).unwrap();
        assert!(busy(ClientOptions::new().open(&path)), "nobody serves yet");
        for _ in 0..2 {
            let brain: Owned = listener.pipe.try_clone().unwrap().into();
            let mut accepts = Accepts::new(brain.into()).unwrap();
            assert_eq!(accepts.name, path);
            for _ in 0..5 {
                exchange(&mut accepts, &path).await;
            }
            // Two at once.
            let clients: Vec<_> = (0..2).map(|_| ClientOptions::new().open(&path).unwrap()).collect();
            for _ in &clients {
                accepts.accept().await.unwrap();
            }
            // One that is gone before it is accepted keeps nobody.
            drop(ClientOptions::new().open(&path).unwrap());
            exchange(&mut accepts, &path).await;
            drop(accepts);
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(busy(ClientOptions::new().open(&path)), "nobody serves any more");
            assert!(answers(Path::new(&path)));
        }
    }
}
