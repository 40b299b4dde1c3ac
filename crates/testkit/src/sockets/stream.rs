//! One connection, over TLS or not. The certificate is not looked at, as the agent does not: who the server is, its identity
//! key says, over the channel that both name.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use agent_wire::{Bytes32, CHANNEL_LABEL};
use anyhow::Context;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, PeerMisbehaved, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// Where a server listens, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects from an address; also the name of the TLS channel, where there is one.
pub(super) async fn open(
    server: Endpoint,
    from: Option<SocketAddr>,
) -> anyhow::Result<(Box<dyn Duplex>, Option<Bytes32>)> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.set_reuseaddr(true)?;
        socket.bind(from)?;
    }
    let stream = socket.connect(server.address).await?;
    stream.set_nodelay(true)?;
    if !server.tls {
        return Ok((Box::new(stream), None));
    }
    let name = ServerName::from(server.address.ip());
    let stream = TlsConnector::from(configuration()?).connect(name, stream).await?;
    let exported = stream.get_ref().1.export_keying_material([0; 32], CHANNEL_LABEL, None)?;
    Ok((Box::new(stream), Some(Bytes32(exported))))
}

fn configuration() -> anyhow::Result<Arc<ClientConfig>> {
    static CONFIGURATION: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if CONFIGURATION.get().is_none() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
        let verifier = Arc::new(AnyCertificate(provider));
        let mut made = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        made.alpn_protocols = vec![b"http/1.1".to_vec()];
        made.resumption = Resumption::disabled();
        let _ = CONFIGURATION.set(Arc::new(made));
    }
    CONFIGURATION.get().cloned().context("no TLS")
}

/// Takes every certificate whose key the other end has.
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
