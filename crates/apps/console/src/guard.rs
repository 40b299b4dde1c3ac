//! What every request must pass before any page is asked, and what every answer carries.
//!
//! - Its `Host` must be a name of this machine's loopback, or one that the server goes by. A page of somebody else's, whose
//!   name was made to resolve to this server after it was loaded ("DNS rebinding"), names its own host and is refused.
//! - What changes something must come from a page of this console: `Origin` must be the host that is asked, and
//!   `Sec-Fetch-Site`, where the browser sends it, `same-origin`. The form token (`session`) stands behind this.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};

use control::ServerNames;

use crate::{answer, view::Problem};

/// `same-origin` and not `no-referrer`: with the latter browsers send `Origin: null` with this console's own forms
/// (<https://fetch.spec.whatwg.org/#append-a-request-origin-header>). The sign-in token in an address goes nowhere else with either.
const REFERRER_POLICY: &str = "same-origin";

const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self'; img-src 'self' data:; \
     frame-ancestors 'none'; form-action 'self'; base-uri 'none'";

/// Passes a request on, or refuses it; adds the headers.
pub(crate) async fn guard(State(names): State<ServerNames>, request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(|a| a.as_str());
    let mut answer = match refusal(&names, request.method(), request.headers(), authority) {
        Some((status, problem)) => answer::page(status, &problem),
        None => next.run(request).await,
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, REFERRER_POLICY),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Only the style sheet says otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

fn refusal(
    names: &ServerNames,
    method: &Method,
    headers: &HeaderMap,
    authority: Option<&str>,
) -> Option<(StatusCode, Problem)> {
    let host = host(headers, authority).filter(|host| names.has(host));
    let Some(host) = host else {
        let message = "The console answers to the names that the server was given (--tls-name, or those of its certificate), \
             and on this machine's loopback to 127.0.0.1, localhost and [::1].";
        let mut problem = Problem::new(None, "Not by this address", message);
        problem.hint = "Start the server with --tls-name and this name, or forward the server's port and open the console on your own end of it: \
             ssh -L 8470:127.0.0.1:8470 SERVER, then http://127.0.0.1:8470/console"
            .to_owned();
        return Some((StatusCode::MISDIRECTED_REQUEST, problem));
    };
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    if changes && !is_from_here(headers, host) {
        return Some((StatusCode::FORBIDDEN, foreign_form(None)));
    }
    None
}

/// What is said of a form that no page of the visitor's session made.
pub(crate) fn foreign_form(person: Option<&crate::view::Person>) -> Problem {
    let message = "This form did not come from a page of your present session, so nothing was done.";
    let mut problem = Problem::new(person, "Refused", message);
    problem.hint = "Open the page again from here, and send the form from there.".to_owned();
    problem
}

/// The host that is asked, with its port: `Host`, or the request line's own where it has one.
fn host<'a>(headers: &'a HeaderMap, authority: Option<&'a str>) -> Option<&'a str> {
    let mut named = headers.get_all(header::HOST).iter();
    match (authority, named.next(), named.next()) {
        (_, Some(_), Some(_)) => None,
        (Some(authority), ..) => Some(authority),
        (None, named, _) => named.and_then(|host| host.to_str().ok()),
    }
}

/// The port that the browser named; `None`: the scheme's own.
pub(crate) fn port(headers: &HeaderMap, authority: Option<&str>) -> Option<u16> {
    let (_, port) = host(headers, authority)?.rsplit_once(':')?;
    port.parse().ok()
}

fn is_from_here(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let origin_fits = text(header::ORIGIN).is_none_or(|origin| {
        let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        named.is_some_and(|named| named.eq_ignore_ascii_case(host))
    });
    let site_fits = text(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin");
    origin_fits && site_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hosts_are_no_host() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("127.0.0.1:8470"));
        assert_eq!(host(&headers, None), Some("127.0.0.1:8470"));
        assert_eq!(port(&headers, None), Some(8470));
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(host(&headers, None), None);
        assert_eq!(host(&HeaderMap::new(), Some("localhost:1")), Some("localhost:1"));
    }

    #[test]
    fn forms_come_from_this_console_alone() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
            is_from_here(&pairs.collect(), "127.0.0.1:8470")
        };
        assert!(with(&[]));
        assert!(with(&[("origin", "http://127.0.0.1:8470")]));
        assert!(with(&[("origin", "http://127.0.0.1:8470"), ("sec-fetch-site", "same-origin")]));
        for origin in ["null", "", "http://127.0.0.1:8471", "http://evil.example", "127.0.0.1:8470", "file://"] {
            assert!(!with(&[("origin", origin)]), "{origin}");
        }
        // Another port of the same machine is the same site, but not the same origin.
        assert!(!with(&[("sec-fetch-site", "same-site")]));
        assert!(!with(&[("sec-fetch-site", "cross-site")]));
    }
}
