//! What is still to be written to a disk. A process does not end before, however it is killed, so whoever lets it end looks here first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many pieces are on their way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writers(Arc<AtomicUsize>);

/// One that is, until it is dropped.
#[derive(Debug)]
pub(crate) struct Writing(Arc<AtomicUsize>);

impl Writers {
    pub(crate) fn begin(&self) -> Writing {
        self.0.fetch_add(1, Ordering::Relaxed);
        Writing(Arc::clone(&self.0))
    }

    pub(crate) fn are_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
