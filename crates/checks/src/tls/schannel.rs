//! TLS by Schannel, with the certificates that Windows trusts.

use native_tls::{Certificate, TlsConnector};
use tokio::net::TcpStream;
use tokio_native_tls::TlsStream;
use vipdrift_platform::error::plain;

use crate::check::Http;

/// How certificates are looked at.
#[derive(Clone)]
pub(crate) struct Tls(tokio_native_tls::TlsConnector);

impl Tls {
    /// May block: it reads files.
    ///
    /// # Errors
    /// In a line: the authorities cannot be read.
    pub(crate) fn new(http: &Http) -> Result<Self, String> {
        let mut builder = TlsConnector::builder();
        if !http.verify {
            builder.danger_accept_invalid_certs(true).danger_accept_invalid_hostnames(true);
        } else if let Some(path) = &http.ca_file {
            let shown = path.display();
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("{shown}: {}", plain(&error)))?;
            builder.disable_built_in_roots(true);
            let mut found = false;
            for part in text.split_inclusive("-----END CERTIFICATE-----") {
                let Some(begin) = part.find("-----BEGIN CERTIFICATE-----") else { continue };
                let certificate = Certificate::from_pem(&part.as_bytes()[begin..]);
                builder.add_root_certificate(certificate.map_err(|error| format!("{shown}: {error}"))?);
                found = true;
            }
            if !found {
                return Err(format!("{shown} holds no certificate"));
            }
        }
        let connector = builder.build().map_err(|error| error.to_string())?;
        Ok(Self(connector.into()))
    }

    /// Shakes hands with a server of this name.
    ///
    /// # Errors
    /// In a line.
    pub(crate) async fn connect(
        &self,
        name: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        self.0.connect(name, stream).await.map_err(|error| format!("TLS with {name}: {error}"))
    }
}
