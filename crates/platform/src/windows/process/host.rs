//! A process that outlives the one that does the work. Windows cannot put another program in the place of the one that runs
//! (execve(2)), so who wants that ([`Handover`](super::Handover)) tells this process, its host: it starts the successor, which
//! stands still until its predecessor has ended and with it everything that it had open. Whoever looks from outside, as the
//! service manager does, sees one process all the while.
//!
//! The host does nothing else: it passes on what it is asked from outside, and ends as the last one ended. If it is killed,
//! so is the one that runs (they are in its job).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::{Path, PathBuf};
use std::time::Duration;

use windows_sys::Win32::Foundation::{DuplicateHandle, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, PROCESS_DUP_HANDLE, WaitForSingleObject};

use super::super::descriptor::{AsDescriptor as _, Borrowed, number};
use super::super::pipe::{self, MessagePipe, Received};
use super::super::poll::{Poller, Signal, Signals, console_ends};
use super::child::{Child, Exit};
use super::start::{self, Suspended};
use super::{Error, this_program};

/// What a guest is told and tells: the first byte of each message. A successor begins in two steps, so that one that was given up
/// never does: it stands still when the host says `AGREED`, and goes only after the guest's `COMMIT`.
pub(super) mod word {
    /// To the guest: the signals.
    pub(in super::super) const TERMINATE: u8 = b'T';
    pub(in super::super) const INTERRUPT: u8 = b'I';
    pub(in super::super) const HANGUP: u8 = b'H';
    /// To the guest: the successor to that wish stands ready.
    pub(in super::super) const AGREED: u8 = b'+';
    /// To the guest: why there is none, in UTF-8.
    pub(in super::super) const REFUSED: u8 = b'-';
    /// To the host: a [`Wish`](super::Wish).
    pub(in super::super) const WISH: u8 = b'2';
    /// To the host: the guest ends, and whoever stands ready for that wish begins.
    pub(in super::super) const COMMIT: u8 = b'C';
    /// To the host: the guest stays, and whoever stands ready for that wish, or will, is not to begin.
    pub(in super::super) const WITHDRAWN: u8 = b'W';
}

/// A message: word, number of the wish that it is about (0: none), and more.
pub(super) struct Told;

impl Told {
    pub(super) fn encode(word: u8, number: u32, more: &[u8]) -> Vec<u8> {
        [&[word][..], &number.to_le_bytes(), more].concat()
    }

    pub(super) fn decode(message: &[u8]) -> Option<(u8, u32, &[u8])> {
        let (word, rest) = message.split_first()?;
        let (number, more) = rest.split_first_chunk()?;
        Some((*word, u32::from_le_bytes(*number), more))
    }
}

/// The longest message.
pub(super) const LONGEST: usize = 256 * 1024;
/// The option with which a guest is told where its host is.
pub(super) const OPTION: &str = "--host";
/// A guest that said that it ends has this long.
const END: Duration = Duration::from_secs(1);

/// What a guest wants to be put in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// The job in which its children live, as a handle of the host.
    pub(super) job: usize,
    /// What the successor inherits, as handles of the host.
    pub(super) inherit: Vec<usize>,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
}

impl Wish {
    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers: Vec<String> = [self.job].iter().chain(&self.inherit).map(ToString::to_string).collect();
        let numbers = OsString::from(numbers.join(" "));
        let parts = [numbers.as_os_str(), self.program.as_os_str()];
        let parts = parts.into_iter().chain(self.args.iter().map(OsString::as_os_str));
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend(part.encode_wide().chain([0]).flat_map(u16::to_le_bytes));
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (units, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        let (0, whole) = (rest.len(), units.strip_suffix(&[0])?) else { return None };
        let mut parts = whole.split(|unit| *unit == 0).map(OsString::from_wide);
        let numbers = parts.next()?.into_string().ok()?;
        let mut numbers = numbers.split(' ').map(|number| number.parse().ok());
        let job = numbers.next()??;
        let inherit = numbers.collect::<Option<_>>()?;
        Some(Self { job, inherit, program: parts.next()?.into(), args: parts.collect() })
    }
}

