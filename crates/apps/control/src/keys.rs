//! The server's own keys: made at the first start, kept encrypted in the database under the key file's key.

use identity::{CertificateAuthority, MasterKey, Sealer, SigningKey};

/// What the server signs and seals with.
#[derive(Debug)]
pub struct Keys {
    /// Who the server is to its agents.
    pub identity: SigningKey,
    /// What orders are signed with.
    pub job: SigningKey,
    /// Who signs the certificates of the listeners, where none are given.
    pub authority: CertificateAuthority,
    /// What the seals of the audit log are signed with.
    pub audit: SigningKey,
    /// Seals the secrets of access keys.
    pub secrets: Sealer,
    /// Seals page tokens.
    pub pages: Sealer,
    /// Seals the secrets of activations.
    pub activations: Sealer,
    /// The incarnation of the database: one more after each restore, so that no old order runs again.
    pub incarnation: u64,
}

impl Keys {
    pub(crate) fn new(
        master: &MasterKey,
        identity: SigningKey,
        job: SigningKey,
        authority: CertificateAuthority,
        audit: SigningKey,
        incarnation: u64,
    ) -> Self {
        Self {
            identity,
            job,
            authority,
            audit,
            secrets: master.sealer("access-key"),
            pages: master.sealer("page-token"),
            activations: master.sealer("activation"),
            incarnation,
        }
    }

    /// The certificate of the server's own authority in PEM, for those who are to trust it.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        self.authority.certificate_pem()
    }
}
