//! Server and client over a real Unix socket.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use vipdrift_control::{
    Accept, Client, ClientError, Drill, DrillLeg, DrillRequest, DrillVip, Event, EventKind, Events,
    EventsRequest, Failure, Handler, NodeRequest, Request, RestartRequest, Status, SwitchoverRequest, serve,
};

struct Socket(UnixListener);

impl Accept for Socket {
    type Stream = UnixStream;

    async fn accept(&mut self) -> std::io::Result<UnixStream> {
        Ok(self.0.accept().await?.0)
    }
}

struct Fake;

impl Handler for Fake {
    async fn status(&self) -> Result<Status, Failure> {
        Err(Failure::Unavailable("the brain is starting".into()))
    }

    async fn events(&self, request: EventsRequest) -> Result<Events, Failure> {
        let event = Event {
            seq: request.after.unwrap_or(0) + 1,
            at: "2026-01-01T00:00:00.000Z".into(),
            kind: EventKind::Note,
            group: request.group,
            from: None,
            to: None,
            term: None,
            reason: "a test".into(),
            evidence: vec![],
            cause: None,
            outage_us: None,
        };
        Ok(Events { events: vec![event] })
    }

    async fn drill(&self, request: DrillRequest) -> Result<Drill, Failure> {
        let vips = vec![DrillVip { address: "192.0.2.100".into(), longest_us: request.stay_ms }];
        let leg = DrillLeg { from: "alpha".into(), to: "bravo".into(), longest_us: request.stay_ms, vips };
        Ok(Drill { group: request.group, asked_from: "alpha".into(), asked_every_us: 1000, legs: vec![leg] })
    }

    async fn command(&self, request: Request) -> Result<String, Failure> {
        match request {
            Request::Switchover(SwitchoverRequest { group, to }) if group == "web" => {
                Ok(format!("web moved to {}", to.unwrap_or_else(|| "bravo".into())))
            }
            Request::Switchover(SwitchoverRequest { group, .. }) => {
                Err(Failure::Unknown(format!("no group {group}")))
            }
            Request::Drain(NodeRequest { node: None, group: None }) => Ok("drained".into()),
            Request::Restart(RestartRequest { keep_ms }) => Ok(format!("restarts, keeps {keep_ms:?}")),
            _ => Err(Failure::NotDone("not now".into())),
        }
    }
}

/// How long [`Slow`] takes.
const WORK: Duration = Duration::from_secs(4);

/// Takes its time over what it is told. Gives its status meanwhile, or does not.
struct Slow {
    lives: bool,
}

impl Handler for Slow {
    async fn status(&self) -> Result<Status, Failure> {
        if !self.lives {
            std::future::pending::<()>().await;
        }
        serde_json::from_str(STATUS).map_err(|error| Failure::Unavailable(error.to_string()))
    }

    async fn events(&self, _: EventsRequest) -> Result<Events, Failure> {
        std::future::pending().await
    }

    async fn drill(&self, request: DrillRequest) -> Result<Drill, Failure> {
        tokio::time::sleep(WORK).await;
        Fake.drill(request).await
    }

    async fn command(&self, request: Request) -> Result<String, Failure> {
        tokio::time::sleep(WORK).await;
        Fake.command(request).await
    }
}

const STATUS: &str = r#"{"cluster":"edge","node":"alpha","version":"0.1.0","health":{"state":"healthy","reasons":[]},
    "peers":[],"groups":[],
    "daemon":{"keeper_pid":100,"brain_pid":101,"brain_starts":1,"config_digest":"00000000000000ff","user":"vipdrift",
    "real_time":"granted","keeper_real_time":"granted","memory_locked":"granted","system_call_filter":"granted",
    "lateness":{"wakeups":10,"p50_us":50,"p999_us":120,"max_us":130}},
    "counters":{"heartbeats_sent":0,"heartbeats_heard":0,"datagrams_rejected":{},"frames_rejected":0,
    "probes_sent":0,"probe_answers":0,"announcements_sent":0,"conflicts":0,"late":0,"send_errors":0,"log_lines_dropped":0}}"#;

/// A server on a socket of its own, on a thread of its own; returns when it listens.
fn served() -> (tempfile::TempDir, std::path::PathBuf) {
    served_by(Fake)
}

fn served_by(handler: impl Handler) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let socket = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("binds");
    listener.set_nonblocking(true).expect("non-blocking");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            serve(Socket(UnixListener::from_std(listener).expect("listener")), Arc::new(handler)).await;
        });
    });
    (folder, socket)
}

/// One request as `curl --unix-socket` would send it; status line and body.
fn raw(socket: &std::path::Path, request: &str) -> (String, String) {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream.write_all(request.as_bytes()).expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reads");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.lines().next().unwrap_or_default().to_owned(), body.trim_end().to_owned())
}

