//! Everything that the brain must not open itself. Opened once, kept over every death of a brain.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use vipdrift_core::{Drained, Path as HeartbeatPath};
use vipdrift_platform::descriptor::{AsDescriptor, Borrowed, number};
use vipdrift_platform::echo::EchoSocket;
use vipdrift_platform::endpoint::{self, Listener};
use vipdrift_platform::file::{Access, make_folder, open_or_make};
use vipdrift_platform::frames::{FrameKind, FrameSocket};
use vipdrift_platform::pipe::MessagePipe;
pub(crate) use vipdrift_platform::privileges::REMEDY as PRIVILEGES;
use vipdrift_platform::{datagrams, echo, frames, tcp};

use crate::config::{Resolved, plain};
use crate::journal;
use crate::message::Descriptors;
use crate::state;

/// Why something could not be opened: one sentence, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Unopened {
    /// What went wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
    /// Somebody else has it at the moment.
    pub(crate) in_use: bool,
}

impl Unopened {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into(), in_use: false }
    }
}

/// The sockets, the state file and the files of the journal.
#[derive(Debug)]
pub(crate) struct Sockets {
    heartbeat: Vec<(IpAddr, UdpSocket)>,
    arp: FrameSocket,
    neighbor: FrameSocket,
    echo_v4: EchoSocket,
    echo_v6: Option<EchoSocket>,
    control: Listener,
    control_path: PathBuf,
    page: Option<TcpListener>,
    state: Option<File>,
    events: Vec<File>,
    journal: Vec<File>,
    /// Between brain and runner: the end of each.
    pub(super) runner: Option<(MessagePipe, MessagePipe)>,
    port: u16,
}

impl Sockets {
    /// Opens everything. The control socket's file is made, mode 0660, with its folder if that is missing; members of
    /// `group` may use it.
    ///
    /// # Errors
    /// The first thing that could not be opened. A control socket that was made is removed again.
    pub(crate) fn open(resolved: &Resolved, control: &Path, group: Option<u32>) -> Result<Self, Unopened> {
        let heartbeat = resolved
            .own
            .iter()
            .map(|local| Ok((local.ip(), heartbeat(*local)?)))
            .collect::<Result<Vec<_>, Unopened>>()?;
        let arp = FrameSocket::open(FrameKind::Arp).map_err(frame)?;
        let neighbor = FrameSocket::open(FrameKind::Neighbor).map_err(frame)?;
        let echo_v4 = EchoSocket::open_v4().map_err(echoes)?;
        let uses_v6 = resolved.vips.iter().any(|v| v.address.addr().is_ipv6())
            || resolved.own.iter().any(SocketAddr::is_ipv6);
        let echo_v6 = match EchoSocket::open_v6() {
            Ok(socket) => Some(socket),
            Err(error) if uses_v6 => return Err(echoes(error)),
            Err(_) => None,
        };
        let listener = listen(control, group)?;
        Ok(Self {
            heartbeat,
            arp,
            neighbor,
            echo_v4,
            echo_v6,
            control: listener,
            control_path: control.to_owned(),
            page: None,
            state: None,
            events: Vec::new(),
            journal: Vec::new(),
            runner: None,
            port: resolved.port,
        })
    }

    /// Opens the state file and those of the events in `folder`, which is made if it is missing. Answers what is drained.
    ///
    /// # Errors
    /// Why there will be no memory of a drained node.
    pub(crate) fn open_state(&mut self, folder: &Path) -> io::Result<Drained> {
        make_folder(folder, Access::Everybody)?;
        let mut file = open_or_make(&folder.join("state"), Access::Everybody)?;
        let mut content = Vec::new();
        (&mut file).take(state::LONGEST).read_to_end(&mut content)?;
        self.state = Some(file);
        let events = |name: &str| open_or_make(&folder.join(name), Access::Group);
        // Without them nothing but the past is lost.
        if let (Ok(first), Ok(second)) = (events("events.1"), events("events.2")) {
            self.events = vec![first, second];
        }
        Ok(state::read(&content))
    }

    /// Listens where the page is to be served.
    ///
    /// # Errors
    /// Why there will be no page.
    pub(crate) fn open_page(&mut self, at: SocketAddr) -> io::Result<()> {
        self.page = Some(tcp::listen(at)?);
        Ok(())
    }

