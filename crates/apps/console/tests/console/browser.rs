//! A browser without scripts: it keeps cookies as browsers do, follows nothing by itself, and reads pages as text.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Request, StatusCode, header},
};
use tower::ServiceExt as _;

use crate::furnished::Furnished;

pub(crate) const HOST: &str = "127.0.0.1:8470";

pub(crate) struct Browser {
    router: Router,
    pub(crate) cookie: Option<String>,
}

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) fn new(furnished: &Furnished) -> Self {
        let names = control::ServerNames::new(Vec::new(), |_| false);
        let router = Router::new().nest("/console", console::router(furnished.server.clone(), names));
        Self { router, cookie: None }
    }

    async fn send(&mut self, request: Request<Body>) -> Page {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, 8 << 20).await.unwrap();
        if let Some(set) = parts.headers.get(header::SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            self.cookie = Some(pair).filter(|pair| !pair.ends_with('='));
        }
        Page { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// A request as the browser makes it; `change` makes it another one.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        form: &str,
        change: impl FnOnce(&mut HeaderMap),
    ) -> Page {
        let mut request = Request::builder().method(method).uri(path).body(Body::from(form.to_owned())).unwrap();
        let headers = request.headers_mut();
        headers.insert(header::HOST, HOST.parse().unwrap());
        if let Some(cookie) = &self.cookie {
            headers.insert(header::COOKIE, cookie.parse().unwrap());
        }
        if method == "POST" {
            headers.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
            headers.insert(header::ORIGIN, format!("http://{HOST}").parse().unwrap());
            headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
        }
        change(headers);
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 50_000))));
        self.send(request).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.ask("GET", path, "", |_| {}).await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Page {
        self.ask("POST", path, form, |_| {}).await
    }

    /// Uses a link up.
    pub(crate) async fn sign_in(&mut self, link: &str) {
        let answer = self.post("/console/sign-in", &format!("token={link}")).await;
        assert_eq!((answer.status, answer.location().as_str()), (StatusCode::SEE_OTHER, "/console"));
        assert!(self.cookie.is_some());
    }

    /// The token in the forms of this session.
    pub(crate) async fn csrf(&mut self) -> String {
        let page = self.get("/console").await.ok();
        page.between(r#"name="csrf" value=""#, "\"").unwrap()
    }
}

impl Page {
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self
    }

    pub(crate) fn shows(&self, part: &str) {
        assert!(self.body.contains(part), "not there: {part}\n{}", self.body);
    }

    pub(crate) fn lacks(&self, part: &str) {
        assert!(!self.body.contains(part), "there: {part}\n{}", self.body);
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.body.matches(part).count()
    }

    pub(crate) fn between(&self, before: &str, after: &str) -> Option<String> {
        let (_, rest) = self.body.split_once(before)?;
        rest.split_once(after).map(|(found, _)| found.to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    pub(crate) fn location(&self) -> String {
        self.header("location")
    }

    /// Where the link with this text leads.
    pub(crate) fn link_named(&self, text: &str) -> Option<String> {
        let (before, _) = self.body.split_once(&format!("\">{text}</a>"))?;
        let (_, link) = before.rsplit_once("href=\"")?;
        Some(link.replace("&#38;", "&"))
    }
}
