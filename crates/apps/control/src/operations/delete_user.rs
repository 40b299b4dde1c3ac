use aws_wire::iam::DeleteUserRequest;
use store::PeopleWrite;

use super::shown_users::{user_arn, user_of};
use crate::{
    Context, Error, Operate,
    people::{commit_user, shown_user},
};

impl Operate for DeleteUserRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        user_arn(context, self.user_name.as_deref())
    }

    async fn run(self, context: &Context) -> Result<(), Error> {
        let name = user_of(context, self.user_name.as_deref())?;
        if name.is_root() {
            return Err(Error::new("DeleteConflict", "The user root cannot be deleted."));
        }
        commit_user(context, &name, |before, keys, changes| {
            // As IAM: whoever deletes a user has looked at what the user's keys are used for.
            if !keys.is_empty() {
                return Err(Error::new("DeleteConflict", "Cannot delete entity, must delete access keys first."));
            }
            let arn = before.name.arn(&before.account);
            let after = serde_json::Value::Null;
            changes.audit.push(context.audit("iam:DeleteUser", arn, &shown_user(&before), &after));
            changes.writes.push(PeopleWrite::SessionsEnd { user: before.name.clone(), except: None }.into());
            changes.writes.push(PeopleWrite::UserDelete(before.name).into());
            Ok(())
        })
        .await
    }
}
