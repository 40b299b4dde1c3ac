use identifiers::UserName;
use thiserror::Error;

/// The fewest characters of a password. NIST SP 800-63B-4, section 3.1.1.2 asks for 15 where nothing but the password is
/// asked, 8 where it is not alone; guessing is slow here.
pub const PASSWORD_CHARS_MIN: usize = 12;

/// The most bytes of a password: more is work for the hash alone.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WeakPassword {
    /// It is too short.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters")]
    Short,
    /// It is too long.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    Long,
    /// It is little more than the user's own name.
    #[error("a password does not consist of the user's name")]
    Name,
    /// It repeats itself.
    #[error("a password has at least five different characters")]
    Uniform,
    /// It has characters that nobody types, such as a line break; most likely it was read from a wrong file.
    #[error("a password has no control characters")]
    Control,
}

/// Whether a password may be a user's. What it consists of is free otherwise: rules about digits and marks make passwords
/// worse (NIST SP 800-63B-4, appendix A).
///
/// # Errors
/// When it is too easily guessed, or unreasonable.
pub fn check_password(user: &UserName, password: &str) -> Result<(), WeakPassword> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(WeakPassword::Long);
    }
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(WeakPassword::Short);
    }
    if password.chars().any(char::is_control) {
        return Err(WeakPassword::Control);
    }
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < 5 {
        return Err(WeakPassword::Uniform);
    }
    let without_name = password.to_lowercase().replace(&user.folded(), "");
    match without_name.chars().count() < PASSWORD_CHARS_MIN / 2 {
        true => Err(WeakPassword::Name),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_more_than_a_name() {
        let check = |password: &str| check_password(&UserName::parse("Annabelle").unwrap(), password);
        assert_eq!(check("correct horse"), Ok(()));
        assert_eq!(check("пароль-пароль"), Ok(()));
        assert_eq!(check("short pass!"), Err(WeakPassword::Short));
        assert_eq!(check("aaaaaaaabbbbbbb"), Err(WeakPassword::Uniform));
        assert_eq!(check("annabelle2026"), Err(WeakPassword::Name));
        assert_eq!(check("annabelleANNABELLE"), Err(WeakPassword::Name));
        assert_eq!(check("correct\nhorse battery"), Err(WeakPassword::Control));
        assert_eq!(check(&"abcdef".repeat(200)), Err(WeakPassword::Long));
    }
}