/// Runs this program with `args` as a process that another can take the place of, and waits for the end of the last one.
/// What this process is asked from outside, by [`poll::request`](super::super::poll::request) or with Ctrl-C, goes to the one that
/// runs. What else a console says, as that it is being closed, reaches that one by itself, since it is on the same.
///
/// # Errors
/// [`Error::Start`], [`Error::Watch`]: nothing runs.
pub fn host(args: &[OsString]) -> Result<Exit, Error> {
    let signals = Signals::for_child(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup]);
    let mut signals = signals.map_err(Error::Watch)?;
    let itself = itself().map_err(Error::Watch)?;
    let program = this_program().map_err(Error::Watch)?;
    let first = Guest::prepare(&program, args, None, &[], &itself)?;
    let mut guest = first.begin().map_err(Error::Watch)?;
    let poller = Poller::new().map_err(Error::Watch)?;
    poller.add(&signals, 0).map_err(Error::Watch)?;
    guest.watch(&poller).map_err(Error::Watch)?;
    let (mut stops, mut next) = (false, None);
    let (mut ready, mut buffer) = (Vec::new(), vec![0; LONGEST]);
    loop {
        poller.wait(&mut ready, None).map_err(Error::Watch)?;
        while let Ok(Some(signal)) = signals.next() {
            stops |= signal != Signal::Hangup;
            guest.tell(signal);
        }
        // What it said before it ended comes before its end.
        let received = guest.pipe.receive(&mut buffer);
        if !matches!(received, Ok(Received::Empty | Received::Message(_))) {
            // A closed pipe is readable for ever.
            let _ = poller.remove(&guest.pipe);
        }
        if let Ok(Received::Message(length)) = received {
            match Told::decode(&buffer[..length]) {
                Some((word::WISH, number, wish)) => {
                    next = None;
                    match successor(wish, &itself) {
                        Ok(ready) => {
                            next = Some((number, ready));
                            guest.say(word::AGREED, number, &[]);
                        }
                        Err(why) => guest.say(word::REFUSED, number, why.as_bytes()),
                    }
                }
                Some((word::COMMIT, number, _)) => {
                    if let Some((_, ready)) = next.take_if(|(wish, _)| *wish == number) {
                        guest.leave(&poller).map_err(Error::Watch)?;
                        guest = ready.begin().map_err(Error::Watch)?;
                        guest.watch(&poller).map_err(Error::Watch)?;
                        // Whoever was told has perhaps not lived to do it.
                        if stops || console_ends() {
                            guest.tell(Signal::Terminate);
                        }
                    }
                }
                Some((word::WITHDRAWN, number, _)) => drop(next.take_if(|(wish, _)| *wish == number)),
                _ => {}
            }
            continue;
        }
        if let Some(exit) = guest.child.reap().map_err(Error::Watch)? {
            return Ok(exit);
        }
    }
}

