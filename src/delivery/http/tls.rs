//! Whom we trust, and how: the TLS side of the client.
//!
//! The system's roots, and those of `ca_file` beside them; HTTP/1.1 alone by ALPN; no client certificate, no early data
//! (it could be replayed). The provider is named here, so no process-wide default is needed and none is set.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{ClientError, TransportError};
use super::origin::Origin;

/// Makes TLS connections; cheap to clone.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Reads the roots: a few milliseconds, once.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientError::Tls)?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands over a connection that leads to the origin, directly or through a proxy.
    pub(super) async fn handshake(
        &self,
        origin: &Origin,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TransportError> {
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| TransportError::Request { origin: origin.clone(), part: "host" })?;
        self.0.connect(name, stream).await.map_err(|error| TransportError::tls(origin, &error))
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    // A store may hold certificates of a kind that nobody can use any more; the others still count.
    let (_, ignored) = roots.add_parsable_certificates(native.certs);
    let errors = native.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if ignored > 0 || !errors.is_empty() {
        tracing::debug!(ignored, errors, "some of the system's root certificates are not used");
    }
    if let Some(path) = ca_file {
        add_file(&mut roots, path).map_err(|cause| ClientError::CaFile { path: path.to_owned(), cause })?;
    }
    if roots.is_empty() {
        let cause = if errors.is_empty() { "its store is empty".to_owned() } else { errors };
        return Err(ClientError::NoRoots { cause });
    }
    Ok(roots)
}

/// All of the file's certificates, or what is wrong with it: whoever names a CA wants it to count.
fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        found = true;
    }
    if found { Ok(()) } else { Err("there is no certificate in it".to_owned()) }
}
