//! `careen up`: server, agent and a first scan on this machine, and what came of it, in plain words.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use access::Principal;
use agent::{AgentOptions, RegisterOptions, ServerAddress};
use anyhow::{Context as _, Result, bail};
use aws_wire::ssm::{CreateActivationRequest, SendCommandRequest};
use clap::Args;
use commands::InvocationState;
use control::{Context, Server, perform};
use identifiers::{ActivationId, CommandId, NodeId};
use patching::{PatchRow, PatchState, PlanNote, Reason};
use store::PatchQuery;

use crate::{
    admin,
    configuration::{Configuration, ServerOptions, is_root},
    serve::{self, Running},
    server_log::{self, LogFormat},
    terminal::{Progress, say},
};

/// How long the first scan may take before the summary says that it is still running.
const SCAN_MAX: Duration = Duration::from_secs(600);

/// How long the agent may take to close its connection.
const AGENT_END_MAX: Duration = Duration::from_secs(5);

/// How many missing patches are listed; the rest is counted.
const LISTED_MAX: usize = 25;

/// The flags of `careen up`.
#[derive(Args)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    server: ServerOptions,
    /// The command that reboots this machine when a patch run may [default: systemctl reboot, else /sbin/reboot]
    #[arg(long, value_name = "COMMAND", env = "CAREEN_REBOOT_COMMAND")]
    reboot_command: Option<String>,
}

pub(crate) async fn run(options: UpOptions) -> Result<()> {
    server_log::start("warn", LogFormat::Text);
    let mut signals = serve::Signals::listen()?;
    let configuration = Configuration::read(&options.server)?;
    let mut progress = Progress::new();
    progress.now("Starting the server");
    let running = Running::start(configuration).await?;
    let data = running.configuration.data.join("agent");
    let enrolled = async {
        progress.now("Enrolling this machine");
        enrol(&running, &data).await
    };
    let node_id = tokio::select! {
        enrolled = enrolled => enrolled,
        () = signals.arrived() => return running.stop().await,
    };
    let node_id = match node_id {
        Ok(node_id) => node_id,
        Err(error) => return running.stop().await.and(Err(error)),
    };
    let agent = start_agent(data, options.reboot_command.as_deref());
    let result = tokio::select! {
        result = everything(&running, &node_id, &agent, &mut progress) => result,
        () = signals.arrived() => Ok(()),
    };
    progress.done();
    // What the agent's supervisors run goes on, and is taken up at the next start.
    agent.end().await;
    running.stop().await.and(result)
}

/// From the agent's first call to the summary; then until the agent ends, which it should not.
async fn everything(running: &Running, node_id: &NodeId, agent: &RunningAgent, progress: &mut Progress) -> Result<()> {
    let context = running.server.context(running.configuration.home.clone(), Principal::System, String::new());
    wait_for_connection(&context, node_id, agent, progress).await?;
    let scan = scan(&context, node_id, agent, progress).await?;
    progress.clear();
    summary(running, &context, node_id, &scan).await?;
    agent.until_it_ends().await
}

/// The agent beside the server.
struct RunningAgent {
    shutdown: agent::Shutdown,
    ended: tokio::sync::watch::Receiver<Option<String>>,
}

impl RunningAgent {
    /// Completes only if the agent ends by itself, with what it said.
    async fn until_it_ends(&self) -> Result<()> {
        let mut ended = self.ended.clone();
        let said = match ended.wait_for(Option::is_some).await {
            Ok(said) => said.clone().unwrap_or_default(),
            Err(_) => "its task stopped".to_owned(),
        };
        bail!("the agent has ended: {said}")
    }

    /// Tells it to end and waits until its connection is closed.
    async fn end(mut self) {
        self.shutdown.tell();
        let _ = tokio::time::timeout(AGENT_END_MAX, self.ended.wait_for(Option::is_some)).await;
    }
}

