use std::{sync::Arc, time::Duration};

use identifiers::{AccountId, UserName};
use identity::{PasswordHasher, Sealer, Secret, Verdict};
use store::UserRow;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::Error;

/// How many passwords are hashed at the same time: each takes 64 MiB and a core for as long as it lasts.
const RUNNING_MAX: usize = 2;

/// How many more may wait; whoever comes then is told to come again.
const WAITING_MAX: usize = 16;

/// How long somebody waits for a turn.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Hashes passwords a few at a time, beside the async threads, and seals the hashes.
#[derive(Debug)]
pub struct Passwords {
    hasher: Arc<PasswordHasher>,
    sealer: Sealer,
    running: Semaphore,
    waiting: Semaphore,
}

/// A turn at hashing.
pub(super) struct HashingTurn<'a>(#[allow(dead_code)] SemaphorePermit<'a>);

impl Passwords {
    /// With this way of hashing.
    #[must_use]
    pub fn new(hasher: PasswordHasher, sealer: Sealer) -> Self {
        let (running, waiting) = (Semaphore::new(RUNNING_MAX), Semaphore::new(WAITING_MAX));
        Self { hasher: Arc::new(hasher), sealer, running, waiting }
    }

    /// The same with another way of hashing.
    #[must_use]
    pub fn with_hasher(self, hasher: PasswordHasher) -> Self {
        Self { hasher: Arc::new(hasher), ..self }
    }

    /// Waits for a turn at hashing. `None`: too many wait already, or it took too long.
    pub(super) async fn turn(&self) -> Option<HashingTurn<'_>> {
        let _place = self.waiting.try_acquire().ok()?;
        let turn = tokio::time::timeout(WAIT_MAX, self.running.acquire()).await.ok()?.ok()?;
        Some(HashingTurn(turn))
    }

    /// The sealed hash of a password.
    pub(super) async fn hash(&self, account: &AccountId, user: &UserName, password: &Secret) -> Result<Vec<u8>, Error> {
        let turn = self.turn().await.ok_or_else(Error::busy)?;
        self.hash_in(&turn, account, user, password).await
    }

    /// The same in a turn that is there already.
    pub(super) async fn hash_in(
        &self,
        _turn: &HashingTurn<'_>,
        account: &AccountId,
        user: &UserName,
        password: &Secret,
    ) -> Result<Vec<u8>, Error> {
        let (hasher, password) = (Arc::clone(&self.hasher), password.clone());
        let hash = tokio::task::spawn_blocking(move || hasher.hash(&password)).await.map_err(Error::internal)?;
        Ok(self.sealer.seal(hash.map_err(Error::internal)?.as_bytes(), &place(account, user))?)
    }

    /// Whether it is the user's password. Nobody's costs as much, and is always wrong.
    pub(super) async fn verify(
        &self,
        _turn: &HashingTurn<'_>,
        user: Option<&UserRow>,
        password: &Secret,
    ) -> Result<Verdict, Error> {
        let known = match user.and_then(|user| Some((user, user.password_sealed.as_ref()?))) {
            None => None,
            Some((user, sealed)) => {
                let plain = self.sealer.open(sealed, &place(&user.account, &user.name))?;
                Some(String::from_utf8(plain).map_err(Error::internal)?)
            }
        };
        let (hasher, password) = (Arc::clone(&self.hasher), password.clone());
        let verified = tokio::task::spawn_blocking(move || hasher.verify(&password, known.as_deref()));
        verified.await.map_err(Error::internal)
    }
}

/// What a sealed hash belongs to: a hash that somebody moved to another user's row opens nothing.
fn place(account: &AccountId, user: &UserName) -> String {
    format!("{account}/{}", user.folded())
}
