//! How the process that does the work makes way for another one: it asks its [host](super::host()).

use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    DUPLICATE_CLOSE_SOURCE, DUPLICATE_SAME_ACCESS, DuplicateHandle, HANDLE,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::super::descriptor::{AsDescriptor, Number};
use super::super::pipe::{MessagePipe, Received};
use super::super::poll::{Poller, Signal, request};
use super::host::{LONGEST, Wish, word};
use super::job::Job;
use super::{Error, inherited, start};

/// A host that has not answered after this is past hope.
const ANSWER: Duration = Duration::from_secs(2);

/// The host of this process.
struct Host {
    pipe: Arc<MessagePipe>,
    process: OwnedHandle,
    answers: Mutex<Receiver<Result<(), String>>>,
}

static HOST: OnceLock<Host> = OnceLock::new();

/// Takes what the [host](super::host()) of this process has said with the option that it adds. From then on this process hears
/// what its host is asked from outside, and can make way for another. Once, and before anything is started.
///
/// # Errors
/// It is none of that, or what it names was not inherited; or no thread can be made.
pub fn join(place: &str) -> Result<(), Error> {
    let numbers: Vec<Number> =
        place.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| Error::NotInherited(0))?;
    let (pipe, process, job) = match numbers[..] {
        [pipe, process] => (pipe, process, None),
        [pipe, process, job] => (pipe, process, Some(job)),
        _ => return Err(Error::NotInherited(0)),
    };
    let pipe = Arc::new(MessagePipe::from(inherited(pipe)?));
    let process = OwnedHandle::from(inherited(process)?);
    if let Some(job) = job {
        start::go_on_with(Job::from(OwnedHandle::from(inherited(job)?)));
    }
    let poller = Poller::new().map_err(Error::Watch)?;
    poller.add(&*pipe, 0).map_err(Error::Watch)?;
    let (tell, answers) = channel();
    let heard = Arc::clone(&pipe);
    let listener = move || listen(&heard, &poller, &tell);
    std::thread::Builder::new().name("host".to_owned()).spawn(listener).map_err(Error::Watch)?;
    let _ = HOST.set(Host { pipe, process, answers: Mutex::new(answers) });
    Ok(())
}

/// Hears what the host says, until it is gone; this process does not live for longer then.
fn listen(pipe: &MessagePipe, poller: &Poller, tell: &Sender<Result<(), String>>) {
    let (mut ready, mut buffer) = (Vec::new(), vec![0; LONGEST]);
    loop {
        match pipe.receive(&mut buffer) {
            Ok(Received::Message(length)) => match &buffer[..length] {
                [word::TERMINATE] => request(Signal::Terminate),
                [word::INTERRUPT] => request(Signal::Interrupt),
                [word::HANGUP] => request(Signal::Hangup),
                [word::AGREED] => drop(tell.send(Ok(()))),
                [word::REFUSED, why @ ..] => {
                    drop(tell.send(Err(String::from_utf8_lossy(why).into_owned())));
                }
                _ => {}
            },
            Ok(Received::Empty) if poller.wait(&mut ready, None).is_ok() => {}
            _ => return,
        }
    }
}

/// What is left to the program that comes in the place of this one.
pub struct Handover<'d> {
    given: Given,
    lives: std::marker::PhantomData<&'d ()>,
}

/// Handles of the host that it does not know of yet; they are closed there when this is dropped.
struct Given {
    host: &'static Host,
    handles: Vec<usize>,
}

impl<'d> Handover<'d> {
    /// Nothing so far.
    ///
    /// # Errors
    /// This process has no host.
    pub fn new() -> io::Result<Self> {
        let host = HOST.get().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "this process was not started by one that could start another",
            )
        })?;
        Ok(Self { given: Given { host, handles: Vec::new() }, lives: std::marker::PhantomData })
    }

    /// Adds something that is no socket; under which number it will be found with [`inherited`].
    ///
    /// # Errors
    /// Those of the system.
    pub fn add(&mut self, what: &'d (impl AsDescriptor + ?Sized)) -> io::Result<Number> {
        let given = self.given.host.give(what.as_descriptor().raw() as HANDLE)?;
        self.given.handles.push(given);
        Ok(given as Number)
    }

    /// Puts another program in the place of this one: same children, same standard output and error, and of all other handles
    /// exactly those that were added. Its process is another one; that of the host stays. Answers only if that fails.
    pub fn replace(mut self, program: &Path, args: &[OsString]) -> Error {
        let failed = |source| Error::Start { program: program.display().to_string(), source };
        let host = self.given.host;
        let job = match start::job().and_then(|job| host.give(job.raw())) {
            Ok(job) => job,
            Err(error) => return failed(error),
        };
        let inherit = std::mem::take(&mut self.given.handles);
        let wish = Wish { job, inherit, program: program.to_owned(), args: args.to_vec() };
        // From here on they are the host's.
        if let Err(error) = host.pipe.send(&wish.encode()) {
            self.given.handles = wish.inherit;
            self.given.handles.push(job);
            return failed(error);
        }
        let answers = host.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.recv_timeout(ANSWER) {
            // The other one waits for this.
            Ok(Ok(())) => std::process::exit(0),
            Ok(Err(why)) => failed(io::Error::other(why)),
            Err(_) => failed(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        for given in &self.handles {
            // SAFETY: a handle of the host that was made by `give` and that nobody has been told of; only closed.
            unsafe {
                DuplicateHandle(
                    self.host.process.as_raw_handle(),
                    *given as HANDLE,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    0,
                    0,
                    DUPLICATE_CLOSE_SOURCE,
                )
            };
        }
    }
}

impl Host {
    /// Makes a handle of this process one of the host's as well.
    fn give(&self, handle: HANDLE) -> io::Result<usize> {
        let mut theirs = std::ptr::null_mut();
        // SAFETY: the handle is the caller's and open; the pseudo handle of this process needs no closing; the system writes to
        // `theirs`, which means nothing here.
        let given = unsafe {
            DuplicateHandle(
                GetCurrentProcess(),
                handle,
                self.process.as_raw_handle(),
                &raw mut theirs,
                0,
                0,
                DUPLICATE_SAME_ACCESS,
            )
        };
        if given == 0 { Err(io::Error::last_os_error()) } else { Ok(theirs as usize) }
    }
}
