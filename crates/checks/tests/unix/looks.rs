//! Checks against real servers on loopback, real files and real processes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use vipdrift_checks::{Check, Exec, Http, Probe, Report, Tools, run};

const SOON: Duration = Duration::from_secs(20);

fn check(probe: Probe) -> Check {
    Check {
        probe,
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        fall: 1,
        rise: 1,
        initially_passing: false,
    }
}

fn http(url: String) -> Http {
    Http { url, host: None, status: vec![200..=299], body: None, verify: true, ca_file: None }
}

/// The first report, or one that `wanted` wants.
async fn report(check: &Check, wanted: impl Fn(&Report) -> bool) -> Report {
    let (reports, heard) = channel();
    let tools = Tools::default();
    let work = run(check, 0, &tools, |report| reports.send(report).expect("heard"));
    let look = async {
        loop {
            match heard.try_recv() {
                Ok(report) if wanted(&report) => return report,
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::time::timeout(SOON, async {
        tokio::select! {
            () = work => unreachable!("a check does not end by itself"),
            report = look => report,
        }
    })
    .await
    .expect("a report in time")
}

async fn first(probe: Probe) -> Report {
    report(&check(probe), |_| true).await
}

/// A server that answers every request with these bytes, and says what it was asked.
async fn server(answer: &'static str, tls: Option<TlsAcceptor>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (asked, asks) = channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => serve(stream, answer, &asked).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, answer, &asked).await;
                    }
                }
            }
        }
    });
    (address, asks)
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &str,
    asked: &std::sync::mpsc::Sender<String>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let _ = asked.send(String::from_utf8_lossy(&request).into_owned());
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"state\": \"ready\"}";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nno master";

#[tokio::test]
async fn tcp_open_and_closed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let open = first(Probe::Tcp(address)).await;
    assert_eq!((open.passing, open.outcome.summary), (Some(true), format!("{address} accepts connections")));
    drop(listener);
    let closed = first(Probe::Tcp(address)).await;
    assert_eq!(
        (closed.passing, closed.outcome.summary),
        (Some(false), format!("{address}: connection refused"))
    );
}

#[tokio::test]
async fn http_status_and_body() {
    let (address, asks) = server(FINE, None).await;
    let fine = first(Probe::Http(http(format!("http://{address}/healthz?deep=1")))).await;
    assert_eq!((fine.passing, fine.outcome.summary.as_str()), (Some(true), "status 200"));
    let asked = asks.recv().expect("asked").to_lowercase();
    assert!(asked.starts_with("get /healthz?deep=1 http/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: {address}\r\n")), "{asked}");

    let with = |pattern: &str, host: Option<&str>| {
        let http = http(format!("http://{address}/"));
        Probe::Http(Http { body: Some(pattern.to_owned()), host: host.map(str::to_owned), ..http })
    };
    let matches = first(with("\"state\": *\"ready\"", Some("db.example"))).await;
    assert_eq!(matches.outcome.summary, "status 200, and the body matches");
    assert!(asks.recv().expect("asked").to_lowercase().contains("host: db.example\r\n"));
    let differs = first(with("primary", None)).await;
    assert_eq!(differs.outcome.summary, "status 200, and the body does not match primary");
    assert_eq!((differs.passing, differs.outcome.output.as_str()), (Some(false), "{\"state\": \"ready\"}"));
    let nonsense = first(with("(", None)).await;
    assert!(!nonsense.outcome.good && nonsense.outcome.summary.contains("unclosed"), "{nonsense:?}");

    let (address, _asks) = server(BUSY, None).await;
    let busy = first(Probe::Http(http(format!("http://{address}/")))).await;
    assert_eq!((busy.outcome.summary.as_str(), busy.outcome.output.as_str()), ("status 503", "no master"));
    let expected = Http { status: vec![200..=200, 503..=503], ..http(format!("http://{address}/")) };
    assert!(first(Probe::Http(expected)).await.outcome.good);
}

