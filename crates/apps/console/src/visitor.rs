//! Who visits: the session behind the cookie.

use std::{net::SocketAddr, sync::Arc};

use access::{Principal, Role};
use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
    response::Response,
};
use control::{Context, Error, Server, Visit, settings::SESSION_SECONDS};
use identifiers::{RequestId, Scope};

use crate::{answer, guard, view::Person};

/// A person who is signed in.
pub(crate) struct Visitor {
    /// For what the person reads and does in this request.
    pub(crate) context: Context,
    /// For the pages.
    pub(crate) person: Person,
    /// The session's token.
    pub(crate) token: String,
}

/// What is known of a request's sender before anybody is signed in.
pub(crate) struct Sender {
    /// The address it comes from; empty where it is unknown.
    pub(crate) address: String,
    /// The name of this console's cookie.
    pub(crate) cookie: String,
    /// The id under which the log has the request.
    pub(crate) request_id: Option<RequestId>,
    /// What the browser calls itself.
    pub(crate) user_agent: String,
}

impl Visitor {
    /// Whether a form was made by a page of this session.
    pub(crate) fn owns(&self, form_token: &str) -> bool {
        control::same_secret(&self.person.csrf, form_token)
    }

    /// An error as a page.
    pub(crate) fn trouble(&self, error: &Error) -> Response {
        answer::trouble(&self.context, Some(&self.person), error)
    }
}

impl FromRequestParts<Arc<Server>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Response> {
        let sender = Sender::of(parts);
        let Some(token) = cookie(&parts.headers, &sender.cookie) else {
            return Err(answer::see_other("/console/sign-in"));
        };
        let token = token.to_owned();
        let session = match server.session(&token).await {
            Ok(Some(session)) => session,
            Ok(None) => return Err(answer::see_other("/console/sign-in?expired")),
            Err(error) => return Err(failed(server, sender, &error)),
        };
        let person = Person {
            account: session.scope.account.to_string(),
            region: session.scope.region.to_string(),
            user: session.user.to_string(),
            is_administrator: session.role == Role::Administrator,
            csrf: session.csrf_token,
            is_read_only: server.store.read_only().is_some(),
        };
        let context = sender.context(server, session.scope, session.principal);
        let asked = if parts.method.is_safe() { "DescribeConsole" } else { "ChangeConsole" };
        if !server.admit(&context.principal, asked) {
            let error =
                Error::new("ThrottlingException", "That was too much at once. Wait a few seconds and try again.");
            return Err(answer::trouble(&context, Some(&person), &error));
        }
        let span = tracing::Span::current();
        span.record("principal", context.principal.to_string());
        span.record("account", context.scope.account.as_str());
        span.record("region", context.scope.region.as_str());
        Ok(Self { context, person, token })
    }
}

/// The error page of somebody who is not signed in.
pub(crate) fn failed(server: &Arc<Server>, sender: Sender, error: &Error) -> Response {
    let context = sender.context(server, server.settings.home.clone(), Principal::System);
    answer::trouble(&context, None, error)
}

impl Sender {
    fn context(self, server: &Arc<Server>, scope: Scope, principal: Principal) -> Context {
        let mut context = server.context(scope, principal, self.address);
        context.request_id = self.request_id.unwrap_or(context.request_id);
        context
    }

    fn of(parts: &Parts) -> Self {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|from| from.0.ip().to_string());
        let port = guard::port(&parts.headers, parts.uri.authority().map(|a| a.as_str()));
        let request_id = parts.extensions.get::<RequestId>().cloned();
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Self {
            address: address.unwrap_or_default(),
            cookie: cookie_name(port),
            request_id,
            user_agent: user_agent.unwrap_or_default().to_owned(),
        }
    }

    /// From where a session begins.
    pub(crate) fn visit(&self) -> Visit {
        Visit { address: self.address.clone(), user_agent: self.user_agent.clone() }
    }
}

impl FromRequestParts<Arc<Server>> for Sender {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Server>) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}

/// Cookies do not know ports (RFC 6265, section 8.5): two servers on one machine would sign each other's people out.
fn cookie_name(port: Option<u16>) -> String {
    port.map_or_else(|| "careen".to_owned(), |port| format!("careen-{port}"))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| value)
}

/// What makes a browser keep a session's token. `Secure` holds on loopback without TLS too, since browsers trust it
/// (<https://w3c.github.io/webappsec-secure-contexts/#is-origin-trustworthy>). The path keeps the token from other
/// programs that this machine's loopback serves on other ports.
pub(crate) fn keep(name: &str, token: &str) -> String {
    format!("{name}={token}; Path=/console; Max-Age={SESSION_SECONDS}; Secure; HttpOnly; SameSite=Lax")
}

/// What makes a browser forget it.
pub(crate) fn forget(name: &str) -> String {
    format!("{name}=; Path=/console; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_cookie_of_this_port_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; careen-8470=one ;careen-8471=two"));
        headers.append(header::COOKIE, HeaderValue::from_static("careen=three"));
        assert_eq!(cookie(&headers, &cookie_name(Some(8470))), Some("one"));
        assert_eq!(cookie(&headers, &cookie_name(None)), Some("three"));
        assert_eq!(cookie(&headers, "careen-84"), None);
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let kept = keep("careen-8470", "t");
        for part in ["careen-8470=t;", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/console"] {
            assert!(kept.contains(part), "{kept}");
        }
    }
}
