/// Whether two secrets are the same, in a time that does not tell where they differ.
#[must_use]
pub fn same_secret(one: &str, other: &str) -> bool {
    identity::verify_hmac_sha256(
        b"same secret",
        one.as_bytes(),
        &identity::hmac_sha256(b"same secret", other.as_bytes()),
    )
}
