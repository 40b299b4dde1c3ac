//! The agent's commands.

use crate::patching_host::{self, LiveHost};
use crate::policy::{self, InForce};
use crate::{
    AgentError, AgentOptions, AgentStatus, Connectedness, Proxy, Reach, RegisterOptions, ServerAddress, Shutdown,
    default_data_directory, read_status, register,
};
use agent_wire::ActivationCode;
use execution::JobFolder;
use identifiers::ActivationId;
use lexopt::prelude::*;
use patching::RebootPolicy;
use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Usage:
  careen-agent register --server URL... --activation-id ID [--activation-code-file FILE | --activation-code CODE]
                        [--ca-file FILE] [--proxy URL] [--no-proxy LIST] [--data DIR] [--force]
      Makes this host a managed node. Without a code option the code is read from standard input. Several --server are
      tried in turn. FILE has the authorities (PEM) that count where a balancer answers in the server's place; the
      proxy is kept for 'run', where HTTPS_PROXY, HTTP_PROXY and NO_PROXY go before it.
  careen-agent run [--data DIR] [--reboot-command 'PROGRAM ARGUMENT...'] [--reboot-policy needed|aws]
                   [--reconnect-seconds-max N] [--node-key-days N]
      Runs the agent until SIGTERM or SIGINT. Running jobs go on without it.
  careen-agent status [--data DIR] [--json]
      Says how the agent is. Exit code 0: connected; 1: not connected; 3: no agent runs; 4: not registered.
  careen-agent policy check [FILE] [--data DIR]
      Reads the node's policy, or FILE, and says in words what it allows. Exit code 0: it can be used; 1: it cannot.
  careen-agent doctor [--data DIR] [--json]
      Checks every prerequisite and says what to do; works while the agent is down. Exit code 0: all is well; 1: somebody
      should look; 2: something keeps it from working.
  careen-agent --version | --help

DIR is /var/lib/careen-agent for root, else careen-agent in the user's data folder.
";

/// What reading a host's packages may take, in bytes.
const READING_BYTES_MAX: u64 = 48 << 20;