#[tokio::test]
async fn http_from_a_server_that_does_not_speak_it() {
    for (answer, expected) in [("220 mail.example ESMTP\r\n", "no HTTP answer: "), ("", "no HTTP answer: ")] {
        let (address, _asks) = server(answer, None).await;
        let broken = first(Probe::Http(http(format!("http://{address}/")))).await;
        assert!(broken.outcome.summary.starts_with(expected), "{answer:?}: {broken:?}");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let silent = Check {
        timeout: Duration::from_millis(80),
        ..check(Probe::Http(http(format!("http://{}/", listener.local_addr().expect("an address")))))
    };
    assert_eq!(report(&silent, |_| true).await.outcome.summary, "no answer within 80 ms");
}

#[tokio::test]
async fn https_with_certificates_that_are_right_and_wrong() {
    let key = rcgen::generate_simple_self_signed(["db.example".to_owned()]).expect("a certificate");
    let chain = vec![key.cert.der().clone()];
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .expect("a server");
    let (address, _asks) = server(FINE, Some(TlsAcceptor::from(Arc::new(config)))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, key.cert.pem()).expect("written");

    let base = Http { ca_file: Some(authority), ..http(format!("https://{address}/")) };
    let right = first(Probe::Http(Http { host: Some("db.example:443".to_owned()), ..base.clone() })).await;
    assert_eq!(right.outcome.summary, "status 200");
    let other = first(Probe::Http(Http { host: Some("web.example".to_owned()), ..base.clone() })).await;
    assert!(other.outcome.summary.starts_with("TLS with web.example: "), "{other:?}");
    assert_eq!(other.passing, Some(false));
    let system = Http { ca_file: None, host: Some("db.example".to_owned()), ..base.clone() };
    let unknown = first(Probe::Http(system.clone())).await;
    assert!(!unknown.outcome.good, "{unknown:?}");
    assert!(first(Probe::Http(Http { verify: false, ..system })).await.outcome.good);
    let missing = Http { ca_file: Some(folder.path().join("none.pem")), ..base };
    let missing = first(Probe::Http(missing)).await;
    assert!(missing.outcome.summary.contains("none.pem"), "{missing:?}");
}

#[tokio::test]
async fn a_program_that_is_deleted_has_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("look");
    std::fs::copy("/bin/true", &program).expect("copied");
    let command = vec![program.display().to_string()];
    let check = check(Probe::Exec(Exec { command, account: None, environment: vec![] }));
    let deleted = std::cell::Cell::new(false);
    let last = report(&check, |report| {
        if report.passing == Some(true) && !deleted.replace(true) {
            std::fs::remove_file(&program).expect("removed");
        }
        report.passing == Some(false)
    })
    .await;
    assert!(last.outcome.summary.ends_with("no such file or directory"), "{last:?}");
}

#[tokio::test]
async fn icmp_without_a_socket_has_failed() {
    let look = first(Probe::Icmp(IpAddr::V4(Ipv4Addr::LOCALHOST))).await;
    assert_eq!((look.passing, look.outcome.summary.as_str()), (Some(false), "there is no socket for ICMP"));
}

#[tokio::test]
async fn verdicts_are_told_at_once_and_the_rest_now_and_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flag");
    std::fs::write(&path, "").expect("written");
    let check =
        Check { interval: Duration::from_millis(10), fall: 3, rise: 2, ..check(Probe::File(path.clone())) };
    let (reports, heard) = channel();
    let tools = Tools::default();
    let work = run(&check, 0, &tools, |report| reports.send(report).expect("heard"));
    let _ = tokio::time::timeout(Duration::from_millis(500), work).await;
    let quiet: Vec<Report> = heard.try_iter().collect();
    assert_eq!(quiet.len(), 1, "nothing new: {quiet:?}");
    std::fs::remove_file(&path).expect("removed");
    let work = run(&check, 0, &tools, |report| reports.send(report).expect("heard"));
    let _ = tokio::time::timeout(Duration::from_millis(500), work).await;
    let reports: Vec<Report> = heard.try_iter().collect();
    let seen: Vec<_> = reports.iter().map(|report| (report.looks, report.passing)).collect();
    assert_eq!(seen, [(1, None), (3, Some(false))], "{reports:?}");
}