fn start_agent(data: PathBuf, reboot_command: Option<&str>) -> RunningAgent {
    let mut options = AgentOptions::new(data, agent::own_program(&["agent"]));
    options.log_to_stderr = false;
    // The server is this very process: it is there, or comes back at once.
    options.reconnect_seconds_max = 2;
    options.reboot_command = reboot_command.map(|text| text.split_whitespace().map(str::to_owned).collect());
    let shutdown = agent::Shutdown::new();
    let (tell, ended) = tokio::sync::watch::channel(None);
    let running = agent::run(options, shutdown.clone());
    tokio::spawn(async move {
        let said = running.await.err().map_or_else(|| "it was told to".to_owned(), |error| error.to_string());
        let _ = tell.send(Some(said));
    });
    RunningAgent { shutdown, ended }
}

/// Registers this machine, unless it is registered already with this very server at this address.
async fn enrol(running: &Running, data: &Path) -> Result<NodeId> {
    let context = running.server.context(running.configuration.home.clone(), Principal::System, String::new());
    if let Ok(identity) = agent::Identity::load(data) {
        let known = running.server.store.node_get(&context.scope, &identity.node_id).await?;
        let ours = running.server.keys.ring().is_identity(&identity.identity_key.0);
        let here = identity.server == server_address(running)?.to_string();
        if ours && here && known.row.is_some_and(|row| row.state == nodes::NodeState::Registered) {
            return Ok(identity.node_id);
        }
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let answer = perform(
        &context,
        CreateActivationRequest {
            iam_role: Some("careen-up".to_owned()),
            description: Some("the machine that careen up was started on".to_owned()),
            default_instance_name: Some(host.trim().to_owned()).filter(|name| !name.is_empty()),
            ..CreateActivationRequest::default()
        },
    )
    .await?;
    let code = answer.activation_code.map(aws_wire::Sensitive::into_exposed).unwrap_or_default();
    let options = RegisterOptions {
        servers: vec![server_address(running)?],
        reach: agent::Reach::default(),
        activation_id: ActivationId::parse(&answer.activation_id.unwrap_or_default())?,
        activation_code: agent_wire::ActivationCode::parse(&code)?,
        data_directory: data.to_owned(),
        force: true,
    };
    agent::register(&options).await.context("this machine could not be enrolled")
}

fn server_address(running: &Running) -> Result<ServerAddress> {
    Ok(ServerAddress::parse(&running.configuration.url(|purposes| purposes.agents))?)
}

async fn wait_for_connection(
    context: &Context,
    node: &NodeId,
    agent: &RunningAgent,
    progress: &mut Progress,
) -> Result<()> {
    progress.now("Waiting for the agent to connect");
    let connected = async {
        while !context.server.is_connected(node) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = connected => Ok(()),
        result = agent.until_it_ends() => result,
        () = tokio::time::sleep(Duration::from_secs(60)) => bail!("the agent has not connected within a minute; its log is in the data folder: agent/agent.log"),
    }
}

/// A scan that has ended, or is still running.
struct Scan {
    state: InvocationState,
    trace: String,
}

async fn scan(context: &Context, node: &NodeId, agent: &RunningAgent, progress: &mut Progress) -> Result<Scan> {
    progress.now("Scanning: asking the archives what is new, comparing with what is installed");
    let parameters = [("Operation".to_owned(), vec!["Scan".to_owned()])];
    let sent = perform(
        context,
        SendCommandRequest {
            document_name: Some("AWS-RunPatchBaseline".to_owned()),
            instance_ids: Some(vec![node.to_string()]),
            comment: Some("the first look of careen up".to_owned()),
            parameters: Some(aws_wire::Sensitive::from(
                parameters.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            )),
            ..SendCommandRequest::default()
        },
    )
    .await?;
    let command = CommandId::parse(&sent.command.and_then(|command| command.command_id).unwrap_or_default())?;
    let started = tokio::time::Instant::now();
    loop {
        let found = context.server.store.invocation_get(&context.scope, &command, node).await?.row;
        let row = found.context("the scan's invocation is gone")?;
        if row.state.is_ended() || started.elapsed() > SCAN_MAX {
            return Ok(Scan { state: row.state, trace: row.trace });
        }
        progress.now(&format!("Scanning this machine: {} ({} s)", row.state.status(), started.elapsed().as_secs()));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            result = agent.until_it_ends() => result?,
        }
    }
}

