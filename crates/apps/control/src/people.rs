//! People at the console: one-time sign-in links and sessions. Only digests of tokens are kept.

use std::sync::Arc;

use access::Principal;
use changes::{AuditRecord, Changes};
use identifiers::{Scope, Timestamp};
use store::{ApplyError, RecordWrite, SessionRow, SignInLinkRow, TokenDigest, Write};

use crate::{
    Error, Server,
    settings::{SESSION_SECONDS, SIGN_IN_LINK_SECONDS},
};

/// Who is signed in at the console.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose data the console shows.
    pub scope: Scope,
    /// Who it is.
    pub principal: Principal,
    /// What every form of this session must carry.
    pub csrf_token: String,
}

fn digest(token: &str) -> TokenDigest {
    TokenDigest(identity::sha256(token.as_bytes()).to_vec())
}

fn fresh_token() -> Result<String, Error> {
    Ok(agent_wire::Bytes32(identity::random_bytes::<32>()?).to_string())
}

impl Server {
    /// Makes a link that signs the administrator in once: its token.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn sign_in_link(self: &Arc<Self>) -> Result<String, Error> {
        let token = fresh_token()?;
        let now = self.now();
        let scope = self.settings.home.clone();
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(RecordWrite::SignInLinkPut(SignInLinkRow {
            token_digest: digest(&token),
            scope: scope.clone(),
            principal: "root".to_owned(),
            created_at: now,
            valid_until: now.plus_seconds(SIGN_IN_LINK_SECONDS),
            used_at: None,
        })));
        changes.audit.push(self.people_audit(&scope, Principal::System, "", "careen:CreateSignInLink"));
        self.store.apply(&scope, changes).await?;
        Ok(token)
    }

    /// Uses a link up and begins a session: its token for the cookie. `None`: the link was used, has expired, or never was.
    ///
    /// # Errors
    /// When the session cannot be kept.
    pub async fn sign_in(self: &Arc<Self>, link: &str, source_address: &str) -> Result<Option<String>, Error> {
        let now = self.now();
        let Some(row) = self.store.sign_in_link_get(&digest(link)).await? else { return Ok(None) };
        if row.used_at.is_some() || row.valid_until <= now {
            return Ok(None);
        }
        let token = fresh_token()?;
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(RecordWrite::SignInLinkUse { token_digest: digest(link), now }));
        changes.writes.push(Write::from(RecordWrite::SessionPut(SessionRow {
            token_digest: digest(&token),
            scope: row.scope.clone(),
            principal: row.principal.clone(),
            csrf_token: fresh_token()?,
            created_at: now,
            valid_until: now.plus_seconds(SESSION_SECONDS),
        })));
        let principal = console_principal(&row.scope, &row.principal);
        changes.audit.push(self.people_audit(&row.scope, principal, source_address, "careen:SignIn"));
        match self.store.apply(&row.scope, changes).await {
            Ok(_) => Ok(Some(token)),
            Err(ApplyError::Duplicate { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whose session a cookie's token is; `None`: nobody's (any more).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn session(&self, token: &str) -> Result<Option<Session>, Error> {
        let row = self.store.session_get(&digest(token)).await?;
        let row = row.filter(|row| row.valid_until > self.now());
        Ok(row.map(|row| Session {
            principal: console_principal(&row.scope, &row.principal),
            scope: row.scope,
            csrf_token: row.csrf_token,
        }))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn sign_out(self: &Arc<Self>, token: &str, source_address: &str) -> Result<(), Error> {
        let Some(session) = self.session(token).await? else { return Ok(()) };
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(RecordWrite::SessionDelete(digest(token))));
        changes.audit.push(self.people_audit(&session.scope, session.principal, source_address, "careen:SignOut"));
        self.store.apply(&session.scope, changes).await?;
        Ok(())
    }

    /// Ends every session and forgets every link: whoever had this server's port while it was not there may have seen
    /// their tokens.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn sign_everybody_out(&self) -> Result<(), Error> {
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(RecordWrite::SessionsExpire { now: Timestamp::from_micros(i64::MAX) }));
        self.store.apply(&self.settings.home, changes).await?;
        Ok(())
    }

    fn people_audit(self: &Arc<Self>, scope: &Scope, principal: Principal, from: &str, action: &str) -> AuditRecord {
        let null = serde_json::Value::Null;
        self.context(scope.clone(), principal, from.to_owned()).audit(action, "console", &null, &null)
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
#[must_use]
pub fn same_secret(one: &str, other: &str) -> bool {
    identity::verify_hmac_sha256(
        b"same secret",
        one.as_bytes(),
        &identity::hmac_sha256(b"same secret", other.as_bytes()),
    )
}

fn console_principal(scope: &Scope, name: &str) -> Principal {
    Principal::Console { account: scope.account.clone(), name: name.to_owned() }
}
