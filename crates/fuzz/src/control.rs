//! The control socket: whatever a client writes, and how it is answered.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use vipdrift_control::{
    Counters, Daemon, Drill, DrillLeg, DrillRequest, DrillVip, Events, EventsRequest, Failure, Handler,
    Health, HealthState, Lateness, NodeRequest, Request, Status, SwitchoverRequest, serve_connection,
};

use crate::Seed;

/// Everything that this program answers, and what hyper answers by itself to what is not HTTP.
const OURS: [u16; 8] = [200, 400, 404, 405, 408, 409, 413, 503];
const OF_HYPER: [u16; 4] = [100, 400, 414, 431];

/// What a client writes on one connection, to the end.
///
/// # Panics
///
/// When a property is broken.
pub fn run(bytes: &[u8]) {
    let (asked, said) = converse(bytes);
    let answers = answers(&said);
    let done = answers.iter().filter(|answer| answer.status == 200 && answer.body.is_some()).count();
    assert!(asked.len() >= done, "what was done had been asked for");
    for request in asked {
        let path = format!("/v1/{}", path(&request));
        assert!(bytes.windows(path.len()).any(|part| part == path.as_bytes()), "nobody wrote {path}");
        let (again, said) = converse(&write(&request));
        assert_eq!(again, [request], "written anew, it asks for the same");
        assert!(said.starts_with(b"HTTP/1.1 "), "a whole request is answered");
    }
}

/// Serves one client that has written this. What it asked for, and what it was told.
fn converse(bytes: &[u8]) -> (Vec<Request>, Vec<u8>) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let handler = Recorder(Mutex::new(Vec::new()));
    let mut said = Vec::new();
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let stream = tokio::io::join(bytes.chain(Silence), &mut said);
            tokio::select! {
                biased;
                () = serve_connection(stream, &handler) => {}
                () = everything_said() => {}
            }
        });
    });
    (handler.0.into_inner().expect("not poisoned"), said)
}

/// A client that has written all it had and keeps the connection.
struct Silence;

impl AsyncRead for Silence {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Nobody waits for anything but the client: the recorder answers at once, and the server gives way to others a few
/// times at most.
async fn everything_said() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

struct Answer {
    status: u16,
    body: Option<Value>,
}

/// Takes what was told apart. An answer without a body is one to HEAD, or one of hyper's own.
fn answers(mut said: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !said.is_empty() {
        let end = said.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let head = std::str::from_utf8(&said[..end]).expect("text");
        said = &said[end..];
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status =
            line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")).expect("a status line");
        let status: u16 = status[..3].parse().expect("a status");
        let length = lines.find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
        let body = (length > 0 && !said.is_empty() && !said.starts_with(b"HTTP/1.")).then(|| {
            let (body, rest) = said.split_at(length);
            said = rest;
            serde_json::from_slice::<Value>(body).expect("JSON")
        });
        match &body {
            Some(body) => {
                assert!(OURS.contains(&status), "{head}");
                assert_eq!(body.get("error").is_some(), status != 200, "{head}{body}");
            }
            None => assert!(OURS.contains(&status) || OF_HYPER.contains(&status), "{head}"),
        }
        answers.push(Answer { status, body });
    }
    answers
}

fn path(request: &Request) -> &'static str {
    match request {
        Request::Status => "status",
        Request::Switchover(_) => "switchover",
        Request::Drain(_) => "drain",
        Request::Undrain(_) => "undrain",
        Request::Reload => "reload",
        Request::Restart(_) => "restart",
    }
}