    /// Opens the journal files of `node` in `folder`, which is made if it is missing. Only root and its group may look:
    /// whoever reads a journal knows the cluster.
    ///
    /// # Errors
    /// Why there will be no journal. Files that were made by then stay, empty.
    pub(crate) fn open_journal(&mut self, folder: &Path, node: &str) -> io::Result<()> {
        make_folder(folder, Access::Group)?;
        let files = journal::files(folder, node);
        self.journal =
            files.iter().map(|path| open_or_make(path, Access::Group)).collect::<io::Result<_>>()?;
        Ok(())
    }

    /// What a brain inherits.
    pub(crate) fn inherited(&self) -> Vec<Borrowed<'_>> {
        let mut all: Vec<_> = self.heartbeat.iter().map(|(_, socket)| socket.as_descriptor()).collect();
        all.extend([self.arp.as_descriptor(), self.neighbor.as_descriptor()]);
        all.extend([self.echo_v4.as_descriptor(), self.control.as_descriptor()]);
        all.extend(self.echo_v6.as_ref().map(AsDescriptor::as_descriptor));
        all.extend(self.page.as_ref().map(AsDescriptor::as_descriptor));
        all.extend(self.runner.as_ref().map(|(brain, _)| brain.as_descriptor()));
        all.extend(self.state.as_ref().map(AsDescriptor::as_descriptor));
        all.extend(self.events.iter().map(AsDescriptor::as_descriptor));
        all.extend(self.journal.iter().map(AsDescriptor::as_descriptor));
        all
    }

    /// Under which numbers.
    pub(crate) fn descriptors(&self) -> Descriptors {
        Descriptors {
            heartbeat: self.heartbeat.iter().map(|(_, socket)| number(socket)).collect(),
            arp: number(&self.arp),
            neighbor: number(&self.neighbor),
            echo_v4: number(&self.echo_v4),
            echo_v6: self.echo_v6.as_ref().map(number),
            control: number(&self.control),
            page: self.page.as_ref().map(number),
            runner: self.runner.as_ref().map(|(brain, _)| number(brain)),
            state: self.state.as_ref().map(number),
            events: self.events.iter().map(number).collect(),
            journal: self.journal.iter().map(number).collect(),
        }
    }

    /// Sends `word` to every peer on every path, twice, since nobody acknowledges it.
    pub(crate) fn tell(&self, paths: &[HeartbeatPath], word: &[u8]) {
        for _ in 0..2 {
            for path in paths {
                if let Some((_, socket)) = self.heartbeat.iter().find(|(local, _)| *local == path.local) {
                    // A peer that cannot be reached now would not have heard it anyway.
                    let _ = socket.send_to(word, SocketAddr::new(path.remote, self.port));
                }
            }
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        endpoint::remove(&self.control_path);
    }
}

/// Opens the heartbeat socket of an own address.
///
/// # Errors
/// Usually: another program, or another vipdrift, has the port.
pub(crate) fn heartbeat(local: SocketAddr) -> Result<UdpSocket, Unopened> {
    datagrams::bind(local).map_err(|error| match &error {
        datagrams::Error::InUse(_) => Unopened {
            what: format!("UDP port {} of {} is in use by another program", local.port(), local.ip()),
            remedy: format!(
                "see which with `ss -ulpn 'sport = {}'`; is vipdrift running already?",
                local.port()
            ),
            in_use: true,
        },
        _ => Unopened::new(error.to_string(), PRIVILEGES),
    })
}

fn frame(error: frames::Error) -> Unopened {
    Unopened::new(error.to_string(), PRIVILEGES)
}

fn echoes(error: echo::Error) -> Unopened {
    Unopened::new(error.to_string(), PRIVILEGES)
}

fn listen(path: &Path, group: Option<u32>) -> Result<Listener, Unopened> {
    let shown = path.display();
    endpoint::listen(path, group).map_err(|error| match error {
        endpoint::Error::InUse => Unopened {
            what: format!("another vipdrift is running: it answers on {shown}"),
            remedy: "stop it first, or give this one another --socket, other addresses and another port"
                .to_owned(),
            in_use: true,
        },
        endpoint::Error::Occupied => Unopened::new(
            format!("cannot make the control socket {shown}: something else is there"),
            "move it away, or name another place with --socket",
        ),
        endpoint::Error::Io(error) => Unopened::new(
            format!("cannot make the control socket {shown}: {}", plain(&error)),
            "name another place with --socket, or as `socket` in [control]",
        ),
    })
}
