//! Waiting for a handle in a tokio runtime, where that is not a thread's own business as in [`poll`](super::poll).
