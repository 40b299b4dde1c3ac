//! What goes to agents: invocations as signed orders. An order may be sent more than once; an agent runs each job once.

use std::{collections::BTreeMap, sync::Arc};

use access::Principal;
use agent_wire::{FromServer, Job, Order, OrderBody, PatchStep, SignedOrder, Step, StepAction, order_text};
use changes::{Changes, Versioned};
use commands::{
    AgentRefusal, Command, Disposition, Invocation, InvocationEvent, Platform, Report, ResolvedStep, built_in_document,
    check_parameters,
};
use identifiers::{NodeId, PatchGroupName, RequestId, Scope};
use nodes::{ManagedNode, REBOOT_POLICY, Tags, extension_value, patch_group_of};
use packages::{Distribution, OperatingSystem};
use patching::{BaselineOwner, PatchBaseline, PatchOperation, RebootOption, RebootPolicy};
use store::Write;

use super::AgentSession;
use crate::{Context, Error, Server, snapshot};

/// How long a cancel order is good for, in seconds; it is sent again as long as it is needed.
const CANCEL_SECONDS: i64 = 300;

/// What the orders of one command have in common, read once: a command may go to ten thousand nodes at once.
#[derive(Default)]
pub(crate) struct Common {
    command: Option<Arc<Command>>,
    steps: Option<Arc<[ResolvedStep]>>,
    /// The baseline of each patch group and operating system.
    baselines: BTreeMap<(Option<PatchGroupName>, OperatingSystem), PatchBaseline>,
}

impl Common {
    /// Of a command that has been read already.
    pub(crate) fn of(command: Command) -> Self {
        Self { command: Some(Arc::new(command)), ..Self::default() }
    }

    async fn command(&mut self, context: &Context, invocation: &Invocation) -> Result<Arc<Command>, Error> {
        match &self.command {
            Some(command) if command.command_id == invocation.command_id => Ok(Arc::clone(command)),
            _ => {
                *self = Self::of(snapshot::command(context, &invocation.command_id).await?.row);
                self.command.clone().ok_or_else(|| Error::internal("a command was not kept"))
            }
        }
    }

    /// What the command's document becomes; the same on all nodes, which are Linux hosts.
    fn steps(&mut self, command: &Command) -> Result<Arc<[ResolvedStep]>, NoOrder> {
        if let Some(steps) = &self.steps {
            return Ok(Arc::clone(steps));
        }
        let document = built_in_document(command.document_name.as_str())
            .ok_or_else(|| NoOrder::Never(format!("no document {}", command.document_name)))?;
        let values =
            check_parameters(document, &command.parameters).map_err(|refused| NoOrder::Never(refused.to_string()))?;
        let steps: Arc<[ResolvedStep]> = commands::resolve_steps(document, &values, Platform::Linux).into();
        self.steps = Some(Arc::clone(&steps));
        Ok(steps)
    }

    async fn baseline(
        &mut self,
        context: &Context,
        group: Option<&PatchGroupName>,
        operating_system: OperatingSystem,
    ) -> Result<PatchBaseline, Error> {
        let key = (group.cloned(), operating_system);
        if let Some(known) = self.baselines.get(&key) {
            return Ok(known.clone());
        }
        let effective = snapshot::effective_baseline(context, group, operating_system).await?;
        self.baselines.insert(key, effective.baseline.clone());
        Ok(effective.baseline)
    }
}

impl Server {
    /// Sends again what waits for a node that has just connected.
    pub(super) async fn redeliver_to(self: &Arc<Self>, session: &AgentSession) {
        let nodes = Some(vec![session.node_id.clone()]);
        let open = self.store.invocation_list_open(&session.scope, nodes, None, snapshot::WHOLE_MAX).await;
        let open = match open {
            Ok(open) => open,
            Err(error) => {
                return tracing::error!(node = %session.node_id, "what waits for it could not be read: {error}");
            }
        };
        let mut common = Common::default();
        for invocation in open {
            self.deliver(&session.scope, &invocation.row, &mut common).await;
            self.listen_again(session, &invocation.row).await;
        }
    }

