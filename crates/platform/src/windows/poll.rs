//! Waiting for many things at once, and the things to wait for besides sockets: timers, wake-ups, requests to stop.
