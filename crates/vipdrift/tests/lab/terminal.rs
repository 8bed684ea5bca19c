//! A terminal of its own with a program on it, and what is on its screen.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;

use crate::picture;
use crate::support::PATIENCE;

/// What the shell would print next.
const PROMPT: &str = "prompt of the shell";

/// Begin and end of a drawing (synchronized output, DEC private mode 2026).
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// A terminal with a program on it.
pub(crate) struct Terminal {
    master: File,
    /// Kept open, so that the terminal outlives the program and can be looked at.
    slave: OwnedFd,
    before: Termios,
    screen: vt100::Parser,
    /// Everything that was written to it.
    written: Vec<u8>,
    program: Child,
}

impl Terminal {
    /// Starts a program on a terminal of so many columns and lines, where `place` runs it.
    pub(crate) fn start(
        command: &Command,
        (columns, lines): (u16, u16),
        place: impl FnOnce(&mut Command) -> Child,
    ) -> Self {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let mut screen = vt100::Parser::new(rows(lines), rows(columns), 100);
        screen.process(b"before\r\n");
        // It becomes the leader of a session with this terminal, as from a shell: then the kernel tells it of another
        // size and of the terminal's end.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        session.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        session.stdin(end()).stdout(end()).stderr(end());
        let before = tcgetattr(&pair.slave).unwrap();
        let program = place(&mut session);
        Self {
            master: File::from(pair.master),
            slave: pair.slave,
            before,
            screen,
            written: Vec::new(),
            program,
        }
    }

    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    /// The program has the terminal for itself: an alternate screen, no cursor, no lines that are edited.
    pub(crate) fn is_taken(&self) -> bool {
        let lines = tcgetattr(&self.slave).unwrap().local_flags.contains(LocalFlags::ICANON);
        self.screen().alternate_screen() && self.screen().hide_cursor() && !lines
    }

    /// Keeps a picture of what is seen now, if anybody wants one.
    pub(crate) fn picture(&mut self, name: &str) {
        if !picture::are_wanted() {
            return;
        }
        // So that not everything has happened just now.
        self.read(Duration::from_secs(3));
        picture::keep(self.screen(), name);
    }

    /// What is on the screen now.
    pub(crate) fn text(&mut self) -> String {
        self.read(Duration::ZERO);
        self.screen.screen().contents()
    }

    /// No drawing is half done: the last mark is one of an end.
    fn is_whole(&self) -> bool {
        let last = |mark: &[u8]| self.written.windows(mark.len()).rposition(|bytes| bytes == mark);
        last(BEGIN) <= last(END)
    }

    fn read(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::try_from(left).unwrap()).unwrap();
            if ready == 0 {
                return;
            }
            let mut bytes = [0; 4096];
            let count = self.master.read(&mut bytes).unwrap();
            self.screen.process(&bytes[..count]);
            self.written.extend_from_slice(&bytes[..count]);
        }
    }

    /// Waits until a screen that is wholly drawn shows what is wanted.
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE * 2;
        loop {
            let text = self.text();
            if self.is_whole() && wanted(&text) {
                return text;
            }
            assert!(Instant::now() < until, "not seen: {what}\n{text}");
            self.read(Duration::from_millis(20));
        }
    }

    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        self.wait(text, |seen| seen.contains(text))
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&mut self, (columns, lines): (u16, u16)) {
        // The tool sets it on its standard input, which is all that a size needs.
        let size = ["rows", &lines.to_string(), "cols", &columns.to_string()].map(str::to_owned);
        let stdin = Stdio::from(self.slave.try_clone().unwrap());
        assert!(Command::new("stty").args(size).stdin(stdin).status().unwrap().success());
        self.screen.screen_mut().set_size(rows(lines), rows(columns));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.program.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE * 6;
        loop {
            if let Some(status) = self.program.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.text());
            self.read(Duration::from_millis(10));
        }
    }

    /// The terminal is as it was: what stood there, a cursor, lines that are edited and echoed.
    pub(crate) fn assert_restored(&mut self) -> String {
        let text = self.text();
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "it left the alternate screen on:\n{text}");
        assert!(!screen.hide_cursor(), "it left the cursor hidden");
        assert!(!screen.bracketed_paste(), "it left bracketed paste on");
        assert!(text.starts_with("before"), "{text}");
        let after = tcgetattr(&self.slave).unwrap();
        let lines = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        assert!(after.local_flags.contains(lines), "{:?}", after.local_flags);
        assert_eq!(after, self.before);
        // Who types now is heard as before.
        self.press(PROMPT);
        self.wait_for(PROMPT);
        text
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn rows(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}
