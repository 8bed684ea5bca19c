//! TLS by rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vipdrift_platform::error::plain;

use crate::check::Http;

/// How certificates are looked at.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

/// What is spoken through.
pub(crate) type Stream = TlsStream<TcpStream>;

impl Tls {
    /// May block: it reads files.
    ///
    /// # Errors
    /// In a line: the authorities cannot be read.
    pub(crate) fn new(http: &Http) -> Result<Self, String> {
        config(http).map(Self)
    }

    /// Shakes hands with a server of this name.
    ///
    /// # Errors
    /// In a line.
    pub(crate) async fn connect(&self, name: &str, stream: TcpStream) -> Result<Stream, String> {
        let server = ServerName::try_from(name.to_owned()).map_err(|error| format!("{name}: {error}"))?;
        let stream = TlsConnector::from(Arc::clone(&self.0)).connect(server, stream).await;
        stream.map_err(|error| format!("TLS with {name}: {}", plain(&error)))
    }
}

fn config(http: &Http) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = if !http.verify {
        let anybody = Arc::new(Anybody(provider));
        builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
    } else if let Some(path) = &http.ca_file {
        builder.with_root_certificates(authorities(path)?).with_no_client_auth()
    } else {
        let verified = builder.with_platform_verifier();
        verified.map_err(|error| format!("the system's authorities: {error}"))?.with_no_client_auth()
    };
    Ok(Arc::new(config))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| format!("{shown}: {error}"))? {
        let certificate = certificate.map_err(|error| format!("{shown}: {error}"))?;
        store.add(certificate).map_err(|error| format!("{shown}: {error}"))?;
    }
    if store.is_empty() { Err(format!("{shown} holds no certificate")) } else { Ok(store) }
}

/// Takes every certificate, as `verify = false` says. That the server has the key to it is still looked at.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
