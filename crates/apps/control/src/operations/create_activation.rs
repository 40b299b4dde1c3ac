use agent_wire::{ActivationCode, Bytes32};
use aws_wire::{
    Sensitive,
    ssm::{CreateActivationRequest, CreateActivationResult},
};
use nodes::{ActivationRequest, CodeHash};
use store::Write;

use crate::{Context, Error, Operate, commit::commit, tags::given_tags};

impl Operate for CreateActivationRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("activation/*")]
    }

    async fn run(self, context: &Context) -> Result<CreateActivationResult, Error> {
        if self.registration_metadata.is_some_and(|items| !items.is_empty()) {
            return Err(Error::not_yet("RegistrationMetadata"));
        }
        let request = ActivationRequest {
            iam_role: self.iam_role.unwrap_or_default(),
            description: self.description,
            default_instance_name: self.default_instance_name,
            registration_limit: self.registration_limit.map(i64::from),
            expires_at: self.expiration_date.map(Into::into),
            tags: given_tags(self.tags),
            created_by: context.principal.to_string(),
        };
        let identity_key = context.server.keys.ring().identity.current.public_key();
        let code = ActivationCode::new(identity::random_bytes::<15>()?, Bytes32(identity::sha256(&identity_key)));
        // The digest is the key of the registration's proof: whoever could read it could register nodes.
        let digest = identity::sha256(code.secret());
        let hash = context.server.keys.activations.seal(&digest, context.scope.account.as_str())?;
        let id = commit(context, || async {
            let made = context
                .server
                .with_ids(|ids| nodes::create_activation(&request, CodeHash::new(hash.clone()), context.now, ids));
            let (activation, changes) = made?;
            let mut changes = changes.map(Write::from);
            let arn = context.scope.ssm_arn(&format!("activation/{}", activation.id));
            changes.audit.push(context.audit("ssm:CreateActivation", arn, &serde_json::Value::Null, &activation));
            Ok((changes, activation.id))
        })
        .await?;
        Ok(CreateActivationResult {
            activation_id: Some(id.to_string()),
            activation_code: Some(Sensitive::from(code.reveal())),
        })
    }
}
