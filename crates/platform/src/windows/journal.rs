//! The Event Log: numbered events that administrators search for (ReportEventW).
//!
//! The numbers never change: 1 a line, 2 a warning, 101 this node is active for a group, 102 standby, 103 has a fault, 104
//! is drained.

use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, REPORT_EVENT_TYPE,
    RegisterEventSourceW, ReportEventW,
};

/// The source that events come from.
pub const SOCKET: &str = "vipdrift";

/// Says to a process, and to those that it starts, that its lines go to the Event Log.
const SAYS: &str = "VIPDRIFT_EVENT_LOG";
/// The longest text of an event, in UTF-16 units (ReportEventW: 31,839 characters).
const LONGEST: usize = 31_000;

/// From now on the lines of this process, and of those that it starts, go to the Event Log. To be called before there is a
/// second thread.
pub fn use_event_log() {
    // SAFETY: the caller vouches that no other thread reads the environment meanwhile; on Windows that would be safe as well.
    unsafe { std::env::set_var(SAYS, "1") };
}

/// Whether what this process says goes to the Event Log, because it was started by a service.
#[must_use]
pub fn is_standard_error() -> bool {
    std::env::var_os(SAYS).is_some()
}

/// A source of events.
#[derive(Debug)]
pub struct Journal {
    source: HANDLE,
}

// SAFETY: the handle of a source may be used by any thread (ReportEventW takes no thread's state).
unsafe impl Send for Journal {}

impl Journal {
    /// The source of this name, usually [`SOCKET`].
    ///
    /// # Errors
    /// The Event Log cannot be reached.
    pub fn new(source: &Path) -> io::Result<Self> {
        let name = wide(&source.to_string_lossy());
        // SAFETY: the name ends with zero and lives across the call; null means this machine.
        let source = unsafe { RegisterEventSourceW(std::ptr::null(), name.as_ptr()) };
        if source.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self { source }) }
    }

    /// Reports an event. Its fields have the names that the journal of Linux has: `MESSAGE` is the text, `PRIORITY` and
    /// `VIPDRIFT_TO` make the number; the others are left out.
    ///
    /// # Errors
    /// The Event Log does not take it, or is gone. It is lost.
    pub fn send(&self, fields: &[(&str, &str)]) -> io::Result<()> {
        let field = |name| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let (number, kind) = number(field("VIPDRIFT_TO"), field("PRIORITY"));
        let mut text: Vec<u16> = field("MESSAGE").unwrap_or_default().encode_utf16().take(LONGEST).collect();
        text.push(0);
        let texts = [text.as_ptr()];
        // SAFETY: the source is registered; the one string ends with zero and lives across the call; there is no user and
        // no data.
        let reported = unsafe {
            ReportEventW(
                self.source,
                kind,
                0,
                number,
                std::ptr::null_mut(),
                1,
                0,
                texts.as_ptr(),
                std::ptr::null(),
            )
        };
        if reported == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // SAFETY: registered by `new`, and not used after this.
        unsafe { DeregisterEventSource(self.source) };
    }
}

fn number(to: Option<&str>, priority: Option<&str>) -> (u32, REPORT_EVENT_TYPE) {
    match (to, priority) {
        (Some("active"), _) => (101, EVENTLOG_INFORMATION_TYPE),
        (Some("standby"), _) => (102, EVENTLOG_INFORMATION_TYPE),
        (Some("fault"), _) => (103, EVENTLOG_WARNING_TYPE),
        (Some("drained"), _) => (104, EVENTLOG_INFORMATION_TYPE),
        // syslog(3): 4 is a warning, and what matters more has a lower number.
        (_, Some("0" | "1" | "2" | "3" | "4")) => (2, EVENTLOG_WARNING_TYPE),
        _ => (1, EVENTLOG_INFORMATION_TYPE),
    }
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay() {
        assert_eq!(number(Some("active"), Some("5")), (101, EVENTLOG_INFORMATION_TYPE));
        assert_eq!(number(Some("fault"), Some("5")), (103, EVENTLOG_WARNING_TYPE));
        assert_eq!(number(None, Some("4")), (2, EVENTLOG_WARNING_TYPE));
        assert_eq!(number(None, Some("6")), (1, EVENTLOG_INFORMATION_TYPE));
        assert_eq!(number(Some("proving"), Some("5")), (1, EVENTLOG_INFORMATION_TYPE));
    }
}