#[tokio::test]
async fn commands_travel_and_their_answers_return() {
    let (_folder, socket) = served();
    let client = Client::new(&socket, Duration::from_secs(10));
    let web = |to: Option<&str>| SwitchoverRequest { group: "web".into(), to: to.map(str::to_owned) };
    assert_eq!(client.switchover(&web(None)).await.expect("done"), "web moved to bravo");
    assert_eq!(client.switchover(&web(Some("charlie"))).await.expect("done"), "web moved to charlie");
    assert_eq!(client.drain(&NodeRequest::default()).await.expect("done"), "drained");
    let restart = |keep_ms| RestartRequest { keep_ms };
    assert_eq!(client.restart(&restart(None)).await.expect("done"), "restarts, keeps None");
    assert_eq!(client.restart(&restart(Some(1500))).await.expect("done"), "restarts, keeps Some(1500)");
    let unknown = client.switchover(&SwitchoverRequest { group: "wob".into(), to: None }).await;
    assert!(
        matches!(&unknown, Err(ClientError::Refused { status: 404, reason }) if reason == "no group wob"),
        "{unknown:?}"
    );
    let refused = client.undrain(&NodeRequest::default()).await;
    assert!(
        matches!(&refused, Err(ClientError::Refused { status: 409, reason }) if reason == "not now"),
        "{refused:?}"
    );
    let busy = client.status().await;
    assert!(matches!(&busy, Err(ClientError::Refused { status: 503, .. })), "{busy:?}");
}

#[tokio::test]
async fn work_is_waited_for_while_the_daemon_lives() {
    let short = Duration::from_secs(1);
    let web = SwitchoverRequest { group: "web".into(), to: None };
    let (_folder, socket) = served_by(Slow { lives: true });
    let client = Client::new(&socket, short);
    let (node, drill) = (NodeRequest::default(), DrillRequest { group: "web".into(), to: None, stay_ms: 7 });
    let (switchover, drain, drill, reload) =
        tokio::join!(client.switchover(&web), client.drain(&node), client.drill(&drill), client.reload());
    assert_eq!(switchover.expect("done"), "web moved to bravo");
    assert_eq!(drain.expect("done"), "drained");
    assert_eq!(drill.expect("done").legs.len(), 1);
    assert!(matches!(reload, Err(ClientError::Timeout(_))), "not of the length of the work: {reload:?}");

    let (_folder, socket) = served_by(Slow { lives: false });
    let begun = std::time::Instant::now();
    let hangs = Client::new(&socket, short).switchover(&web).await;
    assert!(matches!(hangs, Err(ClientError::Timeout(_))), "{hangs:?}");
    assert!(begun.elapsed() < WORK, "not waited for to its end: {:?}", begun.elapsed());
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let nobody = Client::new(folder.path().join("s"), Duration::from_secs(10)).status().await;
    assert!(matches!(nobody, Err(ClientError::Unreachable(_))), "{nobody:?}");
}

#[test]
fn what_is_not_understood_is_refused_in_json() {
    let (_folder, socket) = served();
    let post = |path: &str, body: &str| {
        raw(
            &socket,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    };
    let (status, body) = raw(&socket, "GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 404 Not Found", r#"{"error":"there is no /v1/nothing here"}"#)
    );
    let (status, body) = raw(&socket, "GET /v1/drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 405 Method Not Allowed", r#"{"error":"/v1/drain takes POST"}"#)
    );
    let (status, body) =
        raw(&socket, "GET /v1/events?group=web&after=6 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let event = r#"{"seq":7,"at":"2026-01-01T00:00:00.000Z","kind":"note","group":"web","reason":"a test"}"#;
    assert_eq!(body.trim_end(), format!(r#"{{"events":[{event}]}}"#));
    let (status, body) =
        raw(&socket, "GET /v1/events?since=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 400 Bad Request", "{body}");
    let (status, body) = post("/v1/switchover", "{\"groop\":\"web\"}");
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    assert!(body.contains("unknown field `groop`"), "{body}");
    for (body, expected) in [
        ("", "HTTP/1.1 200 OK"),
        ("{}", "HTTP/1.1 200 OK"),
        ("{\"keep_ms\":1000}", "HTTP/1.1 200 OK"),
        ("{\"keep_ms\":300000}", "HTTP/1.1 200 OK"),
        ("{\"keep_ms\":999}", "HTTP/1.1 400 Bad Request"),
        ("{\"keep_ms\":300001}", "HTTP/1.1 400 Bad Request"),
        ("{\"keep\":1000}", "HTTP/1.1 400 Bad Request"),
    ] {
        assert_eq!(post("/v1/restart", body).0, expected, "{body}");
    }
    assert_eq!(post("/v1/reload", "{}").0, "HTTP/1.1 400 Bad Request", "nothing is to be said there");
    let (status, _) = post("/v1/drain", "");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let (status, _) = post("/v1/drain", &" ".repeat(70_000));
    assert_eq!(status, "HTTP/1.1 413 Payload Too Large");
}

#[test]
fn half_sent_requests_do_not_keep_others_out_for_long() {
    let (_folder, socket) = served();
    let half = "POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{";
    let open: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("connects");
            stream.write_all(half.as_bytes()).expect("writes");
            stream
        })
        .collect();
    let (status, _) = raw(&socket, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable", "answered, as this daemon always does");
    drop(open);
}