    /// Sends an invocation's order, or its cancel order, if its state calls for one, its node is connected here, and
    /// it was not said over this connection a moment ago. After its time nothing is begun, so no order to run is sent: a
    /// node that has it already would only have to refuse it.
    pub(crate) async fn deliver(self: &Arc<Self>, scope: &Scope, invocation: &Invocation, common: &mut Common) -> bool {
        if !self.is_order_due(invocation) {
            return false;
        }
        let what = what_is_said(invocation);
        let order = match invocation.is_to_be_sent() {
            true => self.run_order(scope, invocation, common).await,
            false => self.cancel_order(scope, invocation, common).await,
        };
        match order {
            Ok(order) => {
                let order = FromServer::Order(order);
                let sent = self.sessions.send(&invocation.node_id, order, what.clone(), self.now());
                if sent {
                    self.metrics.order_sent(if invocation.is_to_be_sent() { "run" } else { "cancel" });
                    let request_id = self.request_of(scope, &invocation.command_id).await;
                    let (node, command) = (&invocation.node_id, &invocation.command_id);
                    tracing::info!(request_id = &*request_id, %node, %command, order = what, "order sent");
                }
                sent
            }
            Err(NoOrder::Never(reason)) => {
                tracing::error!(node = %invocation.node_id, command = %invocation.command_id, "no order can be made: {reason}");
                self.give_up(scope, invocation, &reason).await;
                false
            }
            Err(NoOrder::NotNow(error)) => {
                let detail = error.detail.as_deref().unwrap_or(&error.message);
                tracing::warn!(node = %invocation.node_id, command = %invocation.command_id, "no order could be made now: {detail}");
                false
            }
        }
    }

    /// Whether an order of this invocation is to be given now over a connection that is here.
    pub(crate) fn is_order_due(&self, invocation: &Invocation) -> bool {
        let run = invocation.is_to_be_sent() && self.now() < invocation.delivery_until;
        (run || invocation.is_cancel_to_be_sent())
            && self.sessions.is_due(&invocation.node_id, &what_is_said(invocation), self.now())
    }

    /// Ends an invocation for which no order can be made: it would not get better by waiting.
    async fn give_up(self: &Arc<Self>, scope: &Scope, invocation: &Invocation, detail: &str) {
        let given_up = async {
            let found = self.store.invocation_get(scope, &invocation.command_id, &invocation.node_id).await?;
            let Some(row) = found.row else { return Ok(()) };
            let event = InvocationEvent::AgentRefused(AgentRefusal::Unreadable);
            let report = Report::because(event, format!("No order could be made of it: {detail}"));
            let decided = commands::apply_report(&Versioned::new(found.revision, row), &report, self.now());
            let changes: Changes<Write> = decided.map_err(Error::internal)?.map(Write::from);
            self.apply(scope, changes).await?;
            Ok::<(), Error>(())
        };
        if let Err(error) = given_up.await {
            tracing::error!(command = %invocation.command_id, "{}", error.detail.unwrap_or(error.message));
        }
    }

    async fn run_order(
        self: &Arc<Self>,
        scope: &Scope,
        invocation: &Invocation,
        common: &mut Common,
    ) -> Result<SignedOrder, NoOrder> {
        let context = self.context(scope.clone(), Principal::System, String::new());
        let command = common.command(&context, invocation).await?;
        let mut steps = Vec::new();
        for resolved in common.steps(&command)?.iter() {
            steps.push(step(&context, &invocation.node_id, resolved, common).await?);
        }
        let job = Job {
            job_id: invocation.job_id.clone(),
            command_id: command.command_id.clone(),
            document_name: command.document_name.to_string(),
            steps,
        };
        let until = invocation.delivery_until;
        Ok(self.signed(&context, &invocation.node_id, &command, until, OrderBody::Run(job)).await?)
    }

    async fn cancel_order(
        self: &Arc<Self>,
        scope: &Scope,
        invocation: &Invocation,
        common: &mut Common,
    ) -> Result<SignedOrder, NoOrder> {
        let context = self.context(scope.clone(), Principal::System, String::new());
        let command = common.command(&context, invocation).await?;
        let until = context.now.plus_seconds(CANCEL_SECONDS);
        let body = OrderBody::Cancel { job_id: invocation.job_id.clone() };
        Ok(self.signed(&context, &invocation.node_id, &command, until, body).await?)
    }

    async fn signed(
        &self,
        context: &Context,
        node_id: &NodeId,
        command: &Command,
        expires_at: identifiers::Timestamp,
        body: OrderBody,
    ) -> Result<SignedOrder, Error> {
        let order = Order {
            node_id: node_id.clone(),
            incarnation: self.keys.incarnation,
            issued_at: context.now,
            expires_at,
            request_id: RequestId::parse(&command.request_id).unwrap_or_else(|_| context.request_id.clone()),
            body,
        };
        let payload = serde_json::to_string(&order)?;
        let key = self.job_key_for(&context.scope, node_id).await?;
        let signature = agent_wire::Bytes64(key.sign(&order_text(&payload)));
        Ok(SignedOrder { payload, signature })
    }
}

