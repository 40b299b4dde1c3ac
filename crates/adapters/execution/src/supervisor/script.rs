//! A script: how it is started, listened to and ended.

use super::output::BoundedFile;
use super::transaction::Transactions;
use super::tree;
use crate::cgroup::StepGroup;
use crate::{ExecutionError, JobContext, Stop, durable};
use identifiers::{CommandId, RequestId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitStatus};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the supervisor sleeps at most while a script is silent: the delay of a cancellation.
const PATIENCE_MAX: Duration = Duration::from_millis(200);
/// How often is looked whether a script in a control group with limits runs a package transaction.
const FREE_PAUSE: Duration = Duration::from_secs(1);
/// The environment that scripts do not inherit: secrets of the process that started the agent.
const SECRETS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// A script step's surroundings.
pub(super) struct Script<'a> {
    pub(super) lines: &'a [String],
    pub(super) working_directory: &'a str,
    pub(super) command_id: &'a CommandId,
    pub(super) request_id: &'a RequestId,
    pub(super) context: &'a JobContext,
    pub(super) job_path: &'a Path,
    pub(super) step_path: &'a Path,
    /// The control group of its processes, where there is one.
    pub(super) group: Option<&'a StepGroup>,
}

/// How a script ended.
pub(super) enum ScriptEnd {
    /// By itself.
    Exited(i32),
    /// By a signal that nobody here sent.
    Signalled(i32),
    /// It was killed with all its descendants, but for package transactions, which came to their end.
    Stopped { why: Stop, all_gone: bool, transaction: bool },
    /// It could not be started.
    NotStarted(String),
}

/// The streams that processes left by scripts still hold; someone must read them, or their writers would stall or be
/// killed by SIGPIPE when the supervisor ends.
#[derive(Default)]
pub(super) struct Leftovers(Vec<JoinHandle<()>>);

impl Leftovers {
    fn drain(&mut self, mut stream: Box<dyn Read + Send>) {
        let read_on = move || {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        };
        if let Ok(thread) = std::thread::Builder::new().stack_size(64 << 10).spawn(read_on) {
            self.0.push(thread);
        }
    }

    /// Returns when nobody holds a stream any more.
    pub(super) fn wait(self) {
        while self.0.iter().any(|thread| !thread.is_finished()) {
            tree::reap(|_, _| ());
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// One stream of a running script.
struct Stream<'a, R> {
    pipe: Option<R>,
    file: &'a mut BoundedFile,
}

impl<R: Read + AsFd> Stream<'_, R> {
    /// Takes what has come; the pipe goes when its last writer has.
    fn take(&mut self, buffer: &mut [u8]) {
        let Some(pipe) = &mut self.pipe else { return };
        match pipe.read(buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                let _ = self.file.write_all(buffer.get(..count).unwrap_or_default());
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => self.pipe = None,
        }
    }
}

/// Runs a script to its end. `spawned` is told its process group as soon as there is one.
pub(super) fn run(
    script: &Script<'_>,
    (stdout, stderr): (&mut BoundedFile, &mut BoundedFile),
    stop: &dyn Fn() -> Option<Stop>,
    leftovers: &mut Leftovers,
    spawned: impl FnOnce(i32),
) -> Result<ScriptEnd, ExecutionError> {
    let mut command = prepared(script)?;
    if let Some(group) = script.group {
        group.enter(&mut command);
    }
    let spared = tree::children();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Ok(ScriptEnd::NotStarted(format!("the script could not be started: {e}"))),
    };
    spawned(i32::try_from(child.id()).unwrap_or(0));
    let mut out = Stream { pipe: child.stdout.take(), file: stdout };
    let mut err = Stream { pipe: child.stderr.take(), file: stderr };
    let end = listen(&child, (&mut out, &mut err), stop, &spared, script.group);
    // What the pipes still hold was written before the end; more than a pipe's capacity is a leftover's chatter.
    let mut buffer = vec![0; 64 << 10];
    for _ in 0..32 {
        if !readable(&mut out, &mut err, Duration::ZERO, &mut buffer) {
            break;
        }
    }
    if let Some(pipe) = out.pipe.take() {
        leftovers.drain(Box::new(pipe));
    }
    if let Some(pipe) = err.pipe.take() {
        leftovers.drain(Box::new(pipe));
    }
    Ok(end)
}

/// Waits for the script's end or for a reason to end it.
fn listen<A: Read + AsFd, B: Read + AsFd>(
    child: &Child,
    (out, err): (&mut Stream<'_, A>, &mut Stream<'_, B>),
    stop: &dyn Fn() -> Option<Stop>,
    spared: &BTreeSet<i32>,
    group: Option<&StepGroup>,
) -> ScriptEnd {
    let mut buffer = vec![0; 64 << 10];
    let mut patience = Duration::from_millis(2);
    let mut freed_at = Instant::now();
    loop {
        let heard = readable(out, err, patience, &mut buffer);
        patience = if heard { Duration::from_millis(2) } else { (patience * 2).min(PATIENCE_MAX) };
        let mut end = None;
        tree::reap(|pid, status| end = end.or_else(|| end_of(child, pid, status)));
        if let Some(code) = end {
            return code.map_or_else(ScriptEnd::Signalled, ScriptEnd::Exited);
        }
        if let Some(why) = stop() {
            return end_tree(why, (out, err), spared, group, &mut buffer);
        }
        if let Some(group) = group.filter(|_| freed_at.elapsed() >= FREE_PAUSE) {
            let processes = group.processes();
            group.free(&Transactions::among(&processes, &tree::processes()).running);
            freed_at = Instant::now();
        }
    }
}

