//! How the process that does the work makes way for another one: it asks its [host](super::host()).

use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    DUPLICATE_CLOSE_SOURCE, DUPLICATE_SAME_ACCESS, DuplicateHandle, HANDLE,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::super::descriptor::{AsDescriptor, Number};
use super::super::pipe::{MessagePipe, Received};
use super::super::poll::{Poller, Signal, hold, request};
use super::host::{LONGEST, Told, Wish, word};
use super::job::Job;
use super::{Error, inherited, start};

/// A host that has not answered after this is not waited for any longer: the wish is withdrawn.
const ANSWER: Duration = Duration::from_secs(2);

/// The host of this process.
struct Host {
    pipe: Arc<MessagePipe>,
    process: OwnedHandle,
    asked: Mutex<Asked>,
}

/// What was wished so far.
struct Asked {
    /// Of the last wish.
    number: u32,
    answers: Receiver<Answer>,
}

/// To which wish, and why it is not granted.
type Answer = (u32, Result<(), String>);

static HOST: OnceLock<Host> = OnceLock::new();

/// Takes what the [host](super::host()) of this process has said with the option that it adds. From then on this process hears
/// what its host is asked from outside, and can make way for another. Whoever asks it to stop does not end it any more: that is
/// kept for the first who reads it. Once, and before anything is started.
///
/// # Errors
/// It is none of that, or what it names was not inherited; or no thread can be made.
pub fn join(place: &str) -> Result<(), Error> {
    hold(&[Signal::Terminate, Signal::Interrupt]).map_err(Error::Watch)?;
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
    let _ = HOST.set(Host { pipe, process, asked: Mutex::new(Asked { number: 0, answers }) });
    Ok(())
}

