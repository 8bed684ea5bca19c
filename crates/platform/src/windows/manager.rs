//! What a service manager is told. Windows' own asks, and is answered where the service is.

use std::time::Duration;

/// A manager that wants to be told: there is none on Windows.
#[derive(Debug)]
pub struct Manager(std::convert::Infallible);

impl Manager {
    /// None.
    #[must_use]
    pub fn find() -> Option<Self> {
        None
    }

    /// The process is to be called alive more often than this, or it is ended.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        match self.0 {}
    }

    /// All is set up; what is done, in a sentence.
    pub fn ready(&self, _status: &str) {
        match self.0 {}
    }

    /// The process is alive.
    pub fn alive(&self) {
        match self.0 {}
    }

    /// Another program takes its place in this process, or another configuration.
    pub fn reloading(&self, _within: Duration) {
        match self.0 {}
    }

    /// The end has begun.
    pub fn stopping(&self) {
        match self.0 {}
    }
}
