use askama::Template;
use control::{OpenSession, UserView};
use identifiers::Timestamp;
use store::AccessKeyStatus;

use super::{
    Frame, Notice, Person,
    text::{NAME_CHARS, SENTENCE_CHARS, When, clean},
};

/// All users.
#[derive(Template)]
#[template(path = "users.html")]
pub(crate) struct Users {
    frame: Frame,
    may_change: bool,
    notice: Option<Notice>,
    users: Vec<UserLine>,
}

struct UserLine {
    name: String,
    is_root: bool,
    is_own: bool,
    role: &'static str,
    is_reader: bool,
    disabled: bool,
    has_password: bool,
    created_at: When,
    signed_in_at: Option<When>,
    keys: usize,
}

impl Users {
    pub(crate) fn new(person: &Person, users: &[UserView], notice: Option<Notice>, now: Timestamp) -> Self {
        let line = |user: &UserView| UserLine {
            name: user.name.to_string(),
            is_root: user.name.is_root(),
            is_own: user.name.to_string() == person.user,
            role: user.role.as_str(),
            is_reader: user.role == access::Role::Reader,
            disabled: user.disabled,
            has_password: user.has_password,
            created_at: When::new(user.created_at, now),
            signed_in_at: user.signed_in_at.map(|at| When::new(at, now)),
            keys: user.keys.len(),
        };
        Self {
            frame: Frame::of(person, "users", None),
            may_change: person.is_administrator,
            notice,
            users: users.iter().map(line).collect(),
        }
    }
}

/// All access keys.
#[derive(Template)]
#[template(path = "access_keys.html")]
pub(crate) struct AccessKeys {
    frame: Frame,
    may_change: bool,
    notice: Option<Notice>,
    /// Who may have a key more.
    users: Vec<String>,
    keys: Vec<KeyLine>,
}

struct KeyLine {
    id: String,
    user: String,
    active: bool,
    user_disabled: bool,
    created_at: When,
    used_at: Option<When>,
    used_for: String,
}

impl AccessKeys {
    pub(crate) fn new(person: &Person, users: &[UserView], notice: Option<Notice>, now: Timestamp) -> Self {
        let lines = users.iter().flat_map(|user| {
            user.keys.iter().map(|key| KeyLine {
                id: key.access_key_id.to_string(),
                user: user.name.to_string(),
                active: key.status == AccessKeyStatus::Active,
                user_disabled: user.disabled,
                created_at: When::new(key.created_at, now),
                used_at: key.last_use.as_ref().map(|used| When::new(used.at, now)),
                used_for: key.last_use.as_ref().map_or_else(String::new, |used| {
                    clean(&format!("{} in {}", used.service, used.region), NAME_CHARS)
                }),
            })
        });
        Self {
            frame: Frame::of(person, "access-keys", None),
            may_change: person.is_administrator,
            notice,
            users: users.iter().map(|user| user.name.to_string()).collect(),
            keys: lines.collect(),
        }
    }
}

/// A new access key, shown once.
#[derive(Template)]
#[template(path = "key_made.html")]
pub(crate) struct KeyMade {
    frame: Frame,
    user: String,
    id: String,
    secret: String,
    region: String,
    /// The key that it takes the place of; empty: none.
    old: String,
}

impl KeyMade {
    pub(crate) fn new(person: &Person, user: String, id: String, secret: String, old: String) -> Self {
        Self { frame: Frame::of(person, "access-keys", None), user, id, secret, region: person.region.clone(), old }
    }
}

/// A new sign-in link, shown once.
#[derive(Template)]
#[template(path = "link_made.html")]
pub(crate) struct LinkMade {
    frame: Frame,
    user: String,
    path: String,
}

impl LinkMade {
    pub(crate) fn new(person: &Person, user: String, token: &str) -> Self {
        let path = format!("/console/sign-in?token={token}");
        Self { frame: Frame::of(person, "users", None), user, path }
    }
}

/// The sessions of whoever asks.
#[derive(Template)]
#[template(path = "sessions.html")]
pub(crate) struct Sessions {
    frame: Frame,
    notice: Option<Notice>,
    sessions: Vec<SessionLine>,
    others: usize,
}

struct SessionLine {
    id: String,
    own: bool,
    since: When,
    seen_at: When,
    until: String,
    address: String,
    browser: String,
}

impl Sessions {
    pub(crate) fn new(person: &Person, sessions: &[OpenSession], notice: Option<Notice>, now: Timestamp) -> Self {
        let line = |session: &OpenSession| SessionLine {
            id: session.id.clone(),
            own: session.own,
            since: When::new(session.created_at, now),
            seen_at: When::new(session.seen_at, now),
            until: session.valid_until.to_human(),
            address: clean(&session.source_address, NAME_CHARS),
            browser: clean(&session.user_agent, SENTENCE_CHARS),
        };
        Self {
            frame: Frame::of(person, "account", None),
            notice,
            sessions: sessions.iter().map(line).collect(),
            others: sessions.iter().filter(|session| !session.own).count(),
        }
    }
}

/// Who is signed in, and the form for another password.
#[derive(Template)]
#[template(path = "account.html")]
pub(crate) struct Account {
    frame: Frame,
    notice: Option<Notice>,
    user: String,
    role: &'static str,
    chars_min: usize,
}

impl Account {
    pub(crate) fn new(person: &Person, notice: Option<Notice>) -> Self {
        Self {
            frame: Frame::of(person, "account", None),
            notice,
            user: person.user.clone(),
            role: if person.is_administrator { "administrator" } else { "reader" },
            chars_min: access::PASSWORD_CHARS_MIN,
        }
    }
}
