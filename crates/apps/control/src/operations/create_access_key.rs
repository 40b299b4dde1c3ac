use aws_wire::{
    Sensitive,
    iam::{AccessKey, CreateAccessKeyRequest, CreateAccessKeyResponse},
};
use store::{AccessKeyRow, AccessKeyStatus, PeopleWrite};

use super::shown_users::{audited_key, user_arn, user_of};
use crate::{
    Context, Error, Operate,
    people::commit_user,
    setup::{fresh_access_key_id, fresh_secret},
};

/// How many keys a user has at most, as AWS has it: one in use, and one to change to.
const KEYS_MAX: usize = 2;

impl Operate for CreateAccessKeyRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        user_arn(context, self.user_name.as_deref())
    }

    async fn run(self, context: &Context) -> Result<CreateAccessKeyResponse, Error> {
        let name = user_of(context, self.user_name.as_deref())?;
        let (id, secret) = (fresh_access_key_id()?, fresh_secret()?);
        let sealed = context.server.keys.secrets.seal(secret.reveal().as_bytes(), id.as_str())?;
        let row = commit_user(context, &name, |user, keys, changes| {
            if keys.len() >= KEYS_MAX {
                let message = format!("Cannot exceed quota for AccessKeysPerUser: {KEYS_MAX}");
                return Err(Error::new("LimitExceeded", message).hint("delete the one that is no longer used"));
            }
            let row = AccessKeyRow {
                access_key_id: id.clone(),
                account: user.account.clone(),
                user: user.name.clone(),
                secret_sealed: sealed.clone(),
                status: AccessKeyStatus::Active,
                created_at: context.now,
                last_use: None,
            };
            let before = serde_json::Value::Null;
            let arn = user.name.arn(&user.account);
            changes.audit.push(context.audit("iam:CreateAccessKey", arn, &before, &audited_key(&row)));
            changes.writes.push(PeopleWrite::AccessKeyPut(row.clone()).into());
            Ok(row)
        })
        .await?;
        let key = AccessKey {
            user_name: Some(row.user.to_string()),
            access_key_id: Some(row.access_key_id.to_string()),
            status: Some(row.status.as_str().to_owned()),
            secret_access_key: Some(Sensitive::from(secret.reveal().to_owned())),
            create_date: Some(row.created_at.into()),
        };
        Ok(CreateAccessKeyResponse { access_key: Some(key) })
    }
}
