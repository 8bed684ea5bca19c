//! What a process forbids itself.

use std::ffi::c_void;
use std::io;
use std::sync::Mutex;

use windows_sys::Win32::System::JobObjects::JOB_OBJECT_LIMIT_ACTIVE_PROCESS;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, PROCESS_MITIGATION_POLICY, ProcessDynamicCodePolicy,
    ProcessExtensionPointDisablePolicy, ProcessImageLoadPolicy, SetProcessMitigationPolicy,
};

use super::super::process::Job;

/// Bits of the policies, which are structures of one integer each (winnt.h).
const PROHIBIT_DYNAMIC_CODE: u32 = 1;
const DISABLE_EXTENSION_POINTS: u32 = 1;
const NO_REMOTE_IMAGES: u32 = 1;
const NO_LOW_LABEL_IMAGES: u32 = 2;

/// Forbids each; what was refused.
pub(super) fn forbid() -> Vec<String> {
    let parts: [(&str, io::Result<()>); 4] = [
        ("new processes", no_processes()),
        ("executable memory", set(ProcessDynamicCodePolicy, PROHIBIT_DYNAMIC_CODE)),
        ("extension points", set(ProcessExtensionPointDisablePolicy, DISABLE_EXTENSION_POINTS)),
        ("foreign libraries", set(ProcessImageLoadPolicy, NO_REMOTE_IMAGES | NO_LOW_LABEL_IMAGES)),
    ];
    parts.into_iter().filter_map(|(name, result)| Some(format!("{name} ({})", result.err()?))).collect()
}

fn set(policy: PROCESS_MITIGATION_POLICY, bits: u32) -> io::Result<()> {
    // SAFETY: the system reads one integer, which is what these policies are.
    let set =
        unsafe { SetProcessMitigationPolicy(policy, (&raw const bits).cast::<c_void>(), size_of::<u32>()) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Into a job with room for this process alone.
fn no_processes() -> io::Result<()> {
    /// Open for ever: the job would be gone otherwise, or harmless.
    static JOB: Mutex<Option<Job>> = Mutex::new(None);
    let job = Job::new()?;
    // Not to end with its last handle, which is this process's own.
    job.limit(JOB_OBJECT_LIMIT_ACTIVE_PROCESS, 1)?;
    // SAFETY: takes no pointer; the pseudo handle of this process needs no closing.
    job.add(unsafe { GetCurrentProcess() })?;
    *JOB.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(job);
    Ok(())
}
