use aws_wire::iam::DeleteAccessKeyRequest;
use store::PeopleWrite;

use super::shown_users::{audited_key, key_among, user_arn, user_of};
use crate::{Context, Error, Operate, people::commit_user};

impl Operate for DeleteAccessKeyRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        user_arn(context, self.user_name.as_deref())
    }

    async fn run(self, context: &Context) -> Result<(), Error> {
        let name = user_of(context, self.user_name.as_deref())?;
        commit_user(context, &name, |user, keys, changes| {
            let before = key_among(keys, self.access_key_id.as_deref())?;
            let arn = user.name.arn(&user.account);
            let after = serde_json::Value::Null;
            changes.audit.push(context.audit("iam:DeleteAccessKey", arn, &audited_key(&before), &after));
            changes.writes.push(PeopleWrite::AccessKeyDelete(before.access_key_id).into());
            Ok(())
        })
        .await
    }
}
