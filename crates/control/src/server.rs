//! The daemon's side of the socket.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::events::{Events, EventsRequest};
use crate::request::{
    Done, Drill, DrillRequest, Failed, Failure, Request, RestartRequest, SwitchoverRequest,
};
use crate::status::Status;

/// Longest request body, in bytes.
const LONGEST_BODY: usize = 64 * 1024;
/// Connections served at once; more wait in the socket's queue.
const CONNECTIONS: usize = 32;
/// How long a client may take over its request's head, and be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take over the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection lasts at most, unless a command is being carried out: that has its own limit.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a body may go on.
pub const STREAM: Duration = Duration::from_secs(60);

/// Does what is asked.
pub trait Handler: Send + Sync + 'static {
    /// The node's status.
    fn status(&self) -> impl Future<Output = Result<Status, Failure>> + Send;
    /// What the node has decided and noticed.
    fn events(&self, request: EventsRequest) -> impl Future<Output = Result<Events, Failure>> + Send;
    /// Moves a group there and back, and comes to an end by itself. Dropped half-way if the client goes; the group comes back
    /// all the same.
    fn drill(&self, request: DrillRequest) -> impl Future<Output = Result<Drill, Failure>> + Send;
    /// Anything but [`Request::Status`]; what was done, in a sentence. Comes to an end by itself. Dropped half-way if the
    /// client goes: what must be done to the end must be spawned.
    fn command(&self, request: Request) -> impl Future<Output = Result<String, Failure>> + Send;
}

