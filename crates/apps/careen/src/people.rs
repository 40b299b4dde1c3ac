//! `careen admin sign-in-link|password|user|access-key`: users and their access keys, for whoever may read the data folder.

use std::{
    io::{IsTerminal, Read},
    sync::Arc,
};

use access::{Principal, Role};
use anyhow::{Context as _, Result, bail};
use aws_wire::{
    Sensitive,
    iam::{
        AccessKey, CreateAccessKeyRequest, CreateUserRequest, DeleteAccessKeyRequest, DeleteUserRequest,
        GetAccessKeyLastUsedRequest, Tag, UpdateAccessKeyRequest,
    },
};
use clap::{Args, Subcommand, ValueEnum};
use control::{Context, FirstKey, Server, UserView, perform};
use identifiers::{AccessKeyId, UserName};
use identity::Secret;
use serde::{Deserialize, Serialize};
use store::AccessKeyStatus;
use tokio::io::AsyncWriteExt;

use crate::{
    admin::{Answer, DataFolder, Question, sign_in_url, tell},
    configuration::Configuration,
    credentials,
};

/// More than this is no password.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// The flags of `careen admin password`.
#[derive(Args)]
pub(crate) struct PasswordOptions {
    /// Whose password
    #[arg(value_name = "USER", default_value = "root")]
    user: String,
    /// Read the password from standard input: its first line
    #[arg(long)]
    stdin: bool,
    #[command(flatten)]
    server: DataFolder,
}

/// What a user may do.
#[derive(Clone, Copy, ValueEnum, Serialize, Deserialize)]
pub(crate) enum RoleName {
    /// Everything
    Administrator,
    /// Read
    Reader,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Administrator => Self::Administrator,
            RoleName::Reader => Self::Reader,
        }
    }
}

/// `careen admin user …`.
#[derive(Subcommand)]
pub(crate) enum UserTask {
    /// Add a user.
    Add {
        name: String,
        /// What the user may do
        #[arg(long, value_enum, default_value = "reader")]
        role: RoleName,
        #[command(flatten)]
        server: DataFolder,
    },
    /// List all users.
    List {
        #[command(flatten)]
        server: DataFolder,
    },
    /// Change what a user may do.
    Role {
        name: String,
        #[arg(value_enum)]
        role: RoleName,
        #[command(flatten)]
        server: DataFolder,
    },
    /// Shut a user out: sessions end, password and access keys are refused.
    Disable {
        name: String,
        #[command(flatten)]
        server: DataFolder,
    },
    /// Let a user in again.
    Enable {
        name: String,
        #[command(flatten)]
        server: DataFolder,
    },
    /// Remove a user who has no access key any more.
    Remove {
        name: String,
        #[command(flatten)]
        server: DataFolder,
    },
}

/// `careen admin access-key …`.
#[derive(Subcommand)]
pub(crate) enum KeyTask {
    /// Make an access key and print it with its secret, which is shown this once.
    Create {
        /// Whose key
        #[arg(long, value_name = "NAME", default_value = "root")]
        user: String,
        #[command(flatten)]
        server: DataFolder,
    },
    /// List the access keys.
    List {
        /// Only those of this user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        #[command(flatten)]
        server: DataFolder,
    },
    /// Refuse an access key from now on.
    Disable {
        #[arg(value_name = "ID")]
        key: String,
        #[command(flatten)]
        server: DataFolder,
    },
    /// Take an access key again.
    Enable {
        #[arg(value_name = "ID")]
        key: String,
        #[command(flatten)]
        server: DataFolder,
    },
    /// Make another key for the user of this one. The old one goes on working until it is disabled.
    Rotate {
        #[arg(value_name = "ID")]
        key: String,
        #[command(flatten)]
        server: DataFolder,
    },
    /// Delete an access key for good.
    Delete {
        #[arg(value_name = "ID")]
        key: String,
        #[command(flatten)]
        server: DataFolder,
    },
}

/// What may be asked about people.
#[derive(Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub(crate) enum PeopleQuestion {
    SignInLink { user: String },
    SetPassword { user: String, password: Sensitive<String> },
    AddUser { name: String, role: RoleName },
    ListUsers,
    SetRole { name: String, role: RoleName },
    SetDisabled { name: String, disabled: bool },
    RemoveUser { name: String },
    CreateKey { user: String },
    ListKeys { user: Option<String> },
    SetKey { key: String, active: bool },
    RotateKey { key: String },
    DeleteKey { key: String },
}

pub(crate) async fn sign_in_link(user: String, server: &DataFolder) -> Result<()> {
    server.ask(&Question::People(PeopleQuestion::SignInLink { user })).await
}