/// Kills everything below this process except the trees of the `spared` and package transactions, which it waits for. What they
/// all say is still taken: a transaction whose pipe is full would not come to its end.
fn end_tree<A: Read + AsFd, B: Read + AsFd>(
    why: Stop,
    (out, err): (&mut Stream<'_, A>, &mut Stream<'_, B>),
    spared: &BTreeSet<i32>,
    group: Option<&StepGroup>,
    buffer: &mut [u8],
) -> ScriptEnd {
    let mut until = Instant::now() + tree::KILL_PATIENCE;
    let mut transaction = false;
    loop {
        tree::reap(|_, _| ());
        // Again and again: a process may have forked after it was seen and before it was killed.
        let table = tree::processes();
        let left = tree::own_descendants(&table, spared);
        let kept = Transactions::among(&left, &table);
        let victims = &left - &kept.all();
        if victims.is_empty() && kept.running.is_empty() {
            return ScriptEnd::Stopped { why, all_gone: true, transaction };
        }
        if !kept.running.is_empty() {
            // However long it takes.
            transaction = true;
            until = Instant::now() + tree::KILL_PATIENCE;
        }
        if let Some(group) = group {
            group.free(&kept.all());
            // At once, unless somebody is in it who is to live.
            if group.processes().is_disjoint(&kept.all()) {
                group.kill();
            }
        }
        tree::kill(&victims, &kept.all(), &table);
        if Instant::now() >= until {
            return ScriptEnd::Stopped { why, all_gone: false, transaction };
        }
        if !readable(out, err, if victims.is_empty() { PATIENCE_MAX } else { tree::LOOK_AGAIN }, buffer) {
            // Without streams the wait above may have been none.
            std::thread::sleep(tree::LOOK_AGAIN);
        }
    }
}

/// The exit code of the script's shell, or the signal that ended it; `None` for other processes.
fn end_of(child: &Child, pid: Pid, status: WaitStatus) -> Option<Result<i32, i32>> {
    if u32::try_from(pid.as_raw_nonzero().get()).ok() != Some(child.id()) {
        return None;
    }
    status.exit_status().map(Ok).or_else(|| status.terminating_signal().map(Err))
}

/// Waits for output, takes it, and says whether there was any; without streams it only waits.
fn readable<A: Read + AsFd, B: Read + AsFd>(
    out: &mut Stream<'_, A>,
    err: &mut Stream<'_, B>,
    patience: Duration,
    buffer: &mut [u8],
) -> bool {
    let mut ready = [false, false];
    {
        let mut fds = Vec::with_capacity(2);
        let mut which = Vec::with_capacity(2);
        if let Some(pipe) = &out.pipe {
            fds.push(PollFd::new(pipe, PollFlags::IN));
            which.push(0);
        }
        if let Some(pipe) = &err.pipe {
            fds.push(PollFd::new(pipe, PollFlags::IN));
            which.push(1);
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        if poll(&mut fds, Some(&timeout)).is_err() {
            return false;
        }
        for (fd, which) in fds.iter().zip(which) {
            if let Some(flag) = ready.get_mut::<usize>(which) {
                *flag = !fd.revents().is_empty();
            }
        }
    }
    if ready[0] {
        out.take(buffer);
    }
    if ready[1] {
        err.take(buffer);
    }
    ready[0] || ready[1]
}

/// Writes the script and says how it is run.
fn prepared(script: &Script<'_>) -> Result<Command, ExecutionError> {
    durable::create_directory(script.step_path)?;
    let path = script.step_path.join("_script.sh");
    let mut text = script.lines.join("\n");
    text.push('\n');
    let write = || {
        let _ = std::fs::remove_file(&path);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(ExecutionError::file("writing", &path))?;
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(quoted(&path));
    command.current_dir(working_directory(script)?);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CAREEN_") || SECRETS.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command.env("AWS_SSM_INSTANCE_ID", script.context.node_id.as_str());
    command.env("AWS_SSM_REGION_NAME", &script.context.region);
    command.env("AWS_SSM_PLATFORM_NAME", &script.context.platform_name);
    command.env("AWS_SSM_PLATFORM_VERSION", &script.context.platform_version);
    command.env("SSM_COMMAND_ID", script.command_id.as_str());
    // Ours: what a script logs elsewhere can be found by the id that the API gave to who sent it.
    command.env("CAREEN_REQUEST_ID", script.request_id.as_str());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    Ok(command)
}

/// An absolute directory as it is; a relative one below the job's `downloads` where it exists; else the job's own.
fn working_directory(script: &Script<'_>) -> Result<std::path::PathBuf, ExecutionError> {
    let wanted = Path::new(script.working_directory);
    if wanted.is_absolute() {
        return Ok(wanted.to_owned());
    }
    let downloads = script.job_path.join("downloads").join(wanted);
    let inside = wanted.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if inside && !script.working_directory.is_empty() && downloads.is_dir() {
        return Ok(downloads);
    }
    let own = script.job_path.join("work");
    durable::create_directory(&own)?;
    Ok(own)
}

/// A path as one word of the shell.
fn quoted(path: &Path) -> OsString {
    let mut word = OsString::from("'");
    let mut first = true;
    for part in path.as_os_str().as_encoded_bytes().split(|byte| *byte == b'\'') {
        if !first {
            word.push("'\\''");
        }
        first = false;
        word.push(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(part));
    }
    word.push("'");
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_it_holds() {
        assert_eq!(quoted(Path::new("/a b/c")), OsString::from("'/a b/c'"));
        assert_eq!(quoted(Path::new("/it's")), OsString::from("'/it'\\''s'"));
    }
}
