//! The server's own keys in the database, and how they are exchanged: one transaction a step, seen by every replica at its
//! next look, told to connected nodes at once and to the others when they call.

use std::sync::Arc;

use access::{Action, Decision, Principal, Resource};
use agent_wire::FromServer;
use changes::{Changes, Versioned};
use identifiers::{Scope, Timestamp};
use identity::{CertificateAuthority, Sealer, SigningKey};
use nodes::{KeyStep, ServerKeyKind, check_key_step};
use store::{ApplyError, RecordWrite, ServerKeyRow, Store, TrustWrite, WaitingNodes, Write, server_keys_aggregate};

use crate::{
    Error, Server, SetupError,
    commit::ATTEMPTS_MAX,
    keys::{KeyRing, KeySet},
};

/// Where the number of the last announcement stands.
const SERIAL: &str = "trust-serial";
/// How many waiting nodes are named.
const NAMED_MAX: u32 = 50;

/// A key as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// Which kind.
    pub kind: ServerKeyKind,
    /// `in use`, `next` or `previous`.
    pub place: &'static str,
    /// SHA-256 of its public half, in hex.
    pub fingerprint: String,
    /// Since when it has this place.
    pub since: Timestamp,
}

/// A kind of key whose private half can be read back from its row.
pub(crate) trait StoredKey: Sized {
    fn open(row: &ServerKeyRow, secret: &[u8]) -> Option<Self>;
    fn make(now: Timestamp) -> Result<Self, SetupError>;
    fn public(&self) -> Vec<u8>;
    fn secret(&self) -> Vec<u8>;
}

impl StoredKey for SigningKey {
    fn open(_: &ServerKeyRow, secret: &[u8]) -> Option<Self> {
        Self::from_seed(secret.try_into().ok()?).ok()
    }

    fn make(_: Timestamp) -> Result<Self, SetupError> {
        Ok(Self::generate()?)
    }

    fn public(&self) -> Vec<u8> {
        self.public_key().to_vec()
    }

    fn secret(&self) -> Vec<u8> {
        self.seed().to_vec()
    }
}

/// Its row holds the certificate in place of a public key.
impl StoredKey for CertificateAuthority {
    fn open(row: &ServerKeyRow, secret: &[u8]) -> Option<Self> {
        Self::open(row.public_key.clone(), secret).ok()
    }

    fn make(now: Timestamp) -> Result<Self, SetupError> {
        Ok(Self::generate(now)?)
    }

    fn public(&self) -> Vec<u8> {
        self.certificate().to_vec()
    }

    fn secret(&self) -> Vec<u8> {
        self.private_key()
    }
}

/// The row of a new key.
pub(crate) fn made_row<K: StoredKey>(sealer: &Sealer, name: &str, now: Timestamp) -> Result<ServerKeyRow, SetupError> {
    let key = K::make(now)?;
    let secret_sealed = sealer.seal(&key.secret(), name)?;
    Ok(ServerKeyRow { name: name.to_owned(), public_key: key.public(), secret_sealed, created_at: now })
}

fn next(kind: ServerKeyKind) -> String {
    format!("{kind}.next")
}

fn previous(kind: ServerKeyKind) -> String {
    format!("{kind}.previous")
}

/// The ring as the database has it; every kind has been made.
pub(crate) async fn read_ring(
    store: &Store,
    sealer: &Sealer,
    home: &Scope,
) -> Result<(Versioned<Vec<ServerKeyRow>>, KeyRing), SetupError> {
    for _ in 0..ATTEMPTS_MAX {
        let serial = serial_get(store).await?;
        let rows = store.server_key_list(home).await?;
        // Number and rows are of one moment, or both are read again.
        if serial == serial_get(store).await? {
            let ring = ring_of(&rows.row, serial, sealer)?;
            return Ok((rows, ring));
        }
    }
    Err(SetupError::KeysInMotion)
}

