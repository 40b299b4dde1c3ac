use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use access::{Principal, Role};
use aws_wire::Sensitive;
use changes::Changes;
use identifiers::{AccessKeyId, AccountId, Timestamp};
use store::{AccessKeyRow, AccessKeyStatus, KeyUse, PeopleWrite, UserRow, Write};

use crate::{Error, Server, setup::opened};

/// The last use of a key is noted at most this often, in seconds.
const NOTE_SECONDS: i64 = 60;

/// The most characters that are kept of the service that a request was signed for; its signer chooses them.
const SERVICE_CHARS_MAX: usize = 64;

/// An access key that may be used, with its secret for checking a signature.
pub struct UsableKey {
    /// The secret.
    pub secret: Sensitive<String>,
    /// Who it stands for.
    pub principal: Principal,
    /// The account it belongs to.
    pub account: AccountId,
}

impl Server {
    /// The access key of this id, read anew for every request, so that one that was disabled is refused from the next request
    /// on, on every server. `None`: there is none, or it or its user may not be used.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn access_key(&self, id: &AccessKeyId) -> Result<Option<UsableKey>, Error> {
        let Some((row, user)) = self.store.access_key_get(id).await? else { return Ok(None) };
        let role = role_of(&row, user.as_ref()).filter(|_| row.status == AccessKeyStatus::Active);
        let Some((role, secret)) = role.and_then(|role| Some((role, opened(&self.keys, &row)?))) else {
            return Ok(None);
        };
        let principal = Principal::Key {
            account: row.account.clone(),
            user: row.user,
            role,
            access_key_id: row.access_key_id.clone(),
        };
        Ok(Some(UsableKey { secret: Sensitive::from(secret.reveal().to_owned()), principal, account: row.account }))
    }

    /// Remembers that a key was used; it is written down a moment later, at most once a minute.
    pub fn access_key_used(&self, key: &UsableKey, service: &str, region: &str) {
        if let Principal::Key { access_key_id, account, .. } = &key.principal {
            let used = KeyUse {
                at: self.now(),
                service: service.chars().take(SERVICE_CHARS_MAX).collect(),
                region: region.to_owned(),
            };
            self.key_uses.note(account, access_key_id, used);
        }
    }

    /// Writes down what keys were used for; how many.
    pub(crate) async fn write_key_uses(self: &Arc<Self>) -> Result<usize, Error> {
        let due = self.key_uses.take();
        let count = due.len();
        for (account, uses) in due {
            let mut changes: Changes<Write> = Changes::new();
            changes.writes.extend(
                uses.into_iter()
                    .map(|(access_key_id, used)| Write::from(PeopleWrite::AccessKeyUsed { access_key_id, used })),
            );
            self.store.apply(&self.people_scope(&account), changes).await?;
        }
        Ok(count)
    }
}

/// What the owner of a key may do; `None`: nothing. The administrator's own key works before the version that knows users
/// has started for the first time.
fn role_of(row: &AccessKeyRow, user: Option<&UserRow>) -> Option<Role> {
    match user {
        Some(user) => (!user.disabled).then_some(user.role),
        None => row.user.is_root().then_some(Role::Administrator),
    }
}

/// When each key was last used. It has an entry for each key that exists and was used here, so it stays small.
#[derive(Default)]
pub(crate) struct KeyUses(Mutex<BTreeMap<AccessKeyId, Noted>>);

struct Noted {
    account: AccountId,
    /// The use that was handed out to be written last.
    written_at: Option<Timestamp>,
    waiting: Option<KeyUse>,
}

impl KeyUses {
    fn note(&self, account: &AccountId, id: &AccessKeyId, used: KeyUse) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = all.entry(id.clone()).or_insert_with(|| Noted {
            account: account.clone(),
            written_at: None,
            waiting: None,
        });
        if noted.written_at.is_none_or(|at| used.at >= at.plus_seconds(NOTE_SECONDS) || used.at < at) {
            noted.waiting = Some(used);
        }
    }

    fn take(&self) -> BTreeMap<AccountId, Vec<(AccessKeyId, KeyUse)>> {
        let mut due: BTreeMap<AccountId, Vec<(AccessKeyId, KeyUse)>> = BTreeMap::new();
        for (id, noted) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            if let Some(used) = noted.waiting.take() {
                noted.written_at = Some(used.at);
                due.entry(noted.account.clone()).or_default().push((id.clone(), used));
            }
        }
        due
    }
}
