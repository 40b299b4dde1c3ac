use access::Role;
use identifiers::{Timestamp, UserName};
use identity::{Secret, Verdict};
use store::{AccessKeyRow, FailureSubject, PeopleWrite, UserRow};

use super::{Visit, commit_user, no_such_user, people, sessions::begin, shown_user};
use crate::{Context, Error, Server, call::authorise};

/// How many users are read for the console.
const SHOWN_MAX: u32 = 1000;

/// A user as the console and the command line show one.
#[derive(Debug, Clone)]
pub struct UserView {
    /// The name.
    pub name: UserName,
    /// What the user may do.
    pub role: Role,
    /// Whether nothing lets the user in.
    pub disabled: bool,
    /// Whether the user can sign in with a password.
    pub has_password: bool,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When the user last signed in at the console.
    pub signed_in_at: Option<Timestamp>,
    /// The user's access keys.
    pub keys: Vec<AccessKeyRow>,
}

fn refused_for_root(what: &str) -> Error {
    Error::new(
        "InvalidInput",
        format!("The user root cannot be {what}: it is the way back in when nothing else is left."),
    )
    .hint("make another user and use that one day by day")
}

impl Server {
    /// The users of the caller's account with their access keys, by name.
    ///
    /// # Errors
    /// `AccessDeniedException`, or when the store cannot be read.
    pub async fn users(&self, context: &Context) -> Result<Vec<UserView>, Error> {
        let account = &context.scope.account;
        for action in ["iam:ListUsers", "iam:ListAccessKeys"] {
            authorise(context, action, vec![format!("arn:aws:iam::{account}:user/*")]).await?;
        }
        let keys = self.store.access_key_list(account, None).await?;
        let users = self.store.user_list(account, None, SHOWN_MAX).await?;
        let shown = users.into_iter().map(|user| UserView {
            keys: keys.iter().filter(|key| key.user.folded() == user.name.folded()).cloned().collect(),
            role: user.role,
            disabled: user.disabled,
            has_password: user.password_sealed.is_some(),
            created_at: user.created_at,
            signed_in_at: user.signed_in_at,
            name: user.name,
        });
        Ok(shown.collect())
    }

    /// Gives a user another password; all of the user's sessions and links end.
    ///
    /// # Errors
    /// `PasswordPolicyViolation` for one that is too easily guessed, `NoSuchEntity`, `AccessDeniedException`.
    pub async fn set_password(&self, context: &Context, user: &UserName, password: &Secret) -> Result<(), Error> {
        authorise(context, "careen:SetPassword", vec![user.arn(&context.scope.account)]).await?;
        self.put_password(context, "careen:SetPassword", user, password, None).await.map(drop)
    }

    /// The caller's own password, changed by who knows the present one, if there is one. All sessions end; another begins: its
    /// token.
    ///
    /// # Errors
    /// `InvalidInput` where the present one is wrong, else as [`Server::set_password`].
    pub async fn change_password(
        self: &std::sync::Arc<Self>,
        context: &Context,
        present: &Secret,
        password: &Secret,
        visit: &Visit,
    ) -> Result<String, Error> {
        let Some((account, user)) = context.principal.user() else {
            return Err(Error::new("InvalidInput", "Only a user has a password."));
        };
        authorise(context, "careen:ChangePassword", vec![user.arn(account)]).await?;
        let found = self.store.user_get(&self.people_scope(account), user).await?;
        let row = found.row.ok_or_else(|| no_such_user(user))?;
        if row.password_sealed.is_some() {
            let (scope, now) = (self.people_scope(account), self.now());
            // Whoever holds somebody's session must not guess faster here than at the door.
            let counted = self.count_attempt(&scope, Some(&row), user.as_str(), &visit.address, now).await?;
            let Ok(attempt) = counted else {
                return Err(Error::new("InvalidInput", "There were too many wrong passwords. Try again later."));
            };
            let turn = self.keys.passwords.turn().await.ok_or_else(Error::busy)?;
            if self.keys.passwords.verify(&turn, Some(&row), present).await? == Verdict::Wrong {
                self.record_failure(&scope, Some(&row), &attempt, visit, now).await?;
                return Err(Error::new("InvalidInput", "The present password is another one. Nothing was changed."));
            }
        }
        let token = self.put_password(context, "careen:ChangePassword", user, password, Some(visit)).await?;
        token.ok_or_else(|| Error::internal("a changed password began no session"))
    }

