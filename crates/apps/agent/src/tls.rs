//! TLS as the agent speaks it. Who the server is, its identity key says; a certificate is asked for only where the channel
//! does not end at the server itself.
//!
//! The handshake takes any certificate: the server then signs the channel's name with its identity key (see
//! [`agent_wire::Terms`]), which nobody in between can have done for the channel that ends at them. So no authority has to
//! be installed on a node, nothing expires there, and a wrong clock locks nobody out. Where a balancer ends TLS before the
//! server, the certificate it showed must be valid for the name that was called, under the authorities of `--ca-file` or
//! of the host.

use crate::AgentError;
use agent_wire::{Bytes32, CHANNEL_LABEL};
use identifiers::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, PeerMisbehaved, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where distributions keep the authorities that the host trusts; the first that is there counts.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// A file of authorities is not read further, in bytes; Debian's has 0.2 MiB.
const AUTHORITIES_BYTES_MAX: u64 = 8 << 20;

/// What is known of a channel after its handshake.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Its name (RFC 9266): the same at both of its ends, and nowhere else.
    pub(crate) name: Bytes32,
    /// The certificates that the other end showed.
    shown: Vec<CertificateDer<'static>>,
    host: ServerName<'static>,
}

/// Shakes hands with whoever answers for `host`.
pub(crate) async fn secure(stream: TcpStream, host: &str) -> Result<(TlsStream<TcpStream>, Channel), String> {
    let host = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name for TLS"))?;
    let stream = TlsConnector::from(configuration()?).connect(host.clone(), stream).await;
    let stream = stream.map_err(|e| format!("no TLS: {e}"))?;
    let (_, session) = stream.get_ref();
    let name = session.export_keying_material([0; 32], CHANNEL_LABEL, None).map_err(|e| e.to_string())?;
    let shown = session.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect();
    Ok((stream, Channel { name: Bytes32(name), shown, host }))
}

impl Channel {
    /// Whether the certificate that was shown is valid for the host under these authorities, at one of `times`; else why
    /// not.
    ///
    /// The clock of a host may be wrong in either direction, so besides the present as the host sees it, the last instant
    /// that the server has signed counts.
    pub(crate) fn certificate_is_valid(&self, authorities: Option<&Path>, times: &[Timestamp]) -> Result<(), String> {
        let (path, roots) = roots(authorities)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|_| format!("{} holds no certificate", path.display()))?;
        let Some((certificate, intermediates)) = self.shown.split_first() else {
            return Err("no certificate was shown".to_owned());
        };
        let mut reason = "no time is known".to_owned();
        for time in times {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.as_seconds()).unwrap_or(0)));
            match verifier.verify_server_cert(certificate, intermediates, &self.host, &[], at) {
                Ok(_) => return Ok(()),
                Err(e) => reason = plain(&e, &path),
            }
        }
        Err(reason)
    }
}

fn plain(error: &rustls::Error, authorities: &Path) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!("no authority in {} has signed it", authorities.display())
        }
        other => other.to_string(),
    }
}

fn roots(given: Option<&Path>) -> Result<(PathBuf, RootCertStore), String> {
    let system = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
    let path = given.map(Path::to_owned).or_else(system);
    let path = path.ok_or("this host has no file of trusted authorities; name one with --ca-file")?;
    let bytes = execution::durable::read(&path, AUTHORITIES_BYTES_MAX).map_err(|e| e.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("{} is not there", path.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
    Ok((path, roots))
}

/// Refuses a file of authorities that holds none.
pub(crate) fn check_authorities(path: &Path) -> Result<(), AgentError> {
    let (_, roots) = roots(Some(path)).map_err(|e| AgentError::system("reading --ca-file", e))?;
    if roots.is_empty() {
        let reason = format!("{} holds no certificate in PEM", path.display());
        return Err(AgentError::system("reading --ca-file", reason));
    }
    Ok(())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn configuration() -> Result<Arc<ClientConfig>, String> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(|e| e.to_string())?;
    let verifier = Arc::new(AnyCertificate(provider));
    let mut configuration = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session shows no certificate.
    configuration.resumption = Resumption::disabled();
    Ok(Arc::new(configuration))
}

/// Takes every certificate whose key the other end has; see this module's beginning.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // TLS 1.2 is not spoken.
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