/// Something that ends a command with a text for people.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}\nTry --help.")]
    Usage(String),
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl From<lexopt::Error> for CommandError {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Runs the agent's command line. `program`: what starts it (see [`crate::own_program`]); `arguments`: what follows.
pub fn command_line(program: &[OsString], arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match command(program, lexopt::Parser::from_args(arguments)) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "careen-agent: {error}");
            ExitCode::from(if matches!(error, CommandError::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn command(program: &[OsString], mut parser: lexopt::Parser) -> Result<ExitCode, CommandError> {
    match parser.next()? {
        Some(Value(word)) => match word.to_str() {
            Some("register") => register_command(parser),
            Some("run") => run_command(program, parser),
            Some("status") => status_command(parser),
            Some("policy") => policy_command(parser),
            Some("doctor") => doctor_command(parser),
            Some("supervise") => supervise_command(parser),
            Some("inventory") => inventory_command(parser),
            _ => Err(CommandError::Usage(format!("no such command: {}", word.to_string_lossy()))),
        },
        Some(Long("help") | Short('h')) => say(USAGE),
        Some(Long("version") | Short('V')) => say(&format!("careen-agent {}\n", env!("CARGO_PKG_VERSION"))),
        Some(other) => Err(other.unexpected().into()),
        None => Err(CommandError::Usage("no command".to_owned())),
    }
}

fn say(text: &str) -> Result<ExitCode, CommandError> {
    // A reader that has gone away wanted no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn privileged() -> bool {
    patching_host::live(std::path::Path::new("")).privileged
}

fn register_command(mut parser: lexopt::Parser) -> Result<ExitCode, CommandError> {
    let (mut servers, mut reach) = (Vec::new(), Reach::default());
    let (mut id, mut code, mut file, mut data, mut force) = (None, None, None, None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("server") => {
                let text = parser.value()?.string()?;
                servers.push(ServerAddress::parse(&text).map_err(|e| CommandError::Usage(e.to_string()))?);
            }
            Long("ca-file") => {
                let path = std::path::absolute(parser.value()?);
                reach.ca_file = Some(path.map_err(|e| CommandError::Usage(format!("--ca-file: {e}")))?);
            }
            Long("proxy") => {
                let proxy = Proxy::parse(&parser.value()?.string()?);
                reach.proxy = Some(proxy.map_err(|e| CommandError::Usage(format!("--proxy: {e}")))?);
            }
            Long("no-proxy") => reach.no_proxy = parser.value()?.string()?,
            Long("activation-id") => {
                let text = parser.value()?.string()?;
                id = Some(ActivationId::parse(&text).map_err(|e| CommandError::Usage(e.to_string()))?);
            }
            Long("activation-code") => code = Some(parser.value()?.string()?),
            Long("activation-code-file") => file = Some(PathBuf::from(parser.value()?)),
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Long("force") => force = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let missing = |name: &str| CommandError::Usage(format!("{name} is missing"));
    if servers.is_empty() {
        return Err(missing("--server"));
    }
    let activation_id = id.ok_or_else(|| missing("--activation-id"))?;
    let options = RegisterOptions {
        servers,
        reach,
        activation_id,
        activation_code: activation_code(code, file)?,
        data_directory: data.unwrap_or_else(|| default_data_directory(privileged())),
        force,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|e| AgentError::system("starting the event loop", e))?;
    let node_id = runtime.block_on(register(&options))?;
    say(&format!("registered as {node_id} in {}\n", options.data_directory.display()))
}

fn activation_code(code: Option<String>, file: Option<PathBuf>) -> Result<ActivationCode, CommandError> {
    /// A code has 64 characters; what is much longer is not read whole.
    const CODE_BYTES_MAX: u64 = 4096;
    let text = match (code, file) {
        (Some(_), Some(_)) => {
            return Err(CommandError::Usage(
                "--activation-code and --activation-code-file exclude each other".to_owned(),
            ));
        }
        (Some(code), None) => code,
        (None, Some(path)) => {
            let bytes = execution::durable::read(&path, CODE_BYTES_MAX).map_err(AgentError::from)?;
            let bytes = bytes.ok_or_else(|| CommandError::Usage(format!("{} is not there", path.display())))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        (None, None) => {
            let mut input = std::io::stdin();
            if input.is_terminal() {
                let _ = writeln!(std::io::stderr(), "Activation code, then Ctrl-D:");
            }
            let mut text = String::new();
            let read = Read::take(&mut input, CODE_BYTES_MAX).read_to_string(&mut text);
            read.map_err(|e| AgentError::system("reading the activation code", e))?;
            text
        }
    };
    ActivationCode::parse(&text).map_err(|e| CommandError::Usage(e.to_string()))
}

fn run_command(program: &[OsString], mut parser: lexopt::Parser) -> Result<ExitCode, CommandError> {
    let mut options = AgentOptions::new(default_data_directory(privileged()), program.to_vec());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => options.data_directory = parser.value()?.into(),
            Long("reboot-command") => {
                let words: Vec<String> = parser.value()?.string()?.split_whitespace().map(str::to_owned).collect();
                if words.is_empty() {
                    return Err(CommandError::Usage("--reboot-command is empty".to_owned()));
                }
                options.reboot_command = Some(words);
            }
            Long("reboot-policy") => options.reboot_policy = reboot_policy(&parser.value()?.string()?)?,
            Long("reconnect-seconds-max") => {
                options.reconnect_seconds_max = parser.value()?.parse()?;
                if !(1..=60).contains(&options.reconnect_seconds_max) {
                    return Err(CommandError::Usage("--reconnect-seconds-max is from 1 to 60".to_owned()));
                }
            }
            Long("node-key-days") => {
                options.node_key_days = parser.value()?.parse()?;
                if !(1..=3650).contains(&options.node_key_days) {
                    return Err(CommandError::Usage("--node-key-days is from 1 to 3650".to_owned()));
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    crate::run::run_here(options, &Shutdown::new(), true)?;
    Ok(ExitCode::SUCCESS)
}

fn reboot_policy(word: &str) -> Result<RebootPolicy, CommandError> {
    RebootPolicy::parse(word).ok_or_else(|| CommandError::Usage("--reboot-policy is 'needed' or 'aws'".to_owned()))
}

fn status_command(mut parser: lexopt::Parser) -> Result<ExitCode, CommandError> {
    let (mut data, mut json) = (None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Long("json") => json = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let directory = data.unwrap_or_else(|| default_data_directory(privileged()));
    let status = match read_status(&directory) {
        Ok(status) => status,
        Err(AgentError::NotRegistered(path)) if json => {
            say(&format!("{{\"registered\":false,\"data\":{:?}}}\n", path.to_string_lossy()))?;
            return Ok(ExitCode::from(4));
        }
        Err(e @ AgentError::NotRegistered(_)) => {
            let _ = writeln!(std::io::stderr(), "careen-agent: {e}");
            return Ok(ExitCode::from(4));
        }
        Err(e) => return Err(e.into()),
    };
    let code = match status.as_ref().map(|status| status.connection) {
        Some(Connectedness::Connected { .. }) => 0,
        Some(Connectedness::Disconnected { .. }) => 1,
        None => 3,
    };
    let text = match (&status, json) {
        (status, true) => {
            let status = serde_json::to_string(status).map_err(|e| AgentError::system("writing the status", e))?;
            format!("{{\"registered\":true,\"running\":{},\"status\":{status}}}\n", code != 3)
        }
        (Some(status), false) => for_people(status),
        (None, false) => format!("no agent is running with {}\n", directory.display()),
    };
    say(&text)?;
    Ok(ExitCode::from(code))
}

fn doctor_command(mut parser: lexopt::Parser) -> Result<ExitCode, CommandError> {
    let (mut data, mut json) = (None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Long("json") => json = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let judgements = crate::doctor::judgements(&data.unwrap_or_else(|| default_data_directory(privileged())));
    for judgement in &judgements {
        let text = match json {
            true => serde_json::to_string(judgement).map_err(|e| AgentError::system("writing a finding", e))?,
            false => judgement.line(),
        };
        say(&format!("{text}\n"))?;
    }
    Ok(ExitCode::from(diagnosis::worst(&judgements).exit_code()))
}

fn for_people(status: &AgentStatus) -> String {
    let connection = match status.connection {
        Connectedness::Connected { since } => format!("connected since {}", since.to_human()),
        Connectedness::Disconnected { since } => format!("not connected since {}", since.to_human()),
    };
    let mut lines = vec![
        format!("node         {}", status.node_id),
        format!("server       {}", status.server),
        format!("connection   {connection}"),
        format!("next         {}", status.next_action),
    ];
    if let Some((at, error)) = &status.last_error {
        lines.push(format!("last error   {}: {error}", at.to_human()));
    }
    lines.push(format!("unsent       {} messages", status.spooled_messages));
    if status.clock_offset_seconds.abs() > 60 {
        lines.push(format!("clock        the server's is {} s ahead", status.clock_offset_seconds));
    }
    let policy = if status.policy.is_empty() { "everything is allowed" } else { &status.policy };
    lines.push(format!("policy       {policy}"));
    lines.push(format!("limits       {}", status.limits));
    for job in &status.jobs {
        lines.push(format!("job          {} {}: {}", job.job_id, job.document_name, job.progress));
    }
    lines.join("\n") + "\n"
}

fn policy_command(mut parser: lexopt::Parser) -> Result<ExitCode, CommandError> {
    let (mut words, mut data) = (Vec::new(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Value(word) if words.len() < 2 => words.push(word),
            other => return Err(other.unexpected().into()),
        }
    }
    if words.first().is_none_or(|word| word != "check") {
        return Err(CommandError::Usage("say: policy check [FILE]".to_owned()));
    }
    let in_force = match words.get(1).map(PathBuf::from) {
        None => policy::in_force(&data.unwrap_or_else(|| default_data_directory(privileged()))),
        Some(path) => match policy::read(&path) {
            Ok(Some(policy)) => InForce::File(path, policy),
            Ok(None) => InForce::Broken(path, "it is not there".to_owned()),
            Err(reason) => InForce::Broken(path, reason),
        },
    };
    match in_force {
        InForce::Nothing => say("There is no policy file: everything is allowed.\n"),
        InForce::File(path, policy) => {
            say(&format!("{} can be used.\n{}\n", path.display(), policy.in_words().join("\n")))
        }
        InForce::Broken(path, reason) => {
            let _ = writeln!(std::io::stderr(), "careen-agent: {} cannot be used: {reason}", path.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Hidden: runs one job. Started by the agent.
fn supervise_command(mut parser: lexopt::Parser) -> Result<ExitCode, CommandError> {
    let (mut reboot_policy_wanted, mut data, mut folder) = (RebootPolicy::default(), None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("reboot-policy") => reboot_policy_wanted = reboot_policy(&parser.value()?.string()?)?,
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Value(path) if folder.is_none() => folder = Some(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let (Some(data), Some(folder)) = (data, folder) else {
        return Err(CommandError::Usage("supervise is for the agent itself".to_owned()));
    };
    let mut runner = LiveHost { host: patching_host::live(&data), reboot_policy: reboot_policy_wanted };
    let limits = policy::in_force(&data).limits();
    execution::supervise(&JobFolder::at(&folder), &mut runner, &limits).map_err(AgentError::from)?;
    Ok(ExitCode::SUCCESS)
}

/// Hidden: reads the host's inventory into a file, in a process of its own so that the agent stays small.
fn inventory_command(mut parser: lexopt::Parser) -> Result<ExitCode, CommandError> {
    let (mut data, mut output) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("data") => data = Some(PathBuf::from(parser.value()?)),
            Value(path) if output.is_none() => output = Some(PathBuf::from(path)),
            other => return Err(other.unexpected().into()),
        }
    }
    let (Some(data), Some(output)) = (data, output) else {
        return Err(CommandError::Usage("inventory is for the agent itself".to_owned()));
    };
    execution::bound_own_memory(READING_BYTES_MAX);
    let reading = host::read_host(&patching_host::live(&data), execution::now());
    let reading = reading.map_err(|e| AgentError::system("reading the host's packages", e))?;
    execution::durable::write_json(&output, &reading.state.inventory).map_err(AgentError::from)?;
    Ok(ExitCode::SUCCESS)
}