/// A handle of this process that its children may put handles into.
fn itself() -> io::Result<OwnedHandle> {
    let mut handle = std::ptr::null_mut();
    // SAFETY: the pseudo handle of this process needs no closing; the system writes to `handle`.
    let made = unsafe {
        let own = GetCurrentProcess();
        DuplicateHandle(own, own, own, &raw mut handle, PROCESS_DUP_HANDLE, 0, 0)
    };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Does what a guest wishes, up to the moment at which it has to end.
fn successor(wish: &[u8], itself: &OwnedHandle) -> Result<Next, String> {
    let wish =
        Wish::decode(wish).ok_or("the process that is to start it does not understand this version")?;
    // SAFETY: the guest, which is this same program, has made them for its successor and counts on this process to close them.
    let own = |raw: usize| unsafe { OwnedHandle::from_raw_handle(raw as _) };
    let (job, inherit) = (own(wish.job), wish.inherit.into_iter().map(own).collect::<Vec<_>>());
    let borrowed: Vec<Borrowed<'_>> = inherit.iter().map(|handle| handle.as_handle().into()).collect();
    Guest::prepare(&wish.program, &wish.args, Some(&job), &borrowed, itself)
        .map_err(|error| error.to_string())
}

/// The process that does the work.
struct Guest {
    child: Child,
    pipe: MessagePipe,
}

/// One that stands still still.
struct Next {
    started: Suspended,
    pipe: MessagePipe,
}

impl Guest {
    /// Starts one that stands still.
    fn prepare(
        program: &Path,
        args: &[OsString],
        job: Option<&OwnedHandle>,
        inherit: &[Borrowed<'_>],
        itself: &OwnedHandle,
    ) -> Result<Next, Error> {
        let (pipe, theirs) = pipe::pair().map_err(Error::Watch)?;
        let mut all = vec![theirs.as_descriptor(), itself.as_handle().into()];
        all.extend(job.map(|job| Borrowed::from(job.as_handle())));
        let place: Vec<String> = all.iter().map(|handle| number(handle).to_string()).collect();
        all.extend(inherit);
        let mut args = args.to_vec();
        args.extend([OsStr::new(OPTION).into(), place.join(",").into()]);
        Ok(Next { started: start::suspended(program, &args, &all)?, pipe })
    }

    fn watch(&self, poller: &Poller) -> io::Result<()> {
        poller.add(&self.child, 1)?;
        poller.add(&self.pipe, 2)
    }

    fn tell(&self, signal: Signal) {
        let word = match signal {
            Signal::Terminate => word::TERMINATE,
            Signal::Interrupt => word::INTERRUPT,
            Signal::Hangup => word::HANGUP,
            Signal::Child => return,
        };
        self.say(word, 0, &[]);
    }

    fn say(&self, word: u8, number: u32, more: &[u8]) {
        // One that does not listen any more is about to end.
        let _ = self.pipe.send(&Told::encode(word, number, more));
    }

    /// Waits for its end, or ends it: its successor waits.
    ///
    /// # Errors
    /// It may run on: nobody may begin next to it.
    fn leave(self, poller: &Poller) -> io::Result<()> {
        let _ = poller.remove(&self.child);
        let _ = poller.remove(&self.pipe);
        let handle = self.child.as_raw_handle();
        #[expect(clippy::cast_possible_truncation, reason = "a second")]
        let wait = END.as_millis() as u32;
        // SAFETY: the handle is open.
        if unsafe { WaitForSingleObject(handle, wait) } != WAIT_OBJECT_0 {
            self.child.kill()?;
            // What a driver holds back is not signalled as ended, but runs no more of its own code (TerminateProcess).
            // SAFETY: as above.
            unsafe { WaitForSingleObject(handle, wait) };
        }
        Ok(())
    }
}

impl Next {
    fn begin(self) -> io::Result<Guest> {
        Ok(Guest { child: self.started.begin()?, pipe: self.pipe })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_arrives_as_it_was() {
        for inherit in [vec![], vec![8, 4096]] {
            let wish = Wish {
                job: 12,
                inherit,
                program: r"C:\Program Files\ü\vipdrift.exe".into(),
                args: vec!["run".into(), OsString::from_wide(&[0xD800, 0x41]), "--succession".into()],
            };
            assert_eq!(Wish::decode(&wish.encode()), Some(wish));
        }
        let wish = Wish { job: 12, inherit: vec![], program: "a".into(), args: vec![] };
        assert_eq!(Wish::decode(&wish.encode()), Some(wish));
        for broken in [&b""[..], b"1", b"1\0", b"1\0\0\0", b"x\0\0\0a\0\0\0", b"1\0\0\0a\0"] {
            assert_eq!(Wish::decode(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn what_is_told_arrives_as_it_was() {
        for more in [&b""[..], b"why"] {
            let told = Told::encode(word::REFUSED, 7, more);
            assert_eq!(Told::decode(&told), Some((word::REFUSED, 7, more)));
        }
        for broken in [&b""[..], b"-", b"-\0\0\0"] {
            assert_eq!(Told::decode(broken), None, "{broken:?}");
        }
    }
}
