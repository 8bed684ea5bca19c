//! Makes `openapi.json` from the types, and holds the file against it.

#![expect(dead_code, reason = "functions that stand for paths are never called")]

use std::path::Path;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::{Done, Events, Failed, NodeRequest, Status, SwitchoverRequest};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "vipdrift",
        description = "What a node answers at `http` of [control]. The control socket answers the requests below /v1 as well, and takes more."
    ),
    paths(status, events, stream, metrics, live, ready, openapi, switchover, drain, undrain),
    modifiers(&Token)
)]
struct Api;

/// Orders take the token.
struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        api.components.get_or_insert_default().add_security_scheme("token", bearer);
    }
}

#[utoipa::path(get, path = "/v1/status", summary = "The node as it sees itself and its cluster, a tenth of a second old at most",
    responses((status = 200, description = "the status", body = Status), (status = 503, description = "the heartbeat's thread does not answer", body = Failed)))]
fn status() {}

#[utoipa::path(get, path = "/v1/events", summary = "What the node has decided and noticed, the oldest first",
    params(
        ("group" = Option<String>, Query, description = "only of this group"),
        ("after" = Option<u64>, Query, description = "only events with a greater number"),
        ("limit" = Option<u64>, Query, description = "the last so many"),
        ("wait_ms" = Option<u64>, Query, description = "wait so long if there is none yet, 30 s at most"),
    ),
    responses((status = 200, description = "the events", body = Events), (status = 400, description = "not understood", body = Failed),
        (status = 404, description = "no such group", body = Failed)))]
fn events() {}

#[utoipa::path(get, path = "/v1/stream", summary = "The same as it happens: server-sent events `status`, `pulse`, `events`, `lost`",
    responses((status = 200, description = "goes on for a minute", content_type = "text/event-stream", body = String), (status = 503, description = "too many are open", body = Failed)))]
fn stream() {}

#[utoipa::path(get, path = "/metrics", summary = "Prometheus text format, version 0.0.4",
    responses((status = 200, description = "the metrics", content_type = "text/plain", body = String), (status = 503, description = "the heartbeat's thread does not answer", body = Failed)))]
fn metrics() {}

#[utoipa::path(get, path = "/live", summary = "Whether the daemon decides",
    responses((status = 200, description = "it does", content_type = "text/plain", body = String), (status = 503, description = "its heartbeat's thread does not answer", body = Failed)))]
fn live() {}

#[utoipa::path(get, path = "/ready", summary = "Whether this node may hold VIPs",
    responses((status = 200, description = "it may", content_type = "text/plain", body = String), (status = 503, description = "it is in fault or drained: why, a line each", content_type = "text/plain", body = String)))]
fn ready() {}

#[utoipa::path(get, path = "/openapi.json", summary = "This document",
    responses((status = 200, description = "the document", content_type = "application/json", body = Object)))]
fn openapi() {}

macro_rules! order {
    ($name:ident, $path:literal, $summary:literal, $body:ty) => {
        #[utoipa::path(post, path = $path, summary = $summary, security(("token" = [])), request_body = $body,
            responses((status = 200, description = "done", body = Done), (status = 400, description = "not understood", body = Failed),
                (status = 401, description = "without the token", body = Failed), (status = 403, description = "there is no token: this only shows", body = Failed),
                (status = 404, description = "no such group or node", body = Failed), (status = 409, description = "understood, and not done", body = Failed),
                (status = 503, description = "cannot answer now", body = Failed)))]
        fn $name() {}
    };
}

order!(switchover, "/v1/switchover", "Move a group to another node", SwitchoverRequest);
order!(drain, "/v1/drain", "Make a node ineligible, for one group or for all", NodeRequest);
order!(undrain, "/v1/undrain", "Make a node eligible again", NodeRequest);

/// With `VIPDRIFT_WRITE` set, the document is written anew.
#[test]
fn the_document_is_made_of_the_types() {
    let made = Api::openapi().to_pretty_json().expect("serializes") + "\n";
    if std::env::var_os("VIPDRIFT_WRITE").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        std::fs::write(file, &made).expect("writes");
    } else {
        assert!(
            made == crate::OPENAPI,
            "openapi.json is old: VIPDRIFT_WRITE=1 cargo test -p vipdrift-control openapi"
        );
    }
}
