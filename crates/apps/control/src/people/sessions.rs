use std::sync::Arc;

use access::{Principal, Role};
use changes::Changes;
use identifiers::{Scope, Timestamp, UserName};
use store::{PeopleWrite, SessionRow, TokenDigest, UserRow, Write};

use super::{Visit, digest, fresh_token, people};
use crate::{
    Context, Error, Server,
    call::authorise,
    settings::{SESSION_IDLE_SECONDS, SESSION_SECONDS},
};

/// That a session's holder was seen is noted at most this often, in seconds.
const NOTE_SECONDS: i64 = 60;

/// How many sessions of a user are shown.
const SHOWN_MAX: u32 = 200;

/// The most characters that are kept of what a browser calls itself.
const USER_AGENT_CHARS_MAX: usize = 200;

/// Who is signed in at the console.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose data the console shows.
    pub scope: Scope,
    /// Who it is.
    pub principal: Principal,
    /// The user's name.
    pub user: UserName,
    /// What the user may do.
    pub role: Role,
    /// What every form of this session must carry.
    pub csrf_token: String,
}

/// A session as its user sees it.
#[derive(Debug, Clone)]
pub struct OpenSession {
    /// Names it; opens nothing.
    pub id: String,
    /// Whether it is the one that asks.
    pub own: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When its holder was last seen, to the minute.
    pub seen_at: Timestamp,
    /// When it ends at the latest.
    pub valid_until: Timestamp,
    /// From which address it began.
    pub source_address: String,
    /// What the browser called itself.
    pub user_agent: String,
}

/// When a session's holder must have been seen for it to go on.
pub(crate) fn idle_since(now: Timestamp) -> Timestamp {
    now.plus_seconds(-SESSION_IDLE_SECONDS)
}

/// Adds a new session to `changes`: its token for the cookie.
pub(super) fn begin(
    changes: &mut Changes<Write>,
    scope: &Scope,
    user: &UserRow,
    visit: &Visit,
    now: Timestamp,
) -> Result<String, Error> {
    let token = fresh_token()?;
    changes.writes.push(people(PeopleWrite::SessionPut(SessionRow {
        token_digest: digest(&token),
        scope: scope.clone(),
        user: user.name.clone(),
        csrf_token: fresh_token()?,
        created_at: now,
        valid_until: now.plus_seconds(SESSION_SECONDS),
        seen_at: now,
        source_address: visit.address.clone(),
        user_agent: visit.user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect(),
    })));
    changes.writes.push(people(PeopleWrite::UserSignedIn { name: user.name.clone(), now }));
    Ok(token)
}

/// The name of a session: made from the digest of its token, so that it leads nowhere.
fn id_of(token: &TokenDigest) -> String {
    identity::sha256_hex(&token.0).chars().take(16).collect()
}

impl Server {
    /// Whose session a cookie's token is; `None`: nobody's (any more). The user is read with it: who was disabled since is
    /// nobody, and another role holds at once.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn session(self: &Arc<Self>, token: &str) -> Result<Option<Session>, Error> {
        let now = self.now();
        let Some((row, user)) = self.store.session_get(&digest(token)).await? else { return Ok(None) };
        let valid = row.valid_until > now && row.seen_at > idle_since(now);
        let Some(user) = user.filter(|user| valid && !user.disabled) else { return Ok(None) };
        if now >= row.seen_at.plus_seconds(NOTE_SECONDS) {
            let mut changes: Changes<Write> = Changes::new();
            changes.writes.push(people(PeopleWrite::SessionSeen { token_digest: row.token_digest, now }));
            // That it could not be noted (a full disk) is no reason to show nothing.
            if let Err(error) = self.store.apply(&row.scope, changes).await {
                tracing::warn!("that a session was seen could not be noted: {error}");
            }
        }
        Ok(Some(Session {
            principal: console_principal(&user),
            user: user.name,
            role: user.role,
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
        let context = self.context(session.scope.clone(), session.principal, source_address.to_owned());
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(people(PeopleWrite::SessionDelete(digest(token))));
        changes.audit.push(audit(&context, "careen:SignOut", &session.user));
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
        let end = Timestamp::from_micros(i64::MAX);
        changes.writes.push(people(PeopleWrite::SessionsExpire { now: end, seen_before: end }));
        self.store.apply(&self.settings.home, changes).await?;
        Ok(())
    }

    /// A user's sessions, the newest first; `own` is the token of the one that asks.
    ///
    /// # Errors
    /// `AccessDeniedException`, or when the store cannot be read.
    pub async fn user_sessions(
        &self,
        context: &Context,
        user: &UserName,
        own: &str,
    ) -> Result<Vec<OpenSession>, Error> {
        authorise(context, "careen:ListSessions", vec![user.arn(&context.scope.account)]).await?;
        let rows = self.store.session_list(&context.scope.account, user, context.now, SHOWN_MAX).await?;
        let own = digest(own);
        let alive = rows.into_iter().filter(|row| row.seen_at > idle_since(context.now));
        let shown = alive.map(|row| OpenSession {
            id: id_of(&row.token_digest),
            own: row.token_digest == own,
            created_at: row.created_at,
            seen_at: row.seen_at,
            valid_until: row.valid_until,
            source_address: row.source_address,
            user_agent: row.user_agent,
        });
        Ok(shown.collect())
    }

    /// Ends one of a user's sessions, named as [`OpenSession::id`] names it.
    ///
    /// # Errors
    /// `NoSuchEntity` where there is none of that name.
    pub async fn revoke_session(&self, context: &Context, user: &UserName, id: &str) -> Result<(), Error> {
        authorise(context, "careen:RevokeSession", vec![user.arn(&context.scope.account)]).await?;
        let rows = self.store.session_list(&context.scope.account, user, context.now, SHOWN_MAX).await?;
        let row = rows.into_iter().find(|row| id_of(&row.token_digest) == id);
        let row = row.ok_or_else(|| Error::new("NoSuchEntity", "There is no such session; it may have ended."))?;
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(people(PeopleWrite::SessionDelete(row.token_digest)));
        changes.audit.push(audit(context, "careen:RevokeSession", user));
        self.store.apply(&row.scope, changes).await?;
        Ok(())
    }

    /// Ends all of a user's sessions and links but the session of `except`, the token of the one that asks.
    ///
    /// # Errors
    /// `AccessDeniedException`, or when the store cannot be written.
    pub async fn revoke_sessions(&self, context: &Context, user: &UserName, except: Option<&str>) -> Result<(), Error> {
        authorise(context, "careen:RevokeSession", vec![user.arn(&context.scope.account)]).await?;
        let mut changes: Changes<Write> = Changes::new();
        let except = except.map(digest);
        changes.writes.push(people(PeopleWrite::SessionsEnd { user: user.clone(), except }));
        changes.audit.push(audit(context, "careen:RevokeSession", user));
        self.store.apply(&self.people_scope(&context.scope.account), changes).await?;
        Ok(())
    }
}

/// The record of something about a user that has no state before or after.
pub(super) fn audit(context: &Context, action: &str, user: &UserName) -> changes::AuditRecord {
    let null = serde_json::Value::Null;
    context.audit(action, user.arn(&context.scope.account), &null, &null)
}

pub(super) fn console_principal(user: &UserRow) -> Principal {
    Principal::Console { account: user.account.clone(), user: user.name.clone(), role: user.role }
}
