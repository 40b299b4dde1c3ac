//! What the pages show: plain values and their HTML. Nothing here reads anything; every page is a function of what was
//! read and of the present. All texts are escaped by the templates; what hosts and callers wrote is also bounded and
//! freed of control characters ([`text::clean`]).

mod audit;
mod commands;
mod fleet;
mod node;
mod people;
mod server;
pub(crate) mod text;

use askama::Template;

pub(crate) use audit::{Audit, AuditRecord, AuditVerification};
pub(crate) use commands::{Command, Commands, Invocation, NewOutput};
pub(crate) use fleet::{Fleet, filter_of as fleet_filter};
pub(crate) use node::{History, Node, filter_of as patch_filter};
pub(crate) use people::{AccessKeys, Account, KeyMade, LinkMade, Sessions, Users};
pub(crate) use server::Server;

/// What every page has around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    /// Of whom the page is; `None`: nobody is signed in.
    pub(crate) person: Option<Person>,
    /// Which room is open, for the navigation.
    pub(crate) room: &'static str,
    /// After how many seconds the page reads itself anew.
    pub(crate) reload_seconds: Option<u32>,
}

/// Who is signed in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Person {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) user: String,
    /// Whether anything may be changed; without it forms are left out, and would be refused.
    pub(crate) is_administrator: bool,
    /// The token that every form carries.
    pub(crate) csrf: String,
    /// Whether nothing can be changed at present, because the server's disk is full.
    pub(crate) is_read_only: bool,
}

impl Frame {
    /// The frame of one of the rooms.
    fn of(person: &Person, room: &'static str, reload_seconds: Option<u32>) -> Self {
        Self { person: Some(person.clone()), room, reload_seconds }
    }

    /// The address of the style sheet; another one whenever its text is another one.
    fn css(&self) -> String {
        format!("/console/assets/console.css?v={:x}", crate::assets::CSS_VERSION)
    }

    fn csrf(&self) -> &str {
        self.person.as_ref().map_or("", |person| &person.csrf)
    }
}

/// The sign-in page: with a link's token a button, without one a form for name and password.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage {
    frame: Frame,
    token: Option<String>,
    notice: Option<Notice>,
}

impl SignInPage {
    pub(crate) fn new(token: Option<String>, notice: Option<Notice>) -> Self {
        Self { frame: Frame::default(), token, notice }
    }
}

/// A page that says what is wrong, and what to do.
#[derive(Template)]
#[template(path = "problem.html")]
pub(crate) struct Problem {
    pub(crate) frame: Frame,
    pub(crate) title: &'static str,
    pub(crate) message: String,
    pub(crate) hint: String,
    /// The id under which the log says more; empty where there is nothing more.
    pub(crate) request_id: String,
}

impl Problem {
    pub(crate) fn new(person: Option<&Person>, title: &'static str, message: &str) -> Self {
        let frame = Frame { person: person.cloned(), ..Frame::default() };
        let (hint, request_id) = (String::new(), String::new());
        Self { frame, title, message: text::clean(message, text::SENTENCE_CHARS), hint, request_id }
    }
}

/// A message above a page.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) tone: &'static str,
    pub(crate) text: String,
    /// Where more is to be seen; empty: nowhere.
    pub(crate) link: String,
}

impl Notice {
    pub(crate) fn new(tone: &'static str, text: impl Into<String>) -> Self {
        Self { tone, text: text.into(), link: String::new() }
    }
}

/// One choice of what a listing shows.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    label: &'static str,
    link: String,
    tone: &'static str,
    count: u64,
    current: bool,
}

/// The colour of a status of a command, an invocation or a step. The status is always written out beside it.
fn status_tone(status: &str) -> &'static str {
    match status {
        "Success" => "good",
        "Pending" | "InProgress" | "Delayed" | "Cancelling" => "warn",
        "Cancelled" | "Terminated" | "Skipped" => "",
        _ => "bad",
    }
}

#[cfg(test)]
mod tests;