/// Names an invocation's order.
fn what_is_said(invocation: &Invocation) -> String {
    format!("{} {}", if invocation.is_to_be_sent() { "run" } else { "cancel" }, invocation.job_id)
}

/// Why there is no order.
enum NoOrder {
    /// It would not get better by waiting.
    Never(String),
    /// What it is made of could not be read; the next turn tries again.
    NotNow(Error),
}

impl<E: Into<Error>> From<E> for NoOrder {
    fn from(error: E) -> Self {
        Self::NotNow(error.into())
    }
}

async fn step(
    context: &Context,
    node_id: &NodeId,
    resolved: &ResolvedStep,
    common: &mut Common,
) -> Result<Step, NoOrder> {
    let action = match &resolved.disposition {
        Disposition::Skip { reason } => StepAction::Skip { reason: reason.clone() },
        Disposition::Fail { reason } => return Err(NoOrder::Never(reason.clone())),
        Disposition::Run => match resolved.plugin.as_str() {
            "aws:runShellScript" => shell(&resolved.inputs),
            "careen:patch" => StepAction::Patch(Box::new(patch(context, node_id, &resolved.inputs, common).await?)),
            other => return Err(NoOrder::Never(format!("no plugin {other}"))),
        },
    };
    Ok(Step {
        name: resolved.name.clone(),
        plugin: resolved.plugin.clone(),
        timeout_seconds: u32::try_from(resolved.timeout_seconds).unwrap_or(u32::MAX),
        action,
    })
}

fn text(inputs: &serde_json::Value, name: &str) -> String {
    inputs.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn shell(inputs: &serde_json::Value) -> StepAction {
    let lines = match inputs.get("runCommand") {
        Some(serde_json::Value::Array(lines)) => {
            lines.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect()
        }
        Some(serde_json::Value::String(line)) => vec![line.clone()],
        _ => Vec::new(),
    };
    StepAction::RunShellScript { lines, working_directory: text(inputs, "workingDirectory") }
}

/// The patch step with the baseline that governs the node at this moment.
async fn patch(
    context: &Context,
    node_id: &NodeId,
    inputs: &serde_json::Value,
    common: &mut Common,
) -> Result<PatchStep, NoOrder> {
    let node = snapshot::node(context, node_id.as_str()).await?.row;
    let unknown = |what: &str| NoOrder::Never(format!("the patch step's {what} cannot be read"));
    let tags = context.server.store.tags_get(&context.scope, &nodes::TagResource::node(&node.node_id)).await?.row;
    let patch_group = patch_group_of(&tags);
    let operating_system = operating_system(&node).ok_or_else(|| unknown("operating system"))?;
    let baseline = common.baseline(context, patch_group.as_ref(), operating_system).await?;
    let reboot_policy = reboot_policy(context, &tags, &baseline).await?;
    Ok(PatchStep {
        operation: PatchOperation::parse(&text(inputs, "operation")).ok_or_else(|| unknown("operation"))?,
        reboot_option: RebootOption::parse(&text(inputs, "rebootOption")).ok_or_else(|| unknown("reboot option"))?,
        baseline,
        patch_group: patch_group.map(|group| group.to_string()).unwrap_or_default(),
        snapshot_id: text(inputs, "snapshotId"),
        reboot_policy,
    })
}

/// What the tags say about reboots: the node's, else its baseline's. `None`: nothing.
async fn reboot_policy(
    context: &Context,
    of_node: &Tags,
    baseline: &PatchBaseline,
) -> Result<Option<RebootPolicy>, Error> {
    let said = |tags: &Tags| extension_value(tags, REBOOT_POLICY).and_then(RebootPolicy::parse);
    if let Some(policy) = said(of_node) {
        return Ok(Some(policy));
    }
    // Predefined baselines carry no tags.
    if baseline.owner != BaselineOwner::Own {
        return Ok(None);
    }
    let resource = nodes::TagResource::baseline(&baseline.id);
    Ok(said(&context.server.store.tags_get(&context.scope, &resource).await?.row))
}

/// The operating system that a node's baseline is chosen by. One without a name in SSM counts as Debian: the node itself
/// then says what it cannot do.
pub(crate) fn operating_system(node: &ManagedNode) -> Option<OperatingSystem> {
    let distribution = Distribution {
        id: node.facts.distribution_id.clone(),
        version_id: node.facts.distribution_version_id.clone(),
        ..Distribution::default()
    };
    OperatingSystem::of(&distribution).or(Some(OperatingSystem::Debian))
}
