//! A brain as its keeper sees it: a process, a pipe, and when it was last heard.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;

use vipdrift_core::Timestamp;
use vipdrift_platform::descriptor::{self, AsDescriptor as _, Owned};
use vipdrift_platform::pipe::{self, MessagePipe, Received};
use vipdrift_platform::process::{self, Child, Exit};

use super::sockets::Sockets;
use crate::message::{LONGEST, Life, ToBrain, ToKeeper, encode};

/// A running brain.
#[derive(Debug)]
pub(crate) struct Brain {
    pub(crate) child: Child,
    pipe: MessagePipe,
    /// Messages that the pipe would not take yet.
    waiting: VecDeque<Vec<u8>>,
    /// When it was started.
    pub(crate) started: Timestamp,
    /// When it was last heard.
    pub(crate) heard: Timestamp,
    /// It said that it runs.
    pub(crate) ready: bool,
    /// It said that it has real-time priority.
    pub(crate) real_time: bool,
    /// It has beaten.
    pub(crate) beaten: bool,
    buffer: Vec<u8>,
}

/// What reading the pipe gave.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A message.
    Message(ToKeeper),
    /// Nothing now.
    Nothing,
    /// It has closed its end, or talks nonsense.
    Lost,
}

impl Brain {
    /// Starts one; `confined`: with less than this process has.
    ///
    /// # Errors
    /// No process, memory or descriptors; nothing is left behind.
    pub(crate) fn start(
        setup: &Owned,
        life: &Life,
        sockets: &Sockets,
        confined: bool,
        now: Timestamp,
    ) -> Result<Self, String> {
        let (ours, theirs) = pipe::pair().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let life = process::memory_file(c"vipdrift-life", &encode(life)).map_err(|e| e.to_string())?;
        let mut inherit = sockets.inherited();
        inherit.extend([setup.as_descriptor(), life.as_descriptor(), theirs.as_descriptor()]);
        let args = ["brain".into(), argument(setup), argument(&life), argument(&theirs)];
        let program =
            process::this_program().map_err(|error| format!("cannot find this program: {error}"))?;
        let spawn = if confined { process::spawn_confined } else { process::spawn };
        let child = spawn(&program, &args, &inherit).map_err(|error| error.to_string())?;
        Ok(Self {
            child,
            pipe: ours,
            waiting: VecDeque::new(),
            started: now,
            heard: now,
            ready: false,
            real_time: false,
            beaten: false,
            buffer: vec![0; LONGEST],
        })
    }

    /// To be polled for [`Brain::receive`].
    pub(crate) fn pipe(&self) -> &MessagePipe {
        &self.pipe
    }

    /// Says something; what the pipe does not take now is kept for [`Brain::flush`].
    pub(crate) fn say(&mut self, message: &ToBrain) {
        self.waiting.push_back(encode(message));
        self.flush();
    }

    /// Says what was kept.
    pub(crate) fn flush(&mut self) {
        while let Some(message) = self.waiting.front() {
            match self.pipe.send(message) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Nobody reads any more: noticed by reading.
                Err(_) => {}
            }
            self.waiting.pop_front();
        }
    }

    /// Whether something is kept.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next message.
    pub(crate) fn receive(&mut self) -> Heard {
        match self.pipe.receive(&mut self.buffer) {
            Ok(Received::Message(length)) => match serde_json::from_slice(&self.buffer[..length]) {
                Ok(message) => Heard::Message(message),
                Err(_) => Heard::Lost,
            },
            Ok(Received::Empty) => Heard::Nothing,
            Ok(Received::Closed) | Err(_) => Heard::Lost,
        }
    }
}

/// How a child process is told what it inherits.
pub(super) fn argument(of: &impl descriptor::AsDescriptor) -> OsString {
    descriptor::number(of).to_string().into()
}

/// How a process ended, for people.
pub(crate) fn how(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with status {code}"),
        Exit::Signal(number) => format!("was killed by signal {number}"),
    }
}
