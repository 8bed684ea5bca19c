//! systemd's journal: records with fields, by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::sys::stat::fstat;

use super::process::memory_file;

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether standard error of this process is the journal: the service manager says so in the environment, and it has not
/// been redirected since (systemd.exec(5), `$JOURNAL_STREAM`).
#[must_use]
pub fn is_standard_error() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| names(&stream, io::stderr()))
}

/// `stream` is device and inode number of this descriptor, in decimal.
fn names(stream: &str, descriptor: impl AsFd) -> bool {
    let Some((device, inode)) = stream.split_once(':') else { return false };
    fstat(descriptor).is_ok_and(|file| device.parse() == Ok(file.st_dev) && inode.parse() == Ok(file.st_ino))
}

/// A way to the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// The journal that listens at `path`, usually [`SOCKET`]. Whether it does is seen when something is sent: a journal that is
    /// started anew is found again.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { socket: UnixDatagram::unbound()?, path: path.to_owned() })
    }

    /// Sends a record. Names of fields are upper-case letters, digits and underscores, as
    /// systemd.journal-fields(7) has them; values may be any text. Waits while the journal has as much to read as it takes:
    /// not for a thread that has anything else to do.
    ///
    /// # Errors
    /// Nobody listens there, or the record is too large for a datagram and there is no memory for a file. It is lost.
    pub fn send(&self, fields: &[(&str, &str)]) -> io::Result<()> {
        let record = encode(fields);
        loop {
            match self.socket.send_to(&record, &self.path) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return self.send_file(&record),
                Err(error) => return Err(error),
            }
        }
    }

    /// As a file in memory, whose descriptor is all that is sent.
    fn send_file(&self, record: &[u8]) -> io::Result<()> {
        let file = memory_file(c"vipdrift-log", record).map_err(io::Error::other)?;
        let (address, descriptors) = (UnixAddr::new(&self.path)?, [file.as_raw_fd()]);
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let (socket, nothing) = (self.socket.as_raw_fd(), [IoSlice::new(&[])]);
        loop {
            match sendmsg(socket, &nothing, &rights, MsgFlags::empty(), Some(&address)) {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // A line would end too soon: the length goes before the value.
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{IoSliceMut, Read as _, Seek as _};
    use std::os::fd::{FromRawFd as _, OwnedFd};

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    /// The next record that somebody who listens gets, and whether it came as a file.
    fn receive(socket: &UnixDatagram) -> (Vec<(String, String)>, bool) {
        let mut bytes = vec![0; 1 << 20];
        let mut room = nix::cmsg_space!([i32; 1]);
        let (length, descriptor) = {
            let mut slices = [IoSliceMut::new(&mut bytes)];
            let message =
                recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut room), MsgFlags::empty()).unwrap();
            let descriptor = message.cmsgs().unwrap().find_map(|message| match message {
                ControlMessageOwned::ScmRights(rights) => rights.first().copied(),
                _ => None,
            });
            (message.bytes, descriptor)
        };
        bytes.truncate(length);
        let Some(descriptor) = descriptor else { return (decode(&bytes), false) };
        assert!(bytes.is_empty(), "a descriptor comes alone");
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        let mut file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
        let seals = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GET_SEALS).unwrap();
        assert_eq!(seals & 0xf, 0xf, "nobody can change it any more");
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        (decode(&bytes), true)
    }

    /// Written after the protocol's documentation.
    fn decode(mut bytes: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            match line.iter().position(|byte| *byte == b'=') {
                Some(at) => fields.push((text(&line[..at]), text(&line[at + 1..]))),
                None => {
                    let (length, rest) = bytes.split_first_chunk().unwrap();
                    let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
                    fields.push((text(line), text(value)));
                    bytes = rest.strip_prefix(b"\n").unwrap();
                }
            }
        }
        fields
    }

    fn listener() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::new(&path).unwrap();
        (folder, socket, journal)
    }

    #[test]
    fn whatever_is_in_a_field_arrives() {
        let (_folder, socket, journal) = listener();
        let huge = "a line\n".repeat(200_000);
        for value in
            ["", "web: standby -> active", "a=b=c", "one\ntwo", "\n", "MESSAGE=x\nPRIORITY=0\n", &huge]
        {
            journal.send(&[("PRIORITY", "6"), ("MESSAGE", value), ("VIPDRIFT_GROUP", "web")]).unwrap();
            let (fields, as_file) = receive(&socket);
            let expected = [("PRIORITY", "6"), ("MESSAGE", value), ("VIPDRIFT_GROUP", "web")];
            assert!(fields.iter().map(|(name, value)| (&**name, &**value)).eq(expected), "{value:.20}");
            assert_eq!(as_file, value.len() > 1_000_000);
        }
    }

    #[test]
    fn nobody_there_is_an_error_and_a_new_listener_is_found() {
        let (folder, socket, journal) = listener();
        drop(socket);
        assert!(journal.send(&[("MESSAGE", "one")]).is_err());
        std::fs::remove_file(folder.path().join("socket")).unwrap();
        assert!(journal.send(&[("MESSAGE", "two")]).is_err());
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        journal.send(&[("MESSAGE", "three")]).unwrap();
        assert_eq!(receive(&socket), (vec![("MESSAGE".into(), "three".into())], false));
    }

    #[test]
    fn a_stream_is_known_by_its_numbers() {
        let file = tempfile::tempfile().unwrap();
        let about = fstat(&file).unwrap();
        let right = format!("{}:{}", about.st_dev, about.st_ino);
        assert!(names(&right, &file));
        for wrong in ["", ":", "0:0", &format!("{right}0"), &format!("{right} "), &right.replace(':', ".")] {
            assert!(!names(wrong, &file), "{wrong}");
        }
    }
}
