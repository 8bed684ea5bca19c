//! The other side of the socket: what the command line uses.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use crate::events::{Events, EventsRequest};
use crate::request::{Done, Drill, DrillRequest, Failed, NodeRequest, RestartRequest, SwitchoverRequest};
use crate::status::Status;

/// A daemon that carries out a command is asked so often whether it still lives.
const LOOK: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Talks to the daemon behind a socket. Every call is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket, or it may not be opened.
    #[error("{0}")]
    Unreachable(io::Error),
    /// Connected, but no answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The daemon understood and refused; its own words.
    #[error("{reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Why.
        reason: String,
    },
    /// The daemon began it, and it did not come to its end.
    #[error("{0}")]
    NotDone(String),
    /// Whatever is behind the socket does not speak this protocol.
    #[error("not understood: {0}")]
    Broken(String),
}

impl Client {
    /// A client of the daemon behind `socket`. Connects at the first call. `timeout` is for every call as a whole, but for
    /// [`Client::switchover`], [`Client::drill`], [`Client::drain`] and [`Client::undrain`]: these take as long as they take,
    /// and fail when the daemon has given no sign of life for `timeout`.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self { socket: socket.into(), timeout }
    }

    /// The node's status.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.call(Method::GET, "/v1/status", None::<&()>).await
    }

    /// What the node has decided and noticed.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn events(&self, request: &EventsRequest) -> Result<Events, ClientError> {
        self.call(Method::GET, &format!("/v1/events?{}", request.to_query()), None::<&()>).await
    }

    /// Moves a group; what was done, in a sentence.
    ///
    /// # Errors
    /// As [`ClientError`] says. After a timeout the move may still happen.
    pub async fn switchover(&self, request: &SwitchoverRequest) -> Result<String, ClientError> {
        let done: Done = self.work("/v1/switchover", request).await?;
        Ok(done.done)
    }

    /// Moves a group there and back, and measures.
    ///
    /// # Errors
    /// As [`ClientError`] says. After a timeout it may still go on.
    pub async fn drill(&self, request: &DrillRequest) -> Result<Drill, ClientError> {
        self.work("/v1/drill", request).await
    }

    /// Drains the node; what was done, in a sentence.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn drain(&self, request: &NodeRequest) -> Result<String, ClientError> {
        let done: Done = self.work("/v1/drain", request).await?;
        Ok(done.done)
    }

    /// Ends the node's drain; what was done, in a sentence.
    ///
    /// # Errors
    /// As [`ClientError`] says.
    pub async fn undrain(&self, request: &NodeRequest) -> Result<String, ClientError> {
        let done: Done = self.work("/v1/undrain", request).await?;
        Ok(done.done)
    }

    /// Puts the configuration in force that is in its file now; what will be different, in a sentence. It is so when
    /// the daemon has another brain.
    ///
    /// # Errors
    /// As [`ClientError`] says; then the old configuration is in force.
    pub async fn reload(&self) -> Result<String, ClientError> {
        let done: Done = self.call(Method::POST, "/v1/reload", None::<&()>).await?;
        Ok(done.done)
    }

    /// The same with a new binary.
    ///
    /// # Errors
    /// As [`ClientError`] says; then the old binary runs on.
    pub async fn restart(&self, request: &RestartRequest) -> Result<String, ClientError> {
        // The daemon may be of a version that takes no body.
        let body = (*request != RestartRequest::default()).then_some(request);
        let done: Done = self.call(Method::POST, "/v1/restart", body).await?;
        Ok(done.done)
    }

    /// A command that takes as long as the work does, which the daemon alone knows: it is waited for as long as the daemon
    /// gives its status, and no longer than the brain lives that was asked: one that was killed and cannot end keeps the connection open.
    async fn work<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ClientError> {
        let exchange = self.exchange(Method::POST, path, Some(body));
        let lifeless = async {
            let look = LOOK.min(self.timeout / 2);
            let (mut lived, mut brain) = (Instant::now(), None);
            while lived.elapsed() < self.timeout {
                let asked = Instant::now();
                if let Ok(Ok(status)) = timeout(self.timeout, self.status()).await {
                    lived = asked;
                    let pid = status.daemon.brain_pid;
                    if *brain.get_or_insert(pid) != pid {
                        return ClientError::Broken(
                            "another brain has begun: whether it was done is not known".into(),
                        );
                    }
                }
                sleep(look).await;
            }
            ClientError::Timeout(self.timeout)
        };
        tokio::select! {
            answer = exchange => read(answer?),
            error = lifeless => Err(error),
        }
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let exchange = self.exchange(method, path, body);
        read(timeout(self.timeout, exchange).await.map_err(|_| ClientError::Timeout(self.timeout))??)
    }

    async fn exchange<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |error: &dyn std::error::Error| ClientError::Broken(error.to_string());
        let stream = connect(&self.socket).await.map_err(ClientError::Unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        let driver = tokio::spawn(connection);
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| broken(&e))?,
            None => Vec::new(),
        };
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "vipdrift")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| broken(&e))?;
        let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        driver.abort();
        Ok((status, body.map_err(|e| ClientError::Broken(e.to_string()))?.to_bytes()))
    }
}

fn read<T: DeserializeOwned>((status, bytes): (StatusCode, Bytes)) -> Result<T, ClientError> {
    if status.is_success() {
        return serde_json::from_slice(&bytes).map_err(|error| ClientError::Broken(error.to_string()));
    }
    let reason = serde_json::from_slice::<Failed>(&bytes).map_or_else(|_| status.to_string(), |f| f.error);
    Err(ClientError::Refused { status: status.as_u16(), reason })
}

#[cfg(unix)]
async fn connect(socket: &Path) -> std::io::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(socket).await
}

/// To a named pipe. Waits while all its instances are taken: the caller has a limit.
#[cfg(windows)]
async fn connect(pipe: &Path) -> std::io::Result<tokio::net::windows::named_pipe::NamedPipeClient> {
    /// ERROR_PIPE_BUSY.
    const BUSY: i32 = 231;
    /// SECURITY_IDENTIFICATION: whoever serves the pipe may know who asks, and not act in his name.
    const IDENTIFICATION: u32 = 0x0001_0000;
    loop {
        let mut options = tokio::net::windows::named_pipe::ClientOptions::new();
        match options.security_qos_flags(IDENTIFICATION).open(pipe) {
            Err(error) if error.raw_os_error() == Some(BUSY) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}