/// A request as a client writes it.
fn write(request: &Request) -> Vec<u8> {
    let body = match request {
        Request::Status => return b"GET /v1/status HTTP/1.1\r\nhost: vipdrift\r\n\r\n".to_vec(),
        Request::Switchover(body) => serde_json::to_vec(body),
        Request::Drain(body) | Request::Undrain(body) => serde_json::to_vec(body),
        Request::Restart(body) => serde_json::to_vec(body),
        Request::Reload => Ok(Vec::new()),
    };
    post(path(request), &body.expect("JSON"))
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST /v1/{path} HTTP/1.1\r\nhost: vipdrift\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Writes down what is asked, and answers by what it says.
struct Recorder(Mutex<Vec<Request>>);

impl Handler for Recorder {
    async fn status(&self) -> Result<Status, Failure> {
        self.0.lock().expect("not poisoned").push(Request::Status);
        Ok(status())
    }

    async fn events(&self, request: EventsRequest) -> Result<Events, Failure> {
        assert_eq!(EventsRequest::from_query(&request.to_query()), Ok(request), "asks for the same");
        Ok(Events { events: vec![] })
    }

    async fn drill(&self, request: DrillRequest) -> Result<Drill, Failure> {
        let vips = vec![DrillVip { address: "192.0.2.100".into(), longest_us: request.stay_ms }];
        let leg = DrillLeg { from: "alpha".into(), to: "bravo".into(), longest_us: request.stay_ms, vips };
        Ok(Drill { group: request.group, asked_from: "alpha".into(), asked_every_us: 1000, legs: vec![leg] })
    }

    async fn command(&self, request: Request) -> Result<String, Failure> {
        let answer = match &request {
            Request::Switchover(SwitchoverRequest { group, .. }) if group != "web" => {
                Err(Failure::Unknown(format!("there is no group {group}")))
            }
            Request::Switchover(SwitchoverRequest { to: Some(to), .. }) if to != "bravo" => {
                Err(Failure::NotDone(format!("{to} is not healthy")))
            }
            Request::Drain(NodeRequest { node: Some(_), .. }) => Err(Failure::Unavailable("busy".into())),
            _ => Ok("done".into()),
        };
        self.0.lock().expect("not poisoned").push(request);
        answer
    }
}

pub(crate) fn status() -> Status {
    Status {
        cluster: "edge".into(),
        node: "alpha".into(),
        version: "0.1.0".into(),
        health: Health { state: HealthState::Healthy, reasons: vec![] },
        peers: vec![],
        groups: vec![],
        daemon: Daemon {
            ordered: None,
            keeper_pid: 100,
            brain_pid: 101,
            brain_starts: 1,
            config_digest: "00000000000000ff".into(),
            user: "vipdrift".into(),
            real_time: "granted".into(),
            keeper_real_time: "granted".into(),
            memory_locked: "granted".into(),
            system_call_filter: "refused".into(),
            lease: "granted".into(),
            pace: "kept".into(),
            lateness: Lateness::default(),
            page: "off".into(),
        },
        counters: Counters::default(),
    }
}

/// Seeds of [`run`].
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let node = |node: &str| NodeRequest { node: Some(node.into()), group: None };
    let switchover = |group: &str, to: Option<&str>| {
        write(&Request::Switchover(SwitchoverRequest { group: group.into(), to: to.map(str::to_owned) }))
    };
    let get = write(&Request::Status);
    let chunked =
        b"POST /v1/drain HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    vec![
        ("status", get.clone()),
        ("status-http-1.0", b"GET /v1/status HTTP/1.0\r\n\r\n".to_vec()),
        ("status-head", b"HEAD /v1/status HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("nothing-there", b"GET /v1/nothing?x=1#y HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec()),
        ("switchover", switchover("web", None)),
        ("switchover-to", switchover("web", Some("bravo"))),
        ("switchover-refused", switchover("web", Some("zulu"))),
        ("switchover-unknown", switchover("\u{e9}\n\"", None)),
        ("switchover-empty", post("switchover", b"")),
        ("drain", write(&Request::Drain(NodeRequest::default()))),
        ("drain-empty", post("drain", b"")),
        ("drain-busy", write(&Request::Drain(node("bravo")))),
        ("drain-chunked", chunked.to_vec()),
        ("undrain", write(&Request::Undrain(node("bravo")))),
        ("several", [get, switchover("web", None), post("undrain", b"{\"nod\":1}")].concat()),
    ]
}
