//! The page, the metrics and the control API for browsers and programs that come over TCP.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /` | the page, with `/page.css`, `/page.js` and `/icon.svg` |
//! | `GET /v1/status`, `GET /v1/events` | as on the control socket |
//! | `GET /v1/stream` | the same, as it happens ([`stream`]) |
//! | `GET /metrics` | Prometheus text ([`metrics`]) |
//! | `GET /openapi.json` | all of this, described |
//! | `GET /live`, `GET /ready` | 200, or 503 and why |
//! | `POST /v1/switchover`, `/v1/drain`, `/v1/undrain` | as on the control socket, for whoever has the token |
//!
//! Nothing here can keep the heartbeat from its work: however many ask, its thread is looked at ten times a second at most.

mod board;
mod metrics;
mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, HOST, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use vipdrift_control::{Accept, Answer, HealthState, OPENAPI, Route, answer, failed, refused, whole};

use self::board::Board;
use super::slow::Control;

/// What the page is made of. Built into the program, so that nothing is loaded from elsewhere.
const ASSETS: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("assets/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("assets/page.js")),
    ("/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Sent with every answer: a page of somebody else can neither show this one in a frame nor read from it, and this one runs and
/// loads nothing but its own (Content Security Policy Level 3).
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Streams at once.
const STREAMS: usize = 16;

/// What may be ordered from here.
const ORDERS: [&str; 3] = ["/v1/switchover", "/v1/drain", "/v1/undrain"];

/// Connections of the page.
pub(super) struct Accepts(tokio::net::TcpListener);

impl Accepts {
    /// To be called within a runtime that has its I/O driver enabled.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self(tokio::net::TcpListener::from_std(listener)?))
    }

    /// Only programs of this machine get here.
    pub(super) fn are_local(&self) -> bool {
        self.0.local_addr().is_ok_and(|at: SocketAddr| at.ip().is_loopback())
    }
}

impl Accept for Accepts {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = self.0.accept().await?;
        // What the page is told is short and should not wait for more.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// See the module.
pub(super) struct Page {
    control: Arc<Control>,
    /// Places for streams: half of all connections stay for who asks once.
    streams: Arc<Semaphore>,
    board: Arc<Board>,
    local: bool,
}

impl Page {
    /// A page before `control`; `local`: on an address that only this machine reaches.
    pub(super) fn new(control: Arc<Control>, local: bool) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS));
        Self { board: Arc::new(Board::new(Arc::clone(&control))), control, streams, local }
    }

    async fn find(&self, request: Request<Incoming>) -> Answer {
        // A name that somebody else has pointed at this machine (DNS rebinding) must not read what is only for this machine.
        if self.local && !names_this_machine(&request) {
            let why = "asked for under a name that is not this machine's; use the address, or localhost";
            return failed(StatusCode::MISDIRECTED_REQUEST, why.to_owned());
        }
        let path = request.uri().path();
        if ORDERS.contains(&path) && request.method() == Method::POST {
            return match self.refuses(&request).await {
                Some(refusal) => refusal,
                None => answer(&*self.control, request).await,
            };
        }
        let here = ["/v1/status", "/v1/events", "/v1/stream", "/metrics", "/live", "/ready", "/openapi.json"];
        let asset = ASSETS.iter().find(|(name, ..)| *name == path);
        if asset.is_none() && !here.contains(&path) && !ORDERS.contains(&path) {
            return failed(StatusCode::NOT_FOUND, format!("there is no {path} here"));
        }
        let method = if ORDERS.contains(&path) { "POST" } else { "GET" };
        if ![Method::GET, Method::HEAD].contains(request.method()) || method == "POST" {
            let mut refusal = failed(StatusCode::METHOD_NOT_ALLOWED, format!("{path} takes {method}"));
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
            return refusal;
        }
        if let Some((_, kind, text)) = asset {
            return whole(StatusCode::OK, kind, Bytes::from_static(text.as_bytes()));
        }
        match path {
            "/v1/events" => {
                // The server leaves the body of an answer to HEAD out by itself.
                let mut request = request;
                *request.method_mut() = Method::GET;
                answer(&*self.control, request).await
            }
            "/openapi.json" => whole(StatusCode::OK, "application/json", OPENAPI),
            "/v1/stream" => match Arc::clone(&self.streams).try_acquire_owned() {
                Ok(place) => stream::begin(&request, Arc::clone(&self.board), place),
                Err(_) => {
                    let why = format!("{STREAMS} streams are open, and no more are served at once");
                    let mut refusal = failed(StatusCode::SERVICE_UNAVAILABLE, why);
                    refusal.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
                    refusal
                }
            },
            _ => self.look(path).await,
        }
    }

    /// What is answered from one look at the node.
    async fn look(&self, path: &str) -> Answer {
        let view = match self.board.view().await {
            Ok(view) => view,
            Err(failure) => return refused(failure),
        };
        match path {
            "/metrics" => whole(StatusCode::OK, metrics::KIND, metrics::text(&view)),
            "/live" => whole(StatusCode::OK, "text/plain; charset=utf-8", "alive\n"),
            "/ready" => {
                let health = &view.status.health;
                let (status, text) = match health.state {
                    HealthState::Healthy => (StatusCode::OK, "healthy\n".to_owned()),
                    _ => (StatusCode::SERVICE_UNAVAILABLE, health.reasons.join("\n") + "\n"),
                };
                whole(status, "text/plain; charset=utf-8", text)
            }
            _ => whole(StatusCode::OK, "application/json", view.json.clone()),
        }
    }

    /// An order without the token. A page of somebody else cannot send one: it would have to know it, and the browser would
    /// ask here before it sent such a header (Fetch, CORS preflight), which is refused.
    async fn refuses(&self, request: &Request<Incoming>) -> Option<Answer> {
        let said = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = said.and_then(|said| said.strip_prefix("Bearer "));
        match (self.control.is_token(token.unwrap_or_default()), token) {
            (Some(true), _) => None,
            (None, _) => {
                let why = "this page only shows; name a `token_file` in [control] to give orders here";
                Some(failed(StatusCode::FORBIDDEN, why.to_owned()))
            }
            (Some(false), None) => Some(unauthorized("this takes the token in `token_file` of [control]")),
            (Some(false), Some(_)) => {
                // Nobody guesses 128 bits; this is for those who would try all the same.
                tokio::time::sleep(std::time::Duration::from_millis(250)).await;
                Some(unauthorized("this is not the token in `token_file` of [control]"))
            }
        }
    }
}

