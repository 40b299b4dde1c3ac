//! The canonical request: the one form of a request that client and server sign alike.

use super::SignedRequest;

/// A canonical request.
pub(super) struct Canonical {
    pub(super) bytes: Vec<u8>,
    /// Whether every signed header exists, once in the list and in lower case.
    pub(super) complete: bool,
}

/// Method, path, query, signed headers and the hash of the body, in canonical form.
pub(super) fn request(request: &SignedRequest<'_>, signed_headers: &[&str], body_sha256: &str) -> Canonical {
    let mut bytes = format!("{}\n{}\n{}\n", request.method, path(request.path), query(request.query)).into_bytes();
    let mut complete = true;
    for (at, name) in signed_headers.iter().enumerate() {
        let again = signed_headers.iter().take(at).any(|other| other == name);
        complete &= !again && !name.bytes().any(|byte| byte.is_ascii_uppercase());
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b':');
        let mut found = false;
        for value in request.values(name) {
            if std::mem::replace(&mut found, true) {
                bytes.push(b',');
            }
            header_value(value, &mut bytes);
        }
        complete &= found;
        bytes.push(b'\n');
    }
    bytes.push(b'\n');
    bytes.extend_from_slice(signed_headers.join(";").as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(body_sha256.as_bytes());
    Canonical { bytes, complete }
}

/// A header's value without white space around it, and with one space for each run of it.
fn header_value(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (at, word) in words.enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// The path as every service but S3 signs it: without dot segments and empty segments, then encoded once more.
fn path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut out = String::from("/");
    out.push_str(&segments.iter().map(|segment| encoded(segment.as_bytes())).collect::<Vec<_>>().join("/"));
    if path.ends_with('/') && !segments.is_empty() {
        out.push('/');
    }
    out
}

/// The query's parameters, each decoded and encoded again, in order of name and value.
fn query(query: &str) -> String {
    let mut parameters: Vec<(String, String)> =
        pairs(query).map(|(name, value)| (encoded(&decoded(name)), encoded(&decoded(value)))).collect();
    parameters.sort_unstable();
    parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether the query carries a signature.
pub(super) fn is_presigned(query: &str) -> bool {
    pairs(query).any(|(name, _)| {
        let name = decoded(name);
        [b"x-amz-signature".as_slice(), b"x-amz-credential", b"x-amz-algorithm"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// Percent-decoded bytes. A percent sign without two hex digits stands for itself, a plus sign too.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = match (first, after) {
            (b'%', [high, low, behind @ ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, behind)),
            _ => None,
        };
        let (byte, behind) = escape.unwrap_or((*first, after));
        out.push(byte);
        rest = behind;
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Percent-encoded, except for RFC 3986's unreserved characters.
fn encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_encoded_once_more() {
        let cases = [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a/./b/../c//d/", "/a/c/d/"),
            ("/../..", "/"),
            ("/tags/arn%3Aaws%3Assm", "/tags/arn%253Aaws%253Assm"),
            ("/a b", "/a%20b"),
        ];
        for (given, expected) in cases {
            assert_eq!(path(given), expected, "{given}");
        }
    }

    #[test]
    fn queries_are_sorted_and_encoded() {
        let cases = [
            ("", ""),
            ("b=2&a=1&a=0", "a=0&a=1&b=2"),
            ("flag&x=", "flag=&x="),
            ("a=b%3dc&&d=%zz", "a=b%3Dc&d=%25zz"),
            ("k=a+b", "k=a%2Bb"),
            ("k=%e1%88%b4", "k=%E1%88%B4"),
        ];
        for (given, expected) in cases {
            assert_eq!(query(given), expected, "{given}");
        }
    }

    #[test]
    fn a_signature_in_the_query_is_seen() {
        assert!(is_presigned("a=1&X-Amz-Signature=00"));
        assert!(is_presigned("x%2Damz%2Dalgorithm=AWS4-HMAC-SHA256"));
        assert!(!is_presigned("Action=GetCallerIdentity"));
    }
}