    async fn put_password(
        &self,
        context: &Context,
        action: &str,
        user: &UserName,
        password: &Secret,
        visit: Option<&Visit>,
    ) -> Result<Option<String>, Error> {
        access::check_password(user, password.reveal())
            .map_err(|weak| Error::new("PasswordPolicyViolation", format!("That password is not taken: {weak}.")))?;
        let sealed = self.keys.passwords.hash(&context.scope.account, user, password).await?;
        commit_user(context, user, |before, _, changes| {
            let after = UserRow {
                password_sealed: Some(sealed.clone()),
                password_changed_at: Some(context.now),
                ..before.clone()
            };
            let arn = after.name.arn(&after.account);
            changes.audit.push(context.audit(action, arn, &shown_user(&before), &shown_user(&after)));
            changes.writes.push(people(PeopleWrite::UserPut(after.clone())));
            changes.writes.push(people(PeopleWrite::SessionsEnd { user: after.name.clone(), except: None }));
            if visit.is_some() {
                let name = FailureSubject::Name(after.name.folded());
                changes.writes.push(people(PeopleWrite::SignInFailuresForget(name)));
            }
            match visit {
                Some(visit) => Ok(Some(begin(changes, &context.scope, &after, visit, context.now)?)),
                None => Ok(None),
            }
        })
        .await
    }

    /// Shuts a user out, or lets the user in again. Shut out, the user's sessions end, and keys and password are refused.
    ///
    /// # Errors
    /// `InvalidInput` for root, `NoSuchEntity`, `AccessDeniedException`.
    pub async fn set_disabled(&self, context: &Context, user: &UserName, disabled: bool) -> Result<(), Error> {
        let action = if disabled { "careen:DisableUser" } else { "careen:EnableUser" };
        authorise(context, action, vec![user.arn(&context.scope.account)]).await?;
        if user.is_root() {
            return Err(refused_for_root("disabled"));
        }
        commit_user(context, user, |before, _, changes| {
            if before.disabled == disabled {
                return Ok(());
            }
            let after = UserRow { disabled, ..before.clone() };
            let arn = after.name.arn(&after.account);
            changes.audit.push(context.audit(action, arn, &shown_user(&before), &shown_user(&after)));
            changes.writes.push(people(PeopleWrite::SessionsEnd { user: after.name.clone(), except: None }));
            changes.writes.push(people(PeopleWrite::UserPut(after)));
            Ok(())
        })
        .await
    }

    /// Gives a user another role; it holds from the next request on.
    ///
    /// # Errors
    /// `InvalidInput` for root, `NoSuchEntity`, `AccessDeniedException`.
    pub async fn set_role(&self, context: &Context, user: &UserName, role: Role) -> Result<(), Error> {
        authorise(context, "careen:SetUserRole", vec![user.arn(&context.scope.account)]).await?;
        if user.is_root() {
            return Err(refused_for_root("a reader"));
        }
        commit_user(context, user, |before, _, changes| {
            if before.role == role {
                return Ok(());
            }
            let after = UserRow { role, ..before.clone() };
            let arn = after.name.arn(&after.account);
            changes.audit.push(context.audit("careen:SetUserRole", arn, &shown_user(&before), &shown_user(&after)));
            changes.writes.push(people(PeopleWrite::UserPut(after)));
            Ok(())
        })
        .await
    }
}