impl Route for Page {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let mut answer = self.find(request).await;
        for (name, value) in HEADERS {
            answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        answer
    }
}

fn unauthorized(why: &str) -> Answer {
    let mut refusal = failed(StatusCode::UNAUTHORIZED, why.to_owned());
    refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refusal
}

/// Asked for by an address, or as `localhost`, which no name service may give to anybody else (RFC 6761, section 6.3).
fn names_this_machine(request: &Request<Incoming>) -> bool {
    request.headers().get(HOST).is_some_and(|value| value.to_str().is_ok_and(is_this_machine))
}

fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_somebody_else_could_have_made() {
        let ours = ["127.0.0.1:5799", "localhost:5799", "LOCALHOST", "[::1]:5799", "192.0.2.11"];
        assert!(ours.into_iter().all(is_this_machine));
        let others = ["vipdrift.example:5799", "localhost.example", "127.0.0.1.example", "", "a b"];
        assert!(!others.into_iter().any(is_this_machine));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        for (name, _, text) in ASSETS {
            let links = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!links.contains("http://") && !links.contains("https://"), "{name}");
        }
        let html = ASSETS[0].2;
        for (name, ..) in &ASSETS[1..] {
            assert!(html.contains(&format!("\"{name}\"")), "the page does not use {name}");
        }
        assert!(!html.contains("style=") && !html.contains("onclick"), "refused by the policy");
    }
}
