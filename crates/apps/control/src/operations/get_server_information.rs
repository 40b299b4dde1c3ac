use aws_wire::careen::{GetServerInformationRequest, GetServerInformationResult};

use crate::{Context, Error, Operate};

impl Operate for GetServerInformationRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.careen_arn("server")]
    }

    async fn run(self, context: &Context) -> Result<GetServerInformationResult, Error> {
        let server = &context.server;
        Ok(GetServerInformationResult {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            replica: Some(server.settings.replica.clone()),
            started_at: Some(server.started_at().into()),
            now: Some(context.now.into()),
            database_kind: Some(server.store.kind().to_owned()),
            schema_version: Some(server.store.schema_get().await?),
            incarnation: i64::try_from(server.keys.incarnation).ok(),
            agent_protocol_oldest: Some(agent_wire::PROTOCOL_MIN.into()),
            agent_protocol_newest: Some(agent_wire::PROTOCOL_MAX.into()),
            connected_node_count: i64::try_from(server.connected_count()).ok(),
        })
    }
}
