//! What is to happen, in order of time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Thing;

#[derive(Debug)]
struct Entry {
    at: Duration,
    serial: u64,
    thing: Thing,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The heap gives its greatest first: the earliest, of those the first that was put in.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

/// Earliest first; at the same moment, first come, first served.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    serial: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Duration, thing: Thing) {
        self.serial += 1;
        self.heap.push(Entry { at, serial: self.serial, thing });
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|entry| entry.at)
    }

    pub(crate) fn pop(&mut self) -> Option<Thing> {
        self.heap.pop().map(|entry| entry.thing)
    }
}
