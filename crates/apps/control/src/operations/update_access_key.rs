use aws_wire::iam::UpdateAccessKeyRequest;
use store::{AccessKeyRow, AccessKeyStatus, PeopleWrite};

use super::shown_users::{audited_key, key_among, user_arn, user_of};
use crate::{Context, Error, Operate, people::commit_user};

impl Operate for UpdateAccessKeyRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        user_arn(context, self.user_name.as_deref())
    }

    async fn run(self, context: &Context) -> Result<(), Error> {
        let name = user_of(context, self.user_name.as_deref())?;
        // `Expired` is what AWS shows of keys that it ended itself; nobody may set it.
        let status = self.status.as_deref().and_then(AccessKeyStatus::parse);
        let status = status.ok_or_else(|| Error::new("InvalidInput", "Status is Active or Inactive."))?;
        commit_user(context, &name, |user, keys, changes| {
            let before = key_among(keys, self.access_key_id.as_deref())?;
            if before.status == status {
                return Ok(());
            }
            let after = AccessKeyRow { status, ..before.clone() };
            let arn = user.name.arn(&user.account);
            let record = context.audit("iam:UpdateAccessKey", arn, &audited_key(&before), &audited_key(&after));
            changes.audit.push(record);
            changes.writes.push(PeopleWrite::AccessKeyPut(after).into());
            Ok(())
        })
        .await
    }
}