pub(crate) async fn set_password(options: PasswordOptions) -> Result<()> {
    let password = match options.stdin {
        true => from_standard_input()?,
        false => from_terminal(&options.user)?,
    };
    let question = PeopleQuestion::SetPassword { user: options.user, password: Sensitive::from(password) };
    options.server.ask(&Question::People(question)).await
}

fn from_standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(PASSWORD_BYTES_MAX).read_to_string(&mut text).context("standard input cannot be read")?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("standard input is empty; write the password into it");
    }
    Ok(line.to_owned())
}

fn from_terminal(user: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!("standard input is no terminal; give --stdin to read the password from it");
    }
    let password = rpassword::prompt_password(format!("New password of {user}: "))?;
    match rpassword::prompt_password("Again: ")? == password {
        true => Ok(password),
        false => bail!("the two differ; nothing was changed"),
    }
}

pub(crate) async fn user(task: UserTask) -> Result<()> {
    let (question, server) = match task {
        UserTask::Add { name, role, server } => (PeopleQuestion::AddUser { name, role }, server),
        UserTask::List { server } => (PeopleQuestion::ListUsers, server),
        UserTask::Role { name, role, server } => (PeopleQuestion::SetRole { name, role }, server),
        UserTask::Disable { name, server } => (PeopleQuestion::SetDisabled { name, disabled: true }, server),
        UserTask::Enable { name, server } => (PeopleQuestion::SetDisabled { name, disabled: false }, server),
        UserTask::Remove { name, server } => (PeopleQuestion::RemoveUser { name }, server),
    };
    server.ask(&Question::People(question)).await
}

pub(crate) async fn key(task: KeyTask) -> Result<()> {
    let (question, server) = match task {
        KeyTask::Create { user, server } => (PeopleQuestion::CreateKey { user }, server),
        KeyTask::List { user, server } => (PeopleQuestion::ListKeys { user }, server),
        KeyTask::Disable { key, server } => (PeopleQuestion::SetKey { key, active: false }, server),
        KeyTask::Enable { key, server } => (PeopleQuestion::SetKey { key, active: true }, server),
        KeyTask::Rotate { key, server } => (PeopleQuestion::RotateKey { key }, server),
        KeyTask::Delete { key, server } => (PeopleQuestion::DeleteKey { key }, server),
    };
    server.ask(&Question::People(question)).await
}

