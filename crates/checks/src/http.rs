//! Is an HTTP request answered as expected?

use std::net::{SocketAddr, ToSocketAddrs as _};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Bytes};
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use regex::Regex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use vipdrift_platform::error::plain;

use crate::check::Http;
use crate::output::Outcome;
use crate::slot::Slot;
use crate::tls::Tls;

/// A body is read so far, in bytes.
const LONGEST: usize = 256 * 1024;

/// A request that is made again and again.
pub(crate) struct Asker {
    http: Http,
    uri: Uri,
    body: Option<Regex>,
    tls: Option<Tls>,
    slot: Slot,
}

impl Asker {
    /// # Errors
    /// The URL or the expression is not one.
    pub(crate) fn new(http: &Http) -> Result<Self, String> {
        let uri: Uri = http.url.parse().map_err(|error| format!("{}: {error}", http.url))?;
        if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(format!("{}: expected http://HOST/… or https://HOST/…", http.url));
        }
        let body = http.body.as_deref().map(Regex::new).transpose().map_err(|error| error.to_string())?;
        Ok(Self { http: http.clone(), uri, body, tls: None, slot: Slot::default() })
    }

    pub(crate) async fn look(&mut self) -> Outcome {
        match self.ask().await {
            Ok(outcome) => outcome,
            Err(why) => Outcome::bad(why),
        }
    }

    async fn ask(&mut self) -> Result<Outcome, String> {
        let secure = self.uri.scheme_str() == Some("https");
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let failed = |error: &std::io::Error| format!("{host} port {port}: {}", plain(error));
        let name = host.clone();
        // A name service that hangs is asked once.
        let addresses = self.slot.take(move || (name.as_str(), port).to_socket_addrs()).await?;
        let addresses: Vec<SocketAddr> = addresses.map_err(|error| failed(&error))?.collect();
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|error| failed(&error))?;
        let _ = stream.set_nodelay(true);
        let _ = stream.set_zero_linger();
        if !secure {
            return self.talk(stream).await;
        }
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => {
                let http = self.http.clone();
                let tls = self.slot.take(move || Tls::new(&http)).await??;
                self.tls.insert(tls).clone()
            }
        };
        let named = self.http.host.as_deref().map_or(host.as_str(), without_port).to_owned();
        self.talk(tls.connect(&named, stream).await?).await
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Outcome, String> {
        let broken = |error: hyper::Error| format!("no HTTP answer: {error}");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = self.http.host.as_deref().unwrap_or(authority);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("vipdrift/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            self.judge(answer).await
        };
        // The connection is driven along with the exchange, and dropped with it when the look takes too long.
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            outcome = &mut exchange => outcome,
            ended = connection => {
                ended.map_err(broken)?;
                exchange.await
            }
        }
    }

    async fn judge(&self, answer: Response<hyper::body::Incoming>) -> Result<Outcome, String> {
        let status = answer.status().as_u16();
        let good = self.http.status.iter().any(|range| range.contains(&status));
        if good && self.body.is_none() {
            return Ok(Outcome::good(format!("status {status}")));
        }
        let mut answer = answer.into_body();
        let mut body = Vec::new();
        while body.len() < LONGEST && !answer.is_end_stream() {
            match answer.frame().await {
                Some(Ok(frame)) => body.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
                // What has come so far may be enough to see what is wrong.
                Some(Err(error)) if good => {
                    return Err(format!("status {status}, and the body broke off: {error}"));
                }
                _ => break,
            }
        }
        let text = String::from_utf8_lossy(&body);
        let outcome = match &self.body {
            _ if !good => Outcome::bad(format!("status {status}")),
            Some(pattern) if !pattern.is_match(&text) => {
                Outcome::bad(format!("status {status}, and the body does not match {pattern}"))
            }
            _ => Outcome::good(format!("status {status}, and the body matches")),
        };
        Ok(outcome.with(&body))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.trim_matches(['[', ']']),
        _ => host,
    }
}
