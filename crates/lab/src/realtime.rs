//! Real-time priority for the threads that measure, where permitted.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Who goes first. All stay below what a daemon under test may ask for, and above every ordinary process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rank {
    Service = 10,
    Prober = 15,
    Observer = 20,
}

/// Gives the calling thread real-time priority; false if that is not permitted, and then nothing has changed but
/// the precision of its timers.
pub(crate) fn real_time(rank: Rank) -> bool {
    // Ordinary threads are woken up to 50 microseconds late on purpose; not these.
    let _ = nix::sys::prctl::set_timerslack(1);
    let Ok(value) = ThreadPriorityValue::try_from(rank as u8) else { return false };
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(value),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    )
    .is_ok()
}
