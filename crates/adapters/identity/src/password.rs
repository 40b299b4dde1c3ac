use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};

use crate::{NoRandomness, Secret, random_bytes};

/// Hashes passwords with Argon2id (RFC 9106). The hash is a PHC string, which names its parameters and its salt, so that each
/// can be checked whatever the parameters are by now.
pub struct PasswordHasher {
    parameters: Params,
    /// The hash of no password: what is compared with where there is none, so that this costs the same.
    nobody: String,
}

/// A password could not be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// There is no salt.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The algorithm refused its input; with the parameters here it never does.
    #[error("the password could not be hashed")]
    Refused,
}

/// What came of comparing a password with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is another password, or there is none.
    Wrong,
    /// It is the password.
    Right {
        /// The hash was made with lesser parameters than today's; make it anew.
        outdated: bool,
    },
}

impl PasswordHasher {
    /// The second recommended choice of RFC 9106, section 4 (64 MiB, three passes), in one lane instead of four: a lane is
    /// as much work and has no use without threads.
    #[must_use]
    pub fn standard() -> Self {
        Self::with(64 << 10, 3)
    }

    /// Hardly any work: for tests alone.
    #[must_use]
    pub fn cheap_for_tests() -> Self {
        Self::with(Params::MIN_M_COST, 1)
    }

    #[allow(clippy::expect_used)] // The constructors give constants within Argon2's bounds.
    fn with(memory_kib: u32, passes: u32) -> Self {
        let parameters = Params::new(memory_kib, passes, 1, None).expect("the parameters are within Argon2's bounds");
        // Made up, since it need not fit anything: salt and hash are 16 and 32 bytes of zeros in base64.
        let (salt, output) = ("A".repeat(22), "A".repeat(43));
        let nobody = format!("$argon2id$v=19$m={memory_kib},t={passes},p=1${salt}${output}");
        Self { parameters, nobody }
    }

    /// The hash of a password, with a fresh salt. Slow and large on purpose: not for an async thread.
    ///
    /// # Errors
    /// When there is no randomness for the salt.
    pub fn hash(&self, password: &Secret) -> Result<String, PasswordError> {
        hash(&self.parameters, password.reveal().as_bytes(), &random_bytes::<16>()?)
    }

    /// Compares, in constant time, a password with a hash that [`PasswordHasher::hash`] made. Without a hash it is as much
    /// work, and always wrong. As slow as hashing.
    #[must_use]
    pub fn verify(&self, password: &Secret, against: Option<&str>) -> Verdict {
        let Ok(known) = PasswordHash::new(against.unwrap_or(&self.nobody)) else { return Verdict::Wrong };
        let fits = Argon2::default().verify_password(password.reveal().as_bytes(), &known).is_ok();
        if !fits || against.is_none() {
            return Verdict::Wrong;
        }
        let least =
            |made: Params| made.m_cost() >= self.parameters.m_cost() && made.t_cost() >= self.parameters.t_cost();
        Verdict::Right { outdated: !Params::try_from(&known).is_ok_and(least) }
    }
}

fn hash(parameters: &Params, password: &[u8], salt: &[u8]) -> Result<String, PasswordError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters.clone());
    let made = argon2.hash_password_with_salt(password, salt).map_err(|_| PasswordError::Refused)?;
    Ok(made.to_string())
}

impl std::fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordHasher").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let hasher = PasswordHasher::cheap_for_tests();
        let password = Secret::new("correct horse battery");
        let (one, other) = (hasher.hash(&password).unwrap(), hasher.hash(&password).unwrap());
        assert_ne!(one, other, "each has a salt of its own");
        assert!(one.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{one}");
        assert_eq!(hasher.verify(&password, Some(&one)), Verdict::Right { outdated: false });
        for wrong in ["", "correct horse batter", "correct horse battery "] {
            assert_eq!(hasher.verify(&Secret::new(wrong), Some(&one)), Verdict::Wrong, "{wrong}");
        }
        for broken in ["", "$argon2id$", "$scrypt$ln=1$AAAA$AAAA", &one[..one.len() - 3]] {
            assert_eq!(hasher.verify(&password, Some(broken)), Verdict::Wrong, "{broken}");
        }
        assert_eq!(hasher.verify(&Secret::new(""), None), Verdict::Wrong, "no password is not the empty one");
    }

    #[test]
    fn a_hash_of_lesser_parameters_is_still_right_and_to_be_made_anew() {
        let (lesser, greater) = (PasswordHasher::cheap_for_tests(), PasswordHasher::with(16, 2));
        let password = Secret::new("correct horse battery");
        let hash = lesser.hash(&password).unwrap();
        assert_eq!(greater.verify(&password, Some(&hash)), Verdict::Right { outdated: true });
        let hash = greater.hash(&password).unwrap();
        assert_eq!(greater.verify(&password, Some(&hash)), Verdict::Right { outdated: false });
        assert_eq!(lesser.verify(&password, Some(&hash)), Verdict::Right { outdated: false });
    }

    #[test]
    fn the_standard_is_rfc_9106s() {
        let standard = PasswordHasher::standard();
        assert!(standard.nobody.starts_with("$argon2id$v=19$m=65536,t=3,p=1$"), "{}", standard.nobody);
        assert!(PasswordHash::new(&standard.nobody).is_ok(), "what is compared with for nobody costs as much");
    }
}
