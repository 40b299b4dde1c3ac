//! The two ways in: a one-time link, and name and password. An attempt with a password is counted before it is looked at, in
//! the database, so that neither many at once, nor another server, nor a restart gives more guesses; success takes the
//! count back. A name that nobody has is treated like one that somebody has, in words, in waiting and in work.

use std::sync::{Arc, Mutex, PoisonError};

use access::{Bucket, Counted, Failures, Principal, Rate};
use changes::{AuditRecord, Changes, Versioned};
use identifiers::{Scope, Timestamp, UserName};
use identity::{Secret, Verdict};
use store::{ApplyError, FailureSubject, PeopleWrite, SignInLinkRow, UserRow, Write};

use super::{
    digest, fresh_token, no_such_user,
    passwords::HashingTurn,
    people,
    sessions::{audit, begin, console_principal},
};
use crate::{Context, Error, Server, call::authorise, commit::ATTEMPTS_MAX, settings::SIGN_IN_LINK_SECONDS};

/// How many failures may be written down one by one, and how fast more come: a stranger must not fill the audit log. What
/// is left out is counted in the record that follows, and in the counts of name and address. Twenty at once, then four a minute.
const FAILURE_RATE: Rate = Rate { per_second: 4, burst: 20 * FAILURE_RECORD_TOKENS };

/// What one record of a failure costs of [`FAILURE_RATE`].
const FAILURE_RECORD_TOKENS: u32 = 60;

/// From where somebody comes.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    /// The source address; empty where it is unknown.
    pub address: String,
    /// What the browser calls itself.
    pub user_agent: String,
}

/// What came of an attempt to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// A session has begun: its token for the cookie.
    In(String),
    /// Name and password do not belong together, or the user is disabled; which, is not said.
    Wrong,
    /// There were too many failures; the next attempt is looked at after so many seconds.
    Wait(i64),
    /// Too many others sign in at this moment.
    Busy,
}

/// Which failures are written down.
pub(crate) struct FailureRecords(Mutex<(Option<Bucket>, u64)>);

impl Default for FailureRecords {
    fn default() -> Self {
        Self(Mutex::new((None, 0)))
    }
}

impl FailureRecords {
    /// Whether this failure is written down: then how many before it were not.
    fn take(&self, now: Timestamp) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (bucket, left_out) = &mut *state;
        let bucket = bucket.get_or_insert_with(|| Bucket::full(FAILURE_RATE, now));
        if bucket.take(FAILURE_RATE, FAILURE_RECORD_TOKENS, now) {
            return Some(std::mem::take(left_out));
        }
        *left_out += 1;
        None
    }
}

/// The failures that an attempt was counted in.
pub(super) struct Attempt {
    name: (FailureSubject, Option<Failures>, Failures),
    address: (FailureSubject, Option<Failures>, Failures),
}