async fn summary(running: &Running, context: &Context, node: &NodeId, scan: &Scan) -> Result<()> {
    let server: &Arc<Server> = &running.server;
    let report = server.store.patch_summary_get(&context.scope, node).await?.row;
    let query = PatchQuery { states: vec![PatchState::Missing, PatchState::Failed], ..PatchQuery::all(100_000) };
    let missing = server.store.patch_list(&context.scope, node, &query).await?;
    say("");
    if scan.state.status() != "Success" {
        say(&format!("The scan has not succeeded ({}). {}", scan.state.status_details(), scan.trace));
        say("What follows is what was known before.");
    }
    match report {
        None => say("Nothing is known about this machine's patches yet."),
        Some(report) => {
            let summary = report.summary;
            // What was wrong with the lists belongs before any count.
            for note in summary.notes.iter().filter(|note| matches!(note, PlanNote::HostWarning { .. })) {
                say(&format!("Warning: {note}"));
            }
            say(&headline(&missing));
            say(&format!(
                "{} packages are installed: {} approved by the baseline, {} others; {} wait for a reboot. As of {}.",
                summary.installed_count
                    + summary.installed_other_count
                    + summary.installed_pending_reboot_count
                    + summary.missing_count,
                summary.installed_count,
                summary.installed_other_count,
                summary.installed_pending_reboot_count,
                summary.ended_at.to_human(),
            ));
            list(&missing);
        }
    }
    let token = server.sign_in_link().await?;
    ways_in(&running.configuration, node, &token);
    Ok(())
}

/// What the person at the terminal can do next.
fn ways_in(configuration: &Configuration, node: &NodeId, token: &str) {
    if !is_root() {
        say("");
        say(
            "Not running as root: this machine can be scanned, but nothing can be installed. Start it as root for that.",
        );
    }
    say("");
    say("Open the console (this link signs you in once, within 15 minutes):");
    say(&format!("  {}", admin::sign_in_url(configuration, token)));
    say("To sign in with a password from then on, set one: careen admin password");
    say("");
    say("Or use the AWS CLI:");
    say(&format!(
        "  export AWS_SHARED_CREDENTIALS_FILE={} AWS_ENDPOINT_URL={}",
        configuration.data.join("credentials").display(),
        configuration.url(|purposes| purposes.api)
    ));
    if let Some(line) = configuration.trust_line() {
        say(&format!("  {line}"));
    }
    say("  aws ssm describe-instance-information");
    say(&format!("  aws ssm describe-instance-patches --instance-id {node} --filters Key=State,Values=Missing"));
    let operation = if is_root() { "Install,RebootOption=NoReboot" } else { "Scan" };
    say(&format!(
        "  aws ssm send-command --document-name AWS-RunPatchBaseline --instance-ids {node} --parameters Operation={operation}"
    ));
    say("");
    say("Ctrl-C ends the server and the agent; a running package installation goes on.");
}

fn headline(missing: &[PatchRow]) -> String {
    let security = missing.iter().filter(|row| row.classification == "Security").count();
    match (missing.len(), security) {
        (0, _) => "No approved update is missing on this machine.".to_owned(),
        (1, 1) => "1 security update is missing on this machine.".to_owned(),
        (all, security) if all == security => format!("{all} security updates are missing on this machine."),
        (all, security) => format!("{all} updates are missing on this machine, {security} of them for security."),
    }
}

fn list(missing: &[PatchRow]) {
    if missing.is_empty() {
        return;
    }
    let width =
        |text: fn(&PatchRow) -> &str, max: usize| missing.iter().map(|row| text(row).len()).max().unwrap_or(0).min(max);
    let (name, from) = (width(|row| &row.name, 40), width(|row| &row.installed_version, 30));
    say("");
    for row in missing.iter().take(LISTED_MAX) {
        let to = row.available_version.as_deref().unwrap_or_default();
        let urgency = if row.classification.is_empty() { "update" } else { &row.classification };
        // That a rule approves it goes without saying; what keeps it back does not.
        let why = match row.reason {
            Reason::ApprovedByRule { .. } => String::new(),
            ref other => format!("  ({other})"),
        };
        say(&format!("  {urgency:9} {:name$}  {:from$} -> {to}{why}", row.name, row.installed_version));
    }
    if missing.len() > LISTED_MAX {
        say(&format!("  … and {} more; the console and the AWS CLI list all.", missing.len() - LISTED_MAX));
    }
}
