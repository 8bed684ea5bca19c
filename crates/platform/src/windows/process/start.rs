//! Starting a child with exactly the handles that are meant for it.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT,
    INVALID_HANDLE_VALUE, SetHandleInformation,
};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT, CreateProcessAsUserW,
    CreateProcessW, DETACHED_PROCESS, DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT,
    GetCurrentProcess, InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST,
    PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROC_THREAD_ATTRIBUTE_JOB_LIST, PROCESS_CREATION_FLAGS,
    PROCESS_INFORMATION, ResumeThread, STARTF_USESTDHANDLES, STARTUPINFOEXW, UpdateProcThreadAttribute,
};

use super::super::descriptor::Borrowed;
use super::super::poll::has_console;
use super::super::text::wide;
use super::child::Child;
use super::command_line::command_line;
use super::job::Job;
use super::{Error, confined};

/// Starts `program` with `args`. The child has standard output and error of this process, no standard input, and of all
/// other handles exactly the `inherit`ed ones, under the same numbers. It ends with this process. It is on the same console, if
/// there is one.
///
/// # Errors
/// [`Error::Start`], [`Error::Watch`].
pub fn spawn(program: &Path, args: &[OsString], inherit: &[Borrowed<'_>]) -> Result<Child, Error> {
    let (child, thread) = start(program, args, inherit, None, 0)?;
    drop(thread);
    Ok(child)
}

/// As [`spawn`], and the child is no administrator and has no privilege but to pass through folders and to lock memory
/// (CreateRestrictedToken).
///
/// # Errors
/// As there.
pub fn spawn_confined(program: &Path, args: &[OsString], inherit: &[Borrowed<'_>]) -> Result<Child, Error> {
    let failed = |source| Error::Start { program: program.display().to_string(), source };
    let token = confined::token().map_err(failed)?;
    let (child, thread) = start(program, args, inherit, Some(&token), 0)?;
    drop(thread);
    Ok(child)
}

/// A child that does nothing yet. Dropping it ends it.
pub(super) struct Suspended {
    child: Option<Child>,
    thread: OwnedHandle,
}

/// As [`spawn`], and it does nothing until it is told to begin. Ctrl-C does not reach it or its children (CREATE_NEW_PROCESS_GROUP):
/// one that stands still could not heed it, and would be ended.
///
/// # Errors
/// As there.
pub(super) fn suspended(
    program: &Path,
    args: &[OsString],
    inherit: &[Borrowed<'_>],
) -> Result<Suspended, Error> {
    let (child, thread) = start(program, args, inherit, None, CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP)?;
    Ok(Suspended { child: Some(child), thread })
}

impl Suspended {
    /// Lets it begin.
    ///
    /// # Errors
    /// Those of the system; it is ended.
    pub(super) fn begin(mut self) -> io::Result<Child> {
        // SAFETY: the handle is ours and open.
        if unsafe { ResumeThread(self.thread.as_raw_handle()) } == u32::MAX {
            return Err(io::Error::last_os_error());
        }
        self.child.take().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            let _ = child.kill();
        }
    }
}

static JOB: OnceLock<Job> = OnceLock::new();

/// Has all children of this process be in that job, which has those of a predecessor. Too late once there are any.
pub(super) fn go_on_with(job: Job) {
    let _ = JOB.set(job);
}

/// The job that all children of this process are in.
pub(super) fn job() -> io::Result<&'static Job> {
    if let Some(job) = JOB.get() {
        return Ok(job);
    }
    let new = Job::new()?;
    Ok(JOB.get_or_init(|| new))
}

/// Held while handles are marked as inheritable: whoever starts a process meanwhile would hand them to that one.
pub(super) fn lock() -> MutexGuard<'static, ()> {
    static STARTING: Mutex<()> = Mutex::new(());
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(
    program: &Path,
    args: &[OsString],
    inherit: &[Borrowed<'_>],
    token: Option<&OwnedHandle>,
    flags: PROCESS_CREATION_FLAGS,
) -> Result<(Child, OwnedHandle), Error> {
    let job = job().map_err(Error::Watch)?;
    start_in(job, program, args, inherit, token, flags)
        .map_err(|source| Error::Start { program: program.display().to_string(), source })
}

fn start_in(
    job: &Job,
    program: &Path,
    args: &[OsString],
    inherit: &[Borrowed<'_>],
    token: Option<&OwnedHandle>,
    flags: PROCESS_CREATION_FLAGS,
) -> io::Result<(Child, OwnedHandle)> {
    let name = wide(program);
    let mut line = command_line(program.as_os_str(), args)?;
    let [output, errors] = [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].map(standard);
    let raw = |handle: &Option<OwnedHandle>| {
        handle.as_ref().map_or(ptr::null_mut(), |handle| handle.as_raw_handle())
    };

    let mut handles: Vec<HANDLE> = inherit.iter().map(|handle| handle.raw() as HANDLE).collect();
    handles.sort_unstable();
    handles.dedup();
    let _starting = lock();
    let _marked = Marked::new(&handles)?;
    handles.extend([&output, &errors].into_iter().flatten().map(|handle| handle.as_raw_handle()));

    let jobs = [job.raw()];
    let mut attributes = Attributes::new(2)?;
    attributes.set(PROC_THREAD_ATTRIBUTE_JOB_LIST, &jobs)?;
    if !handles.is_empty() {
        attributes.set(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &handles)?;
    }
    // SAFETY: all-zero bytes are a valid structure of integers and pointers: nothing is said.
    let mut about: STARTUPINFOEXW = unsafe { std::mem::zeroed() };
    #[expect(clippy::cast_possible_truncation, reason = "some hundred bytes")]
    let size = size_of::<STARTUPINFOEXW>() as u32;
    about.StartupInfo.cb = size;
    about.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    about.StartupInfo.hStdOutput = raw(&output);
    about.StartupInfo.hStdError = raw(&errors);
    about.lpAttributeList = attributes.list();
    // Else the system makes a console for the child, of which nobody has anything.
    let detached = if has_console() { 0 } else { DETACHED_PROCESS };
    // SAFETY: as above.
    let mut made: PROCESS_INFORMATION = unsafe { std::mem::zeroed() };
    let inherits = i32::from(!handles.is_empty());
    let flags = EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT | detached | flags;
    let (about, made_at) = ((&raw const about).cast(), &raw mut made);
    let (name, line) = (name.as_ptr(), line.as_mut_ptr());
    let null = ptr::null();
    // SAFETY: the texts end with zero; the line may be written to; the structures say how long they are; the attributes and the
    // arrays that they point to live across the call, and the handles in those are open, as is the token.
    let started = unsafe {
        match token {
            None => CreateProcessW(
                name,
                line,
                ptr::null(),
                ptr::null(),
                inherits,
                flags,
                ptr::null(),
                null,
                about,
                made_at,
            ),
            Some(token) => CreateProcessAsUserW(
                token.as_raw_handle(),
                name,
                line,
                ptr::null(),
                ptr::null(),
                inherits,
                flags,
                ptr::null(),
                null,
                about,
                made_at,
            ),
        }
    };
    if started == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both handles were just made for us.
    let (process, thread) =
        unsafe { (OwnedHandle::from_raw_handle(made.hProcess), OwnedHandle::from_raw_handle(made.hThread)) };
    Ok((Child::new(made.dwProcessId, process), thread))
}

/// Whether it is a standard handle of this process, which owns those for ever.
pub(super) fn is_standard(handle: HANDLE) -> bool {
    let all = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE];
    // SAFETY: takes no pointer; the handle stays the process's.
    all.into_iter().any(|which| unsafe { GetStdHandle(which) } == handle)
}

/// A copy of a standard handle that can be inherited, if there is one.
fn standard(which: STD_HANDLE) -> Option<OwnedHandle> {
    // SAFETY: takes no pointer; the handle stays the process's.
    let raw = unsafe { GetStdHandle(which) };
    if raw.is_null() || raw == INVALID_HANDLE_VALUE {
        return None;
    }
    let mut copy = ptr::null_mut();
    // SAFETY: what is no handle is refused; the pseudo handles of this process need no closing; the system writes to `copy`.
    let copied = unsafe {
        let own = GetCurrentProcess();
        DuplicateHandle(own, raw, own, &raw mut copy, 0, 1, DUPLICATE_SAME_ACCESS)
    };
    // SAFETY: the handle was just made for us.
    (copied != 0).then(|| unsafe { OwnedHandle::from_raw_handle(copy) })
}

/// Handles that are marked as inheritable, until this is dropped.
struct Marked {
    handles: Vec<HANDLE>,
}

impl Marked {
    fn new(handles: &[HANDLE]) -> io::Result<Self> {
        let mut marked = Self { handles: Vec::new() };
        for handle in handles {
            let mut flags = 0;
            // SAFETY: the handle is borrowed, so it is open; the system writes to `flags` only.
            if unsafe { GetHandleInformation(*handle, &raw mut flags) } == 0 {
                return Err(io::Error::last_os_error());
            }
            // One that is marked was inherited and not taken: it stays so.
            if flags & HANDLE_FLAG_INHERIT != 0 {
                continue;
            }
            // SAFETY: as above; only the mark changes.
            if unsafe { SetHandleInformation(*handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) } == 0 {
                return Err(io::Error::last_os_error());
            }
            marked.handles.push(*handle);
        }
        Ok(marked)
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        for handle in &self.handles {
            // SAFETY: the handles are borrowed for longer than this lives; only the mark changes.
            unsafe { SetHandleInformation(*handle, HANDLE_FLAG_INHERIT, 0) };
        }
    }
}

/// What else is said about a process that is started. Points to what is set.
struct Attributes<'a> {
    /// In words of eight bytes, since the system keeps structures there.
    memory: Box<[MaybeUninit<u64>]>,
    points: std::marker::PhantomData<&'a [HANDLE]>,
}

impl<'a> Attributes<'a> {
    fn new(count: u32) -> io::Result<Self> {
        let mut length = 0;
        // SAFETY: asks for the length, which is written to `length`; that it fails is documented.
        unsafe { InitializeProcThreadAttributeList(ptr::null_mut(), count, 0, &raw mut length) };
        let mut memory: Box<[MaybeUninit<u64>]> = Box::new_uninit_slice(length.div_ceil(8));
        // SAFETY: the memory is as long as the system has just asked for.
        let made = unsafe {
            InitializeProcThreadAttributeList(memory.as_mut_ptr().cast(), count, 0, &raw mut length)
        };
        if made == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { memory, points: std::marker::PhantomData })
    }

    fn list(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.memory.as_mut_ptr().cast()
    }

    fn set(&mut self, attribute: u32, handles: &'a [HANDLE]) -> io::Result<()> {
        let list = self.list();
        // SAFETY: the list is made; pointer and length describe `handles`, which live longer than the list.
        let set = unsafe {
            UpdateProcThreadAttribute(
                list,
                0,
                attribute as usize,
                handles.as_ptr().cast(),
                size_of_val(handles),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Attributes<'_> {
    fn drop(&mut self) {
        let list = self.list();
        // SAFETY: the list was made, and is not used after this.
        unsafe { DeleteProcThreadAttributeList(list) };
    }
}