/// Does what is asked, on the server's side of the socket, and says what was done.
pub(crate) async fn answer(
    server: &Arc<Server>,
    configuration: &Configuration,
    question: PeopleQuestion,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> Result<()> {
    let context = server.context(configuration.home.clone(), Principal::System, String::new());
    let lines = done(&context, configuration, question).await.map_err(|error| {
        let hint = error.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        anyhow::anyhow!("{}{hint}", error.message)
    })?;
    for line in lines {
        tell(writer, &Answer::Line(line)).await?;
    }
    Ok(())
}

async fn done(
    context: &Context,
    configuration: &Configuration,
    question: PeopleQuestion,
) -> Result<Vec<String>, control::Error> {
    let server = &context.server;
    let line = match question {
        PeopleQuestion::SignInLink { user } => {
            sign_in_url(configuration, &server.sign_in_link_for(context, &named(&user)?).await?)
        }
        PeopleQuestion::SetPassword { user, password } => {
            let password = Secret::new(password.into_exposed());
            server.set_password(context, &named(&user)?, &password).await?;
            format!("The password of {user} is set; sessions of {user} have ended.")
        }
        PeopleQuestion::AddUser { name, role } => {
            let role = Tag { key: Some("careen:Role".to_owned()), value: Some(Role::from(role).to_string()) };
            let (user_name, tags) = (Some(name.clone()), Some(vec![role.clone()]));
            perform(context, CreateUserRequest { user_name, tags, ..CreateUserRequest::default() }).await?;
            let role = role.value.unwrap_or_default();
            format!("{name} was added as {role}. A password: careen admin password {name}")
        }
        PeopleQuestion::ListUsers => return Ok(user_lines(&server.users(context).await?)),
        PeopleQuestion::SetRole { name, role } => {
            server.set_role(context, &named(&name)?, role.into()).await?;
            format!("{name} is {} now.", Role::from(role))
        }
        PeopleQuestion::SetDisabled { name, disabled } => {
            server.set_disabled(context, &named(&name)?, disabled).await?;
            format!("{name} is {} now.", if disabled { "disabled" } else { "enabled" })
        }
        PeopleQuestion::RemoveUser { name } => {
            perform(context, DeleteUserRequest { user_name: Some(name.clone()) }).await?;
            format!("{name} was removed.")
        }
        other => return key_done(context, configuration, other).await,
    };
    Ok(vec![line])
}

async fn key_done(
    context: &Context,
    configuration: &Configuration,
    question: PeopleQuestion,
) -> Result<Vec<String>, control::Error> {
    let line = match question {
        PeopleQuestion::CreateKey { user } => return made(context, configuration, user, None).await,
        PeopleQuestion::RotateKey { key } => {
            let user = user_of(context, &key).await?;
            return made(context, configuration, user, Some(key)).await;
        }
        PeopleQuestion::ListKeys { user } => {
            let users = context.server.users(context).await?;
            let only = user.map(|name| named(&name)).transpose()?;
            let users =
                users.iter().filter(|user| only.as_ref().is_none_or(|only| only.folded() == user.name.folded()));
            return Ok(users.flat_map(key_lines).collect());
        }
        PeopleQuestion::SetKey { key, active } => {
            let user_name = Some(user_of(context, &key).await?);
            let status = Some(if active { "Active" } else { "Inactive" }.to_owned());
            let access_key_id = Some(key.clone());
            perform(context, UpdateAccessKeyRequest { user_name, access_key_id, status }).await?;
            format!("{key} is {} now.", if active { "enabled" } else { "disabled" })
        }
        PeopleQuestion::DeleteKey { key } => {
            let user_name = Some(user_of(context, &key).await?);
            perform(context, DeleteAccessKeyRequest { user_name, access_key_id: Some(key.clone()) }).await?;
            format!("{key} was deleted.")
        }
        _ => return Err(control::Error::internal("a question about people was left unanswered")),
    };
    Ok(vec![line])
}

fn named(name: &str) -> Result<UserName, control::Error> {
    UserName::parse(name).map_err(|error| control::Error::validation(error.to_string()))
}

/// Whose key it is.
async fn user_of(context: &Context, key: &str) -> Result<String, control::Error> {
    let request = GetAccessKeyLastUsedRequest { access_key_id: Some(key.to_owned()) };
    Ok(perform(context, request).await?.user_name.unwrap_or_default())
}

/// Makes a key and shows it once, as AWS's credentials file has it. The administrator's newest key is also what the data
/// folder's own credentials file holds.
async fn made(
    context: &Context,
    configuration: &Configuration,
    user: String,
    old: Option<String>,
) -> Result<Vec<String>, control::Error> {
    let request = CreateAccessKeyRequest { user_name: Some(user) };
    let key: AccessKey = perform(context, request).await?.access_key.unwrap_or_default();
    let (id, user) = (key.access_key_id.unwrap_or_default(), key.user_name.unwrap_or_default());
    let secret = Secret::new(key.secret_access_key.map(Sensitive::into_exposed).unwrap_or_default());
    let mut lines = vec![
        format!("aws_access_key_id = {id}"),
        format!("aws_secret_access_key = {}", secret.reveal()),
        format!("region = {}", configuration.home.region),
        String::new(),
        format!("The secret of {user}'s key is shown this once."),
    ];
    if named(&user)?.is_root() {
        let path = configuration.data.join("credentials");
        let access_key_id = AccessKeyId::parse(&id).map_err(control::Error::internal)?;
        let key = FirstKey { access_key_id, secret };
        credentials::write(&path, &key, &configuration.home.region).map_err(control::Error::internal)?;
        lines.push(format!("{} holds it now.", path.display()));
    }
    if let Some(old) = old {
        lines.push(format!("{old} still works. When nothing uses it any more: careen admin access-key disable {old}"));
    }
    Ok(lines)
}

fn user_lines(users: &[UserView]) -> Vec<String> {
    let width = users.iter().map(|user| user.name.as_str().len()).max().unwrap_or(0);
    let line = |user: &UserView| {
        let password = if user.has_password { "password" } else { "no password" };
        let seen = user.signed_in_at.map_or("never signed in".to_owned(), |at| format!("signed in {}", at.to_human()));
        let state = if user.disabled { "  disabled" } else { "" };
        let (name, role, keys) = (user.name.as_str(), user.role.as_str(), user.keys.len());
        format!("{name:width$}  {role:13}  {password:11}  {keys} keys  {seen}{state}")
    };
    users.iter().map(line).collect()
}

fn key_lines(user: &UserView) -> Vec<String> {
    let line = |key: &store::AccessKeyRow| {
        let state = match (key.status, user.disabled) {
            (AccessKeyStatus::Inactive, _) => "disabled",
            (AccessKeyStatus::Active, true) => "user disabled",
            (AccessKeyStatus::Active, false) => "active",
        };
        let used = key.last_use.as_ref();
        let used =
            used.map_or("never used".to_owned(), |used| format!("used {} for {}", used.at.to_human(), used.service));
        format!("{}  {:13}  {}  made {}  {used}", key.access_key_id, state, user.name, key.created_at.to_human())
    };
    user.keys.iter().map(line).collect()
}