impl Server {
    /// Makes a link that signs the administrator in once: its token.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn sign_in_link(self: &Arc<Self>) -> Result<String, Error> {
        let context = self.context(self.settings.home.clone(), Principal::System, String::new());
        self.sign_in_link_for(&context, &UserName::root()).await
    }

    /// Makes a link that signs a user in once: its token.
    ///
    /// # Errors
    /// `NoSuchEntity`, `AccessDeniedException`, `InvalidInput` for a disabled user, or when it cannot be kept.
    pub async fn sign_in_link_for(&self, context: &Context, user: &UserName) -> Result<String, Error> {
        authorise(context, "careen:CreateSignInLink", vec![user.arn(&context.scope.account)]).await?;
        let scope = self.people_scope(&context.scope.account);
        let row = self.store.user_get(&scope, user).await?.row.ok_or_else(|| no_such_user(user))?;
        if row.disabled {
            return Err(Error::new("InvalidInput", format!("The user {} is disabled.", row.name))
                .hint(format!("enable it first: careen admin user enable {}", row.name)));
        }
        let token = fresh_token()?;
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(people(PeopleWrite::SignInLinkPut(SignInLinkRow {
            token_digest: digest(&token),
            scope: scope.clone(),
            user: row.name.clone(),
            created_at: context.now,
            valid_until: context.now.plus_seconds(SIGN_IN_LINK_SECONDS),
            used_at: None,
        })));
        changes.audit.push(audit(context, "careen:CreateSignInLink", &row.name));
        self.store.apply(&scope, changes).await?;
        Ok(token)
    }

    /// Uses a link up and begins a session: its token for the cookie. `None`: the link was used, has expired, or never was,
    /// or its user may not come in.
    ///
    /// # Errors
    /// When the session cannot be kept.
    pub async fn sign_in(self: &Arc<Self>, link: &str, visit: &Visit) -> Result<Option<String>, Error> {
        let now = self.now();
        let Some(row) = self.store.sign_in_link_get(&digest(link)).await? else { return Ok(None) };
        if row.used_at.is_some() || row.valid_until <= now {
            return Ok(None);
        }
        let found = self.store.user_get(&self.people_scope(&row.scope.account), &row.user).await?;
        let Some(user) = found.row.filter(|user| !user.disabled) else { return Ok(None) };
        let mut changes: Changes<Write> = Changes::new();
        changes.read.push((UserRow::aggregate(&user.name), found.revision));
        changes.writes.push(people(PeopleWrite::SignInLinkUse { token_digest: digest(link), now }));
        let token = self.signed_in(&mut changes, &row.scope, &user, visit, now)?;
        match self.store.apply(&row.scope, changes).await {
            Ok(_) => Ok(Some(token)),
            Err(ApplyError::Duplicate { .. } | ApplyError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Signs in with name and password, at the console of this server's account.
    ///
    /// # Errors
    /// When the store fails, or others change the same user at this moment.
    pub async fn sign_in_with_password(
        self: &Arc<Self>,
        name: &str,
        password: &Secret,
        visit: &Visit,
    ) -> Result<SignIn, Error> {
        let Some(turn) = self.keys.passwords.turn().await else { return Ok(SignIn::Busy) };
        let scope = self.settings.home.clone();
        let found = match UserName::parse(name) {
            Ok(name) => self.store.user_get(&scope, &name).await?,
            Err(_) => Versioned::new(changes::Revision(0), None),
        };
        let now = self.now();
        let attempt = match self.count_attempt(&scope, found.row.as_ref(), name, &visit.address, now).await? {
            Ok(attempt) => attempt,
            Err(until) => return Ok(SignIn::Wait((until.micros_since(now) + 999_999) / 1_000_000)),
        };
        let password = if password.reveal().len() > access::PASSWORD_BYTES_MAX { &Secret::new("") } else { password };
        let verdict = self.keys.passwords.verify(&turn, found.row.as_ref(), password).await?;
        match (verdict, found.row) {
            (Verdict::Right { outdated }, Some(user)) if !user.disabled => {
                let user = Versioned::new(found.revision, user);
                let anew = outdated.then_some((&turn, password));
                self.let_in(&scope, user, anew, attempt, visit).await.map(SignIn::In)
            }
            (_, user) => {
                self.record_failure(&scope, user.as_ref(), &attempt, visit, now).await?;
                Ok(SignIn::Wrong)
            }
        }
    }

    /// Counts an attempt, as if it had failed; `Err`: from when on the next one is looked at.
    pub(super) async fn count_attempt(
        &self,
        scope: &Scope,
        user: Option<&UserRow>,
        name: &str,
        address: &str,
        now: Timestamp,
    ) -> Result<Result<Attempt, Timestamp>, Error> {
        let of_name = FailureSubject::Name(match user {
            Some(user) => user.name.folded(),
            // The names that nobody has share a bounded number of counts. `/` is in no user's name.
            None => identity::sha256_hex(name.as_bytes())
                .chars()
                .take(4)
                .fold("/".to_owned(), |all, c| all + &c.to_string()),
        });
        let of_address = FailureSubject::Address(network(address));
        for _ in 0..ATTEMPTS_MAX {
            let mut changes: Changes<Write> = Changes::new();
            let mut counted = Vec::new();
            for (subject, kind) in [(&of_name, Counted::Name), (&of_address, Counted::Address)] {
                let before = self.store.sign_in_failures_get(&scope.account, subject).await?;
                if let Some(failures) = before.filter(|_| !Failures::allow(before, kind, now)) {
                    return Ok(Err(failures.wait_until(kind)));
                }
                let after = Failures::after(before, now);
                changes.writes.push(people(PeopleWrite::SignInFailed { subject: subject.clone(), before, after }));
                counted.push((subject.clone(), before, after));
            }
            match (self.store.apply(scope, changes).await, counted.pop(), counted.pop()) {
                (Ok(_), Some(address), Some(name)) => return Ok(Ok(Attempt { name, address })),
                (Err(ApplyError::Duplicate { .. }), ..) => {}
                (Err(error), ..) => return Err(error.into()),
                (Ok(_), ..) => return Err(Error::internal("an attempt was counted once instead of twice")),
            }
        }
        Err(Error::contended())
    }

    /// Begins the session of somebody whose password was right, and takes the attempt's count back.
    async fn let_in(
        self: &Arc<Self>,
        scope: &Scope,
        user: Versioned<UserRow>,
        anew: Option<(&HashingTurn<'_>, &Secret)>,
        attempt: Attempt,
        visit: &Visit,
    ) -> Result<String, Error> {
        let (now, Versioned { revision, row: user }) = (self.now(), user);
        let mut changes: Changes<Write> = Changes::new();
        // Whoever was disabled or given another password since it was compared does not get in.
        changes.read.push((UserRow::aggregate(&user.name), revision));
        if let Some((turn, password)) = anew {
            changes.touched.push(UserRow::aggregate(&user.name));
            let sealed = self.keys.passwords.hash_in(turn, &user.account, &user.name, password).await?;
            changes
                .writes
                .push(people(PeopleWrite::UserPut(UserRow { password_sealed: Some(sealed), ..user.clone() })));
        }
        changes.writes.push(people(PeopleWrite::SignInFailuresForget(attempt.name.0)));
        let token = self.signed_in(&mut changes, scope, &user, visit, now)?;
        match self.store.apply(scope, changes).await {
            Ok(_) => {}
            Err(ApplyError::Conflict { .. }) => return Err(Error::contended()),
            Err(error) => return Err(error.into()),
        }
        // Others may sign in from the same address at this moment; then this one attempt stays counted, which does no harm.
        let (subject, before, after) = attempt.address;
        let back = match before {
            None => PeopleWrite::SignInFailuresForget(subject),
            Some(before) => PeopleWrite::SignInFailed { subject, before: Some(after), after: before },
        };
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(people(back));
        match self.store.apply(scope, changes).await {
            Ok(_) | Err(ApplyError::Duplicate { .. }) => Ok(token),
            Err(error) => Err(error.into()),
        }
    }

    /// What every way in has in common: the session and its record.
    fn signed_in(
        self: &Arc<Self>,
        changes: &mut Changes<Write>,
        scope: &Scope,
        user: &UserRow,
        visit: &Visit,
        now: Timestamp,
    ) -> Result<String, Error> {
        let token = begin(changes, scope, user, visit, now)?;
        let context = self.context(scope.clone(), console_principal(user), visit.address.clone());
        changes.audit.push(audit(&context, "careen:SignIn", &user.name));
        self.metrics.sign_in("in");
        Ok(token)
    }

    pub(super) async fn record_failure(
        self: &Arc<Self>,
        scope: &Scope,
        user: Option<&UserRow>,
        attempt: &Attempt,
        visit: &Visit,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.metrics.sign_in("failed");
        let Some(left_out) = self.failure_records.take(now) else { return Ok(()) };
        let context = self.context(scope.clone(), Principal::System, visit.address.clone());
        // The name as it was typed is not written down: people type passwords into the wrong field.
        let resource = user.map_or_else(|| "console".to_owned(), |user| user.name.arn(&scope.account));
        let counts = serde_json::json!({
            "failures_of_name": attempt.name.2.count,
            "failures_of_address": attempt.address.2.count,
            "failures_not_recorded_before": left_out,
        });
        let record = context.audit("careen:SignIn", resource, &serde_json::Value::Null, &counts);
        let reason = "refused: name and password do not belong together, or the user is disabled";
        let mut changes: Changes<Write> = Changes::new();
        changes.audit.push(AuditRecord { principal: "anonymous".to_owned(), outcome: reason.to_owned(), ..record });
        self.store.apply(scope, changes).await?;
        Ok(())
    }
}

/// What counts as one source: an address of version 4, and of version 6 the network of 64 bits that a single customer is
/// given (RFC 6177).
pub fn network(address: &str) -> String {
    match address.parse::<std::net::IpAddr>().map(|address| address.to_canonical()) {
        Ok(std::net::IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Ok(address) => address.to_string(),
        Err(_) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_are_one_source() {
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network(""), "unknown");
    }

    #[test]
    fn failures_are_written_down_seldom_and_counted_always() {
        let (records, at) = (FailureRecords::default(), Timestamp::from_seconds);
        let first = (0..1000).filter(|_| records.take(at(1_000_000)).is_some()).count();
        assert_eq!(first, 20);
        assert_eq!(records.take(at(1_000_014)), None);
        assert_eq!(records.take(at(1_000_015)), Some(981));
        assert_eq!(records.take(at(1_000_030)), Some(0));
    }
}
