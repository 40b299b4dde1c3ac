//! The server's own certificate authority, and the certificates that it gives to server processes.

use std::net::IpAddr;

use identifiers::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use time::OffsetDateTime;

use crate::sha256_hex;

/// How long an authority's own certificate is valid, in days.
const AUTHORITY_DAYS: i64 = 3650;
/// How long a server's certificate is valid, in days.
const SERVER_DAYS: i64 = 30;
/// Clocks that are this far behind still take what was made just now, in days.
const BEFORE_DAYS: i64 = 2;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// A certificate could not be made, or a stored authority not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CertificateError(String);

impl CertificateError {
    fn because(reason: impl std::fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// A certificate authority (RFC 5280) with an ECDSA P-256 key. It signs certificates of servers and nothing else.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

/// What a server process shows to its callers.
pub struct ServerCertificate {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS #8 (RFC 5958), DER.
    pub private_key: Vec<u8>,
    /// From then on it is not valid.
    pub valid_until: Timestamp,
}

impl CertificateAuthority {
    /// A new authority.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn generate(now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::generate().map_err(CertificateError::because)?;
        let mut params = authority_params(&key);
        (params.not_before, params.not_after) = validity(now, AUTHORITY_DAYS)?;
        let certificate = params.self_signed(&key).map_err(CertificateError::because)?.der().to_vec();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority of a stored certificate and its key (PKCS #8).
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn open(certificate: Vec<u8>, private_key: &[u8]) -> Result<Self, CertificateError> {
        let key = KeyPair::try_from(private_key).map_err(CertificateError::because)?;
        Ok(Self { issuer: Issuer::new(authority_params(&key), key), certificate })
    }

    /// Its certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its private key, PKCS #8, to be stored encrypted.
    #[must_use]
    pub fn private_key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// Its certificate in PEM (RFC 7468), for those who are to trust it.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        certificate_pem(&self.certificate)
    }

    /// A certificate for a server that is called by `names`: DNS names and addresses.
    ///
    /// # Errors
    /// When a name cannot be in a certificate, or no key can be made.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<ServerCertificate, CertificateError> {
        let key = KeyPair::generate().map_err(CertificateError::because)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Careen server");
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => {
                    let text = name.as_str().try_into();
                    SanType::DnsName(text.map_err(|e| CertificateError(format!("{name}: {e}")))?)
                }
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(now, SERVER_DAYS)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(CertificateError::because)?;
        Ok(ServerCertificate {
            certificate: certificate.der().to_vec(),
            private_key: key.serialize_der(),
            valid_until: now.plus_seconds(SERVER_DAYS * DAY_SECONDS),
        })
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateAuthority(…)")
    }
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerCertificate(until {})", self.valid_until)
    }
}

/// A certificate in PEM (RFC 7468).
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let mut lines = vec!["-----BEGIN CERTIFICATE-----"];
    let mut rest = text.as_str();
    while let Some((line, after)) = rest.split_at_checked(64) {
        lines.push(line);
        rest = after;
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines.push("-----END CERTIFICATE-----\n");
    lines.join("\n")
}

/// What an authority's certificate says besides its validity; it follows from the key alone, so that an authority that is
/// opened again signs under the same name.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let short: String = sha256_hex(key.der_bytes()).chars().take(12).collect();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Careen CA {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn validity(now: Timestamp, days: i64) -> Result<(OffsetDateTime, OffsetDateTime), CertificateError> {
    let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).map_err(CertificateError::because);
    let now = now.as_seconds();
    Ok((at(now.saturating_sub(BEFORE_DAYS * DAY_SECONDS))?, at(now.saturating_add(days * DAY_SECONDS))?))
}
