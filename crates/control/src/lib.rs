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
#[cfg(test)]
mod openapi;
mod request;
mod server;
mod status;

/// What is answered over TCP, described (OpenAPI 3.1). Made from the types, by a test.
pub const OPENAPI: &str = include_str!("../openapi.json");

pub use client::{Client, ClientError};
pub use events::{Event, EventKind, Events, EventsRequest};
pub use request::{
    Done, Drill, DrillLeg, DrillRequest, DrillVip, Failed, Failure, NodeRequest, Request, RestartRequest,
    SwitchoverRequest,
};
pub use server::{
    Accept, Answer, Handler, Route, STREAM, answer, failed, refused, serve, serve_connection, whole,
};
pub use status::{
    Check, CheckEffect, CheckState, Counters, Daemon, Group, GroupRole, Health, HealthState, Lateness, Peer,
    PeerConfiguration, PeerGroup, PeerState, Status, Vip,
};