/// Hears what the host says, until it is gone; this process does not live for longer then.
fn listen(pipe: &MessagePipe, poller: &Poller, tell: &Sender<Answer>) {
    let (mut ready, mut buffer) = (Vec::new(), vec![0; LONGEST]);
    loop {
        match pipe.receive(&mut buffer) {
            Ok(Received::Message(length)) => match Told::decode(&buffer[..length]) {
                Some((word::TERMINATE, ..)) => request(Signal::Terminate),
                Some((word::INTERRUPT, ..)) => request(Signal::Interrupt),
                Some((word::HANGUP, ..)) => request(Signal::Hangup),
                Some((word::AGREED, number, _)) => drop(tell.send((number, Ok(())))),
                Some((word::REFUSED, number, why)) => {
                    drop(tell.send((number, Err(String::from_utf8_lossy(why).into_owned()))));
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
    /// exactly those that were added. Its process is another one; that of the host stays. Answers only if that fails: then
    /// there is no other one, and there will be none.
    pub fn replace(self, program: &Path, args: &[OsString]) -> Error {
        match self.given.ask(program, args) {
            // The other one waits for this.
            Ok(()) => std::process::exit(0),
            Err(source) => Error::Start { program: program.display().to_string(), source },
        }
    }
}

impl Given {
    /// Asks the host for a successor. Once this has succeeded, the host counts on the end of this process.
    fn ask(mut self, program: &Path, args: &[OsString]) -> io::Result<()> {
        let host = self.host;
        let job = host.give(start::job()?.raw())?;
        let inherit = std::mem::take(&mut self.handles);
        let wish = Wish { job, inherit, program: program.to_owned(), args: args.to_vec() };
        let mut asked = host.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.number += 1;
        let number = asked.number;
        // From here on they are the host's.
        if let Err(error) = host.tell(word::WISH, number, &wish.encode()) {
            self.handles = wish.inherit;
            self.handles.push(job);
            return Err(error);
        }
        asked.wait(number).and_then(|()| host.tell(word::COMMIT, number, &[])).inspect_err(|_| {
            // If not even that reaches it: without a commit it does nothing either.
            let _ = host.tell(word::WITHDRAWN, number, &[]);
        })
    }
}

impl Asked {
    /// Waits for the answer to a wish.
    fn wait(&self, wish: u32) -> io::Result<()> {
        let until = Instant::now() + ANSWER;
        loop {
            match self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((number, answer)) if number == wish => return answer.map_err(io::Error::other),
                // To one that was withdrawn.
                Ok(_) => {}
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
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
    fn tell(&self, word: u8, number: u32, text: &[u8]) -> io::Result<()> {
        self.pipe.send(&Told::encode(word, number, text))
    }

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

#[cfg(test)]
mod tests {
    use std::os::windows::io::FromRawHandle as _;

    use super::super::super::pipe;
    use super::*;

    /// The other end of a guest's pipe, and what happens there is up to the test.
    struct Other {
        pipe: MessagePipe,
        poller: Poller,
    }

    impl Other {
        fn hear(&self) -> (u8, u32) {
            let (mut ready, mut buffer) = (Vec::new(), vec![0; LONGEST]);
            loop {
                match self.pipe.receive(&mut buffer).unwrap() {
                    Received::Message(length) => {
                        let (word, number, _) = Told::decode(&buffer[..length]).unwrap();
                        return (word, number);
                    }
                    Received::Empty => self.poller.wait(&mut ready, None).unwrap(),
                    Received::Closed => panic!("the guest has gone"),
                }
            }
        }

        fn say(&self, word: u8, number: u32, text: &[u8]) {
            self.pipe.send(&Told::encode(word, number, text)).unwrap();
        }
    }

    fn pair() -> (&'static Host, Other) {
        let (ours, theirs) = pipe::pair().unwrap();
        let other = Other { pipe: theirs, poller: Poller::new().unwrap() };
        other.poller.add(&other.pipe, 0).unwrap();
        let (pipe, poller, (tell, answers)) = (Arc::new(ours), Poller::new().unwrap(), channel());
        poller.add(&*pipe, 0).unwrap();
        let heard = Arc::clone(&pipe);
        std::thread::spawn(move || listen(&heard, &poller, &tell));
        let mut process = std::ptr::null_mut();
        // SAFETY: the pseudo handles of this process need no closing; the system writes to `process`.
        let made = unsafe {
            let own = GetCurrentProcess();
            DuplicateHandle(own, own, own, &raw mut process, 0, 0, DUPLICATE_SAME_ACCESS)
        };
        assert_ne!(made, 0);
        // SAFETY: the handle was just made for us.
        let process = unsafe { OwnedHandle::from_raw_handle(process) };
        let asked = Mutex::new(Asked { number: 0, answers });
        (Box::leak(Box::new(Host { pipe, process, asked })), other)
    }

    fn ask(host: &'static Host) -> io::Result<()> {
        Given { host, handles: Vec::new() }.ask(Path::new("successor.exe"), &["run".into()])
    }

    #[test]
    fn a_late_answer_ends_nobody() {
        let (host, other) = pair();
        let slow = std::thread::spawn(move || {
            assert_eq!(other.hear(), (word::WISH, 1));
            assert_eq!(other.hear(), (word::WITHDRAWN, 1), "waited for long enough");
            // As if it had been under way.
            other.say(word::AGREED, 1, &[]);
            assert_eq!(other.hear(), (word::WISH, 2));
            other.say(word::REFUSED, 1, b"old");
            other.say(word::REFUSED, 2, b"not now");
            assert_eq!(other.hear(), (word::WITHDRAWN, 2));
            assert_eq!(other.hear(), (word::WISH, 3));
            other.say(word::AGREED, 3, &[]);
            assert_eq!(other.hear(), (word::COMMIT, 3));
        });
        assert_eq!(ask(host).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(ask(host).unwrap_err().to_string(), "not now");
        ask(host).unwrap();
        slow.join().unwrap();
    }

    #[test]
    fn a_host_that_is_gone_answers_nothing() {
        let (host, other) = pair();
        drop(other);
        ask(host).unwrap_err();
    }
}