/// Where connections come from.
pub trait Accept {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next connection, or why there is none now.
    fn accept(&mut self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}

/// What is answered.
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Finds an answer to every request.
pub trait Route: Send + Sync + 'static {
    /// The answer. A body that goes on for longer than [`STREAM`] is cut off.
    fn answer(&self, request: hyper::Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Every request of the control API goes to the handler.
impl<H: Handler> Route for H {
    fn answer(&self, request: hyper::Request<Incoming>) -> impl Future<Output = Answer> + Send {
        answer(self, request)
    }
}

/// Serves what `listener` accepts until the future is dropped. Needs a tokio runtime with time and I/O.
pub async fn serve<R: Route>(mut listener: impl Accept, route: Arc<R>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok(stream) = listener.accept().await else {
            // Out of descriptors or memory: it will pass, and spinning would not help it to.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let route = Arc::clone(&route);
        tokio::spawn(async move {
            serve_connection(stream, &*route).await;
            drop(place);
        });
    }
}

/// Serves one connection until either side ends it. Needs a tokio runtime with time.
pub async fn serve_connection<R: Route>(stream: impl AsyncRead + AsyncWrite + Unpin, route: &R) {
    serve_within(CONNECTION_TIMEOUT, stream, route).await;
}

async fn serve_within<R: Route>(limit: Duration, stream: impl AsyncRead + AsyncWrite + Unpin, route: &R) {
    // How many commands are being carried out.
    let at_work = AtomicUsize::new(0);
    let service = service_fn(|request| async {
        let work = Work::begin(&at_work, &request);
        let answer = route.answer(request).await;
        drop(work);
        Ok::<_, Infallible>(answer)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(32)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A client that breaks off, or does not read its answer, is its own affair.
    while timeout(limit, &mut connection).await.is_err() {
        if at_work.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
}

/// A command that is being carried out.
struct Work<'c>(&'c AtomicUsize);

impl<'c> Work<'c> {
    fn begin(at_work: &'c AtomicUsize, request: &hyper::Request<Incoming>) -> Option<Self> {
        (request.method() == Method::POST).then(|| {
            at_work.fetch_add(1, Ordering::Relaxed);
            Self(at_work)
        })
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a request of the control API.
pub async fn answer<H: Handler>(handler: &H, request: hyper::Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let method = match path {
        "/v1/status" | "/v1/events" => Method::GET,
        "/v1/switchover" | "/v1/drill" | "/v1/drain" | "/v1/undrain" | "/v1/reload" | "/v1/restart" => {
            Method::POST
        }
        _ => return failed(StatusCode::NOT_FOUND, format!("there is no {path} here")),
    };
    if head.method != method {
        let mut refusal = failed(StatusCode::METHOD_NOT_ALLOWED, format!("{path} takes {method}"));
        refusal
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(if method == Method::GET { "GET" } else { "POST" }));
        return refusal;
    }
    if path == "/v1/status" {
        return match handler.status().await {
            Ok(status) => json(StatusCode::OK, &status),
            Err(failure) => refused(failure),
        };
    }
    if path == "/v1/events" {
        let request = match EventsRequest::from_query(head.uri.query().unwrap_or_default()) {
            Ok(request) => request,
            Err(why) => return failed(StatusCode::BAD_REQUEST, why),
        };
        return match handler.events(request).await {
            Ok(events) => json(StatusCode::OK, &events),
            Err(failure) => refused(failure),
        };
    }
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, LONGEST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return failed(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {LONGEST_BODY} bytes"));
        }
        Ok(Err(error)) => return failed(StatusCode::BAD_REQUEST, error.to_string()),
        Err(_) => {
            let why = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            return failed(StatusCode::REQUEST_TIMEOUT, why);
        }
    };
    if path == "/v1/drill" {
        let longest = u64::try_from(Drill::STAY.as_millis()).unwrap_or(u64::MAX);
        return match read::<DrillRequest>(&body) {
            Err(why) => failed(StatusCode::BAD_REQUEST, why),
            Ok(request) if request.stay_ms > longest => {
                failed(StatusCode::BAD_REQUEST, format!("stay_ms is at most {longest}"))
            }
            Ok(request) => match handler.drill(request).await {
                Ok(drill) => json(StatusCode::OK, &drill),
                Err(failure) => refused(failure),
            },
        };
    }
    let request = match path {
        "/v1/switchover" => read::<SwitchoverRequest>(&body).map(Request::Switchover),
        "/v1/drain" => read_or_default(&body).map(Request::Drain),
        "/v1/reload" if !body.is_empty() => Err("nothing is to be said here: the body is empty".to_owned()),
        "/v1/reload" => Ok(Request::Reload),
        "/v1/restart" => read_or_default(&body).and_then(RestartRequest::checked).map(Request::Restart),
        _ => read_or_default(&body).map(Request::Undrain),
    };
    match request {
        Err(why) => failed(StatusCode::BAD_REQUEST, why),
        Ok(request) => match handler.command(request).await {
            Ok(done) => json(StatusCode::OK, &Done { done }),
            Err(failure) => refused(failure),
        },
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body is not what is expected here: {error}"))
}

fn read_or_default<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, String> {
    if body.is_empty() { Ok(T::default()) } else { read(body) }
}

/// What was understood and not done.
pub fn refused(failure: Failure) -> Answer {
    match failure {
        Failure::Unknown(why) => failed(StatusCode::NOT_FOUND, why),
        Failure::NotDone(why) => failed(StatusCode::CONFLICT, why),
        Failure::Unavailable(why) => failed(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

/// An answer that says what is wrong.
pub fn failed(status: StatusCode, error: String) -> Answer {
    json(status, &Failed { error })
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    whole(status, "application/json", bytes)
}

/// An answer that is known as a whole.
pub fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    /// Takes longer over everything than a connection lasts.
    struct Slow;

    impl Handler for Slow {
        async fn status(&self) -> Result<Status, Failure> {
            sleep(LIMIT * 4).await;
            Err(Failure::Unavailable("too late".into()))
        }

        async fn events(&self, _: EventsRequest) -> Result<Events, Failure> {
            Ok(Events { events: vec![] })
        }

        async fn drill(&self, _: DrillRequest) -> Result<Drill, Failure> {
            Err(Failure::NotDone("not here".into()))
        }

        async fn command(&self, _: Request) -> Result<String, Failure> {
            sleep(LIMIT * 4).await;
            Ok("done at last".into())
        }
    }

    async fn answer_to(head: &str) -> String {
        let (mut client, server) = tokio::io::duplex(4096);
        let asked = async {
            client.write_all(format!("{head} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.expect("writes");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("reads until the connection ends");
            answer
        };
        tokio::join!(asked, serve_within(LIMIT, server, &Slow)).0
    }

    #[tokio::test]
    async fn a_command_lasts_as_long_as_the_work_and_a_connection_does_not() {
        let answer = answer_to("POST /v1/drain").await;
        assert!(answer.contains("done at last"), "{answer}");
        assert_eq!(answer_to("GET /v1/status").await, "", "a question is no command");
    }
}