async fn serial_get(store: &Store) -> Result<u64, store::ReadError> {
    Ok(store.meta_get(SERIAL).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn ring_of(rows: &[ServerKeyRow], serial: u64, sealer: &Sealer) -> Result<KeyRing, SetupError> {
    Ok(KeyRing {
        serial,
        identity: key_set(rows, sealer, ServerKeyKind::Identity)?,
        job: key_set(rows, sealer, ServerKeyKind::Job)?,
        authority: key_set(rows, sealer, ServerKeyKind::Authority)?,
    })
}

fn key_set<K: StoredKey>(rows: &[ServerKeyRow], sealer: &Sealer, kind: ServerKeyKind) -> Result<KeySet<K>, SetupError> {
    let broken = || SetupError::BrokenKey(kind.as_str());
    let found = |name: &str| rows.iter().find(|row| row.name == name);
    let opened = |row: &ServerKeyRow| {
        let secret = sealer.open(&row.secret_sealed, &row.name).map_err(|_| broken())?;
        K::open(row, &secret).map(Arc::new).ok_or_else(broken)
    };
    let current = found(kind.as_str()).ok_or_else(broken)?;
    Ok(KeySet {
        current: opened(current)?,
        since: current.created_at,
        next: found(&next(kind)).map(opened).transpose()?,
        previous: found(&previous(kind)).map(opened).transpose()?,
    })
}

impl Server {
    /// Looks whether keys were exchanged, by this process or another, and tells connected nodes. Gives whether they were.
    ///
    /// # Errors
    /// When the database cannot be read, or holds a key that cannot be opened.
    pub async fn look_at_keys(self: &Arc<Self>) -> Result<bool, Error> {
        let known = self.keys.ring().serial;
        if known == serial_get(&self.store).await? {
            return Ok(false);
        }
        let read = read_ring(&self.store, &self.keys.server_keys, &self.settings.home).await;
        let (_, ring) = read.map_err(Error::internal)?;
        tracing::info!(serial = ring.serial, "the server's keys have changed");
        let announcement = ring.announcement(self.keys.incarnation, self.now())?;
        self.keys.exchange_ring(ring);
        self.sessions.tell_all(&FromServer::Trust(announcement));
        Ok(true)
    }

    /// All keys with their places, for whoever may read the server's folder.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys_shown(&self) -> Result<Vec<ShownKey>, Error> {
        let rows = self.store.server_key_list(&self.settings.home).await?.row;
        let mut shown = Vec::new();
        for kind in ServerKeyKind::ALL {
            for (place, name) in [("in use", kind.to_string()), ("next", next(kind)), ("previous", previous(kind))] {
                shown.extend(rows.iter().find(|row| row.name == name).map(|row| ShownKey {
                    kind,
                    place,
                    fingerprint: identity::sha256_hex(&row.public_key),
                    since: row.created_at,
                }));
            }
        }
        Ok(shown)
    }

    /// The registered nodes that have not written down the present announcement.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn nodes_waiting_for_keys(&self) -> Result<WaitingNodes, Error> {
        let serial = self.keys.ring().serial;
        self.waiting_for(serial).await
    }

    async fn waiting_for(&self, serial: u64) -> Result<WaitingNodes, Error> {
        if serial == 0 {
            // Nothing was ever exchanged: every node has what there is from its registration.
            return Ok(WaitingNodes::default());
        }
        let [incarnation, serial] = [self.keys.incarnation, serial].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        Ok(self.store.node_waiting_for_trust(incarnation, serial, NAMED_MAX).await?)
    }

    /// Takes one step in the exchange of a key; the reasons for a refusal are [`nodes::check_key_step`]'s.
    ///
    /// # Errors
    /// When the step is refused, or the database cannot be used.
    pub async fn key_step(self: &Arc<Self>, kind: ServerKeyKind, step: KeyStep, force: bool) -> Result<(), Error> {
        let home = self.settings.home.clone();
        let context = self.context(home.clone(), Principal::System, String::new());
        let (action, key) = (Action::new("careen:ExchangeServerKey"), format!("server-key/{kind}"));
        let resource = Resource::new(&home.ssm_arn(&key));
        if let Decision::Deny(reason) = access::authorise(&context.principal, &action, &[resource], &home) {
            return Err(Error::validation(reason.to_string()));
        }
        for _ in 0..ATTEMPTS_MAX {
            let read = read_ring(&self.store, &self.keys.server_keys, &home).await;
            let (rows, ring) = read.map_err(Error::internal)?;
            let places = match kind {
                ServerKeyKind::Identity => ring.identity.places(),
                ServerKeyKind::Job => ring.job.places(),
                ServerKeyKind::Authority => ring.authority.places(),
            };
            let waiting = self.waiting_for(ring.serial).await?.count;
            check_key_step(kind, step, places, waiting, force)
                .map_err(|refused| Error::validation(refused.to_string()))?;
            let mut changes: Changes<Write> = Changes::new();
            changes.update(server_keys_aggregate(), rows.revision);
            let moved = moves(&rows.row, &self.keys.server_keys, kind, step, context.now).map_err(Error::internal)?;
            changes.writes.extend(moved.into_iter().map(Write::from));
            let serial = ring.serial + 1;
            let meta = RecordWrite::MetaPut { name: SERIAL.to_owned(), value: serial.to_string() };
            changes.writes.push(Write::from(meta));
            let (before, after) = (
                serde_json::json!({"serial": ring.serial}),
                serde_json::json!({
                    "step": step.as_str(), "serial": serial, "forced": force, "nodes_waiting": waiting,
                }),
            );
            changes.audit.push(context.audit("careen:ExchangeServerKey", home.ssm_arn(&key), &before, &after));
            match self.store.apply(&home, changes).await {
                Ok(_) => {
                    self.look_at_keys().await?;
                    return Ok(());
                }
                Err(ApplyError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contended())
    }
}

/// How rows change their places in a step.
fn moves(
    rows: &[ServerKeyRow],
    sealer: &Sealer,
    kind: ServerKeyKind,
    step: KeyStep,
    now: Timestamp,
) -> Result<Vec<TrustWrite>, SetupError> {
    let broken = || SetupError::BrokenKey(kind.as_str());
    let row = |name: &str| rows.iter().find(|row| row.name == name).cloned().ok_or_else(broken);
    let delete = |name: String| TrustWrite::ServerKeyDelete { name };
    Ok(match step {
        KeyStep::Announce => vec![TrustWrite::ServerKeyPut(match kind {
            ServerKeyKind::Identity | ServerKeyKind::Job => made_row::<SigningKey>(sealer, &next(kind), now)?,
            ServerKeyKind::Authority => made_row::<CertificateAuthority>(sealer, &next(kind), now)?,
        })],
        KeyStep::Switch => {
            let (current, following) = (row(kind.as_str())?, row(&next(kind))?);
            let following = ServerKeyRow { created_at: now, ..following };
            vec![
                TrustWrite::ServerKeyPut(renamed(current, previous(kind), sealer).ok_or_else(broken)?),
                TrustWrite::ServerKeyPut(renamed(following, kind.to_string(), sealer).ok_or_else(broken)?),
                delete(next(kind)),
            ]
        }
        KeyStep::Retire => vec![delete(previous(kind))],
        KeyStep::Withdraw => vec![delete(next(kind))],
    })
}

/// A key in another place. Its seal names the place.
fn renamed(row: ServerKeyRow, name: String, sealer: &Sealer) -> Option<ServerKeyRow> {
    let secret = sealer.open(&row.secret_sealed, &row.name).ok()?;
    let secret_sealed = sealer.seal(&secret, &name).ok()?;
    Some(ServerKeyRow { name, secret_sealed, ..row })
}
