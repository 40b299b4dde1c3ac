//! The first start: keys, the administrator's access key, and the check that the key file is the right one.

use access::{Principal, Role};
use changes::{Aggregate, AuditRecord, Changes, Revision};
use identifiers::{AccessKeyId, Scope, Timestamp, UserName};
use identity::{CertificateAuthority, MasterKey, Sealer, Secret, SigningKey};
use nodes::ServerKeyKind;
use store::{AccessKeyRow, AccessKeyStatus, ApplyError, PeopleWrite, RecordWrite, Store, UserRow, Write};
use thiserror::Error;

use crate::{
    Keys,
    key_rotation::{StoredKey, made_row, read_ring},
    keys::server_key_sealer,
};

const FINGERPRINT: &str = "key-fingerprint";
const INCARNATION: &str = "incarnation";
const AUDIT: &str = "audit";

/// Why a server cannot start on this database.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The database belongs to another key file.
    #[error(
        "the key file is not the one this database was made with: its secrets could not be read. \
         Give the right one with --key-file, or put it back in its place"
    )]
    OtherKey,
    /// A key in the database cannot be opened.
    #[error("the {0} key in the database cannot be opened")]
    BrokenKey(&'static str),
    /// Another server exchanges keys at this moment.
    #[error("the server's keys are being exchanged; try again")]
    KeysInMotion,
    /// The access key given from outside has another form.
    #[error("the access key id given in CAREEN_ROOT_ACCESS_KEY_ID is not one: {0}")]
    AccessKeyId(identifiers::IdError),
    /// The access key given from outside belongs to another account.
    #[error("the access key {0} belongs to another account or another user")]
    AccessKeyTaken(AccessKeyId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ApplyError),
    /// The store failed.
    #[error(transparent)]
    Read(#[from] store::ReadError),
    /// Nothing could be sealed.
    #[error(transparent)]
    Seal(#[from] identity::SealError),
    /// The server's own authority could not be made or opened.
    #[error("the server's own certificate authority cannot be used: {0}")]
    Authority(#[from] identity::CertificateError),
    /// No key could be made.
    #[error(transparent)]
    NoRandomness(#[from] identity::NoRandomness),
}

/// The administrator's access key, which is written to the credentials file.
#[derive(Debug, Clone)]
pub struct FirstKey {
    /// Its id.
    pub access_key_id: AccessKeyId,
    /// Its secret.
    pub secret: Secret,
}

/// Makes or opens everything a server needs in its database. `given` is an access key from outside (id and secret);
/// without one, the administrator's key is made at the first start and opened at every other.
///
/// # Errors
/// When the key file does not belong to the database, or the store fails.
pub async fn set_up(
    store: &Store,
    master: &MasterKey,
    home: &Scope,
    given: Option<(String, Secret)>,
    now: Timestamp,
) -> Result<(Keys, FirstKey), SetupError> {
    let fingerprint = master.fingerprint();
    if store.meta_get(FINGERPRINT).await?.is_none() {
        let first = vec![meta(FINGERPRINT, &fingerprint), meta(INCARNATION, "1")];
        put_first(store, home, now, "fingerprint", first).await?;
    }
    if store.meta_get(FINGERPRINT).await?.as_ref() != Some(&fingerprint) {
        return Err(SetupError::OtherKey);
    }
    let incarnation = store.incarnation().await?;
    let sealer = server_key_sealer(master);
    make_key::<SigningKey>(store, &sealer, home, ServerKeyKind::Identity.as_str(), now).await?;
    make_key::<SigningKey>(store, &sealer, home, ServerKeyKind::Job.as_str(), now).await?;
    make_key::<CertificateAuthority>(store, &sealer, home, ServerKeyKind::Authority.as_str(), now).await?;
    make_key::<SigningKey>(store, &sealer, home, AUDIT, now).await?;
    let audit = open_key(store, &sealer, AUDIT).await?;
    let (_, ring) = read_ring(store, &sealer, home).await?;
    let keys = Keys::new(master, ring, audit, incarnation);
    put_root(store, home, now).await?;
    let first = match given {
        Some((id, secret)) => given_key(store, &keys, home, &id, secret, now).await?,
        None => own_key(store, &keys, home, now).await?,
    };
    Ok((keys, first))
}

/// The administrator, of whom the account always has one.
async fn put_root(store: &Store, home: &Scope, now: Timestamp) -> Result<(), SetupError> {
    if store.user_get(home, &UserName::root()).await?.row.is_some() {
        return Ok(());
    }
    let row = UserRow {
        account: home.account.clone(),
        name: UserName::root(),
        user_id: home.account.to_string(),
        role: Role::Administrator,
        password_sealed: None,
        disabled: false,
        created_at: now,
        password_changed_at: None,
        signed_in_at: None,
    };
    put_first(store, home, now, "root", vec![PeopleWrite::UserPut(row).into()]).await
}

fn meta(name: &str, value: &str) -> Write {
    RecordWrite::MetaPut { name: name.to_owned(), value: value.to_owned() }.into()
}

async fn put(store: &Store, home: &Scope, now: Timestamp, writes: Vec<Write>) -> Result<(), SetupError> {
    let mut changes: Changes<Write> = Changes::new();
    changes.audit.extend(writes.iter().filter_map(|write| key_audit(write, now)));
    changes.writes.extend(writes);
    if !changes.is_empty() {
        store.apply(home, changes).await?;
    }
    Ok(())
}

/// The audit record of an access key that the server itself makes, takes in or retires at its start.
fn key_audit(write: &Write, now: Timestamp) -> Option<AuditRecord> {
    let Write::People(PeopleWrite::AccessKeyPut(row)) = write else { return None };
    Some(AuditRecord {
        at: now,
        request_id: String::new(),
        principal: Principal::System.to_string(),
        source_address: String::new(),
        action: "careen:PutAccessKey".to_owned(),
        resource: format!("key/{}", row.access_key_id),
        outcome: "done".to_owned(),
        before: serde_json::Value::Null,
        after: serde_json::json!({"principal": row.user, "active": row.status == AccessKeyStatus::Active}),
    })
}

/// Puts what is made once. Where another server that starts at the same moment was quicker, nothing is put: what it made
/// is there now.
async fn put_first(
    store: &Store,
    home: &Scope,
    now: Timestamp,
    what: &str,
    writes: Vec<Write>,
) -> Result<(), SetupError> {
    let mut changes: Changes<Write> = Changes::new();
    changes.update(Aggregate::new("setup", what), Revision::default());
    changes.audit.extend(writes.iter().filter_map(|write| key_audit(write, now)));
    changes.writes.extend(writes);
    match store.apply(home, changes).await {
        Ok(_) | Err(ApplyError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a key of the server's own, unless it is there.
async fn make_key<K: StoredKey>(
    store: &Store,
    sealer: &Sealer,
    home: &Scope,
    name: &'static str,
    now: Timestamp,
) -> Result<(), SetupError> {
    if store.server_key_get(name).await?.is_some() {
        return Ok(());
    }
    let row = made_row::<K>(sealer, name, now)?;
    put_first(store, home, now, name, vec![RecordWrite::ServerKeyPut(row).into()]).await
}

/// Opens a key of the server's own that has no places.
async fn open_key(store: &Store, sealer: &Sealer, name: &'static str) -> Result<SigningKey, SetupError> {
    let row = store.server_key_get(name).await?.ok_or(SetupError::BrokenKey(name))?;
    let secret = sealer.open(&row.secret_sealed, name).map_err(|_| SetupError::BrokenKey(name))?;
    StoredKey::open(&row, &secret).ok_or(SetupError::BrokenKey(name))
}

fn key_row(keys: &Keys, home: &Scope, key: &FirstKey, now: Timestamp) -> Result<AccessKeyRow, SetupError> {
    Ok(AccessKeyRow {
        access_key_id: key.access_key_id.clone(),
        account: home.account.clone(),
        user: UserName::root(),
        secret_sealed: keys.secrets.seal(key.secret.reveal().as_bytes(), key.access_key_id.as_str())?,
        status: AccessKeyStatus::Active,
        created_at: now,
        last_use: None,
    })
}

/// The key from outside counts: it is stored if it is new or its secret has changed.
async fn given_key(
    store: &Store,
    keys: &Keys,
    home: &Scope,
    id: &str,
    secret: Secret,
    now: Timestamp,
) -> Result<FirstKey, SetupError> {
    let access_key_id = AccessKeyId::parse(id).map_err(SetupError::AccessKeyId)?;
    let key = FirstKey { access_key_id, secret };
    match store.access_key_get(&key.access_key_id).await? {
        Some((row, _)) if row.account != home.account || !row.user.is_root() => {
            return Err(SetupError::AccessKeyTaken(key.access_key_id));
        }
        Some((row, _)) if is_active(&row) && opened(keys, &row).as_ref() == Some(&key.secret) => {}
        _ => put(store, home, now, vec![key_put(key_row(keys, home, &key, now)?)]).await?,
    }
    // It takes the place of the administrator's other keys: what is rotated out must not go on working.
    let keys_of_root = store.access_key_list(&home.account, Some(&UserName::root())).await?;
    let others = keys_of_root.into_iter().filter(|row| is_active(row) && row.access_key_id != key.access_key_id);
    let retired = others.map(|row| key_put(AccessKeyRow { status: AccessKeyStatus::Inactive, ..row }));
    put(store, home, now, retired.collect()).await?;
    Ok(key)
}

/// The key that an earlier start made, or a new one.
async fn own_key(store: &Store, keys: &Keys, home: &Scope, now: Timestamp) -> Result<FirstKey, SetupError> {
    if let Some(key) = usable_key(store, keys, home).await? {
        return Ok(key);
    }
    let key = FirstKey { access_key_id: fresh_access_key_id()?, secret: fresh_secret()? };
    let row = key_put(key_row(keys, home, &key, now)?);
    put_first(store, home, now, "access-key", vec![row]).await?;
    if let Some(made) = usable_key(store, keys, home).await? {
        return Ok(made);
    }
    // The one of an earlier start was deleted or made inactive since.
    put(store, home, now, vec![key_put(key_row(keys, home, &key, now)?)]).await?;
    Ok(key)
}

async fn usable_key(store: &Store, keys: &Keys, home: &Scope) -> Result<Option<FirstKey>, SetupError> {
    let rows = store.access_key_list(&home.account, Some(&UserName::root())).await?;
    // The newest counts: whoever made another key beside an old one wants to change to it.
    let mut usable: Vec<&AccessKeyRow> = rows.iter().filter(|row| is_active(row)).collect();
    usable.sort_by_key(|row| std::cmp::Reverse(row.created_at));
    let opened =
        |row: &AccessKeyRow| Some(FirstKey { secret: opened(keys, row)?, access_key_id: row.access_key_id.clone() });
    Ok(usable.into_iter().find_map(opened))
}

fn key_put(row: AccessKeyRow) -> Write {
    PeopleWrite::AccessKeyPut(row).into()
}

fn is_active(row: &AccessKeyRow) -> bool {
    row.status == AccessKeyStatus::Active
}

/// The secret of an access key; `None` if this server's key file does not open it.
pub(crate) fn opened(keys: &Keys, row: &AccessKeyRow) -> Option<Secret> {
    let plain = keys.secrets.open(&row.secret_sealed, row.access_key_id.as_str()).ok()?;
    String::from_utf8(plain).ok().map(Secret::new)
}

/// `AKIA` and sixteen characters of base 32, the form of AWS's long-lived keys.
#[allow(clippy::indexing_slicing)] // Five bits index a table of 32.
pub(crate) fn fresh_access_key_id() -> Result<AccessKeyId, SetupError> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let random = identity::random_bytes::<16>()?;
    let tail: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
    AccessKeyId::parse(&format!("AKIA{tail}")).map_err(SetupError::AccessKeyId)
}

/// Forty characters, as AWS's secrets have.
pub(crate) fn fresh_secret() -> Result<Secret, SetupError> {
    let random = identity::random_bytes::<32>()?;
    let text = agent_wire::Bytes32(random).to_string();
    Ok(Secret::new(text.chars().take(40).collect::<String>()))
}
