//! Processes as Windows lists them.

use std::io;

use vipdrift_platform::tasks;

/// Those of this name that live: the name of the program's file, with or without `.exe`.
pub(super) fn named(name: &str) -> io::Result<Vec<u32>> {
    tasks::named(name)
}

/// There is a process of this number that has not ended.
pub(super) fn lives(pid: u32) -> bool {
    tasks::lives(pid)
}
