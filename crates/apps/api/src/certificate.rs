//! What the listeners show to their callers in TLS. It can be exchanged while they listen; connections go on.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    client::verify_server_name,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, ServerConfig},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

/// A certificate that cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It is not there.
    #[error("{0} holds no PEM block of the kind CERTIFICATE")]
    NoCertificate(String),
    /// The key is not there.
    #[error("{0} holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted)")]
    NoKey(String),
    /// Key and certificate do not fit, or are of a kind that is not spoken.
    #[error("certificate and key cannot be used together: {0}")]
    Unfit(rustls::Error),
}

/// A certificate with its chain and its private key.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl Certificate {
    /// From DER: the certificate, those that lead to its root, and the private key.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn from_der(chain: Vec<Vec<u8>>, private_key: Vec<u8>) -> Result<Self, CertificateError> {
        let key = PrivateKeyDer::try_from(private_key).map_err(|e| CertificateError::NoKey(e.to_owned()))?;
        Self::of(chain.into_iter().map(CertificateDer::from).collect(), key)
    }

    /// From two PEM texts, the chain and the key; `names` say where they come from.
    ///
    /// # Errors
    /// When one is missing, or they do not fit.
    pub fn from_pem(chain: &[u8], private_key: &[u8], names: [&str; 2]) -> Result<Self, CertificateError> {
        let [chain_name, key_name] = names.map(str::to_owned);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(CertificateError::NoCertificate(chain_name))?;
        let key = PrivateKeyDer::from_pem_slice(private_key).map_err(|_| CertificateError::NoKey(key_name))?;
        Self::of(chain, key)
    }

    fn of(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, CertificateError> {
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(CertificateError::Unfit)?;
        Ok(Self(Arc::new(key)))
    }

    /// Whether it is good for a server of this name or address.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let (Ok(certificate), Ok(name)) = (self.0.end_entity_cert(), ServerName::try_from(name)) else { return false };
        ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    }
}

/// The certificate that is shown at present.
#[derive(Debug, Clone)]
pub struct ShownCertificate(Arc<RwLock<Certificate>>);

impl ShownCertificate {
    /// Shows this one.
    #[must_use]
    pub fn new(certificate: Certificate) -> Self {
        Self(Arc::new(RwLock::new(certificate)))
    }

    /// Shows this one from now on.
    pub fn exchange(&self, certificate: Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// The one that is shown.
    #[must_use]
    pub fn current(&self) -> Certificate {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// TLS 1.3, and 1.2 for older clients of the API. No session is kept: a caller always sees the certificate that is
    /// shown now, and an idle connection costs no ticket.
    pub(crate) fn configuration(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let mut configuration = builder.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
        configuration.session_storage = Arc::new(NoServerSessionStorage {});
        configuration.send_tls13_tickets = 0;
        Ok(Arc::new(configuration))
    }
}

impl ResolvesServerCert for ShownCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().0)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
