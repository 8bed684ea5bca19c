//! The control API: what a running daemon tells and takes, over HTTP/1.1 on a Unix socket.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `POST /v1/switchover` with [`SwitchoverRequest`] | [`Done`] |
//! | `POST /v1/drill` with [`DrillRequest`] | [`Drill`] |
//! | `POST /v1/drain`, `POST /v1/undrain` with [`NodeRequest`] or nothing | [`Done`] |
//!
//! Every failure is a [`Failed`] with a status of 400 (not understood), 404 (no such thing), 405 (wrong method),
//! 408 (the body took too long), 409 (understood, not done), 413 (too long), 503 (the daemon is busy). `curl --unix-socket S http://vipdrift/v1/status`
//! works.

mod client;
mod events;
mod request;
mod server;
mod status;

pub use client::{Client, ClientError};
pub use events::{Event, EventKind, Events, EventsRequest};
pub use request::{
    Done, Drill, DrillLeg, DrillRequest, DrillVip, Failed, Failure, NodeRequest, Request, RestartRequest,
    SwitchoverRequest,
};
pub use server::{Accept, Handler, serve, serve_connection};
pub use status::{
    Check, CheckEffect, CheckState, Counters, Daemon, Group, GroupRole, Health, HealthState, Lateness, Peer,
    PeerConfiguration, PeerGroup, PeerState, Status, Vip,
};
