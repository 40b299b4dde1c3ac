use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How a command ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Whether it ended with code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Its standard output as text, end trimmed.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Its standard error as text, end trimmed.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }

    /// Its standard output, if it ended with code 0.
    ///
    /// # Errors
    /// When it did not; the text has `what`, the code and both outputs.
    pub fn expect_success(&self, what: &str) -> anyhow::Result<String> {
        if !self.succeeded() {
            let code = self.code.map_or("a signal".to_owned(), |code| format!("code {code}"));
            bail!("{what} ended with {code}\n{}\n{}", self.stdout_text(), self.stderr_text());
        }
        Ok(self.stdout_text())
    }
}

/// Runs a command without input to its end.
///
/// # Errors
/// When it cannot be started, or is not done within `bound` (it is then killed).
pub fn run_bounded(command: &mut Command, bound: Duration) -> anyhow::Result<Finished> {
    run_bounded_with_input(command, &[], bound)
}

/// Runs a command with `input` on its standard input to its end.
///
/// # Errors
/// When it cannot be started, or is not done within `bound` (it is then killed).
pub fn run_bounded_with_input(command: &mut Command, input: &[u8], bound: Duration) -> anyhow::Result<Finished> {
    let until = Instant::now() + bound;
    let shown = format!("{command:?}");
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A command that does not read its input is no error of ours: its exit code tells.
        thread::spawn(move || stdin.write_all(&input));
    }
    let stdout = child.stdout.take().map(read_aside);
    let stderr = child.stderr.take().map(read_aside);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let stdout = collect(stdout);
    let stderr = collect(stderr);
    let Some(status) = status else {
        bail!(
            "{shown} was not done after {} s and was killed\n{}\n{}",
            bound.as_secs(),
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    };
    Ok(Finished { code: status.code(), stdout, stderr })
}

/// Reads to the end on a thread of its own and sends what came, piece by piece.
fn read_aside(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer.get(..count).unwrap_or_default().to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// What a reader collected. A grandchild that keeps the pipe open is waited for a second, no longer.
fn collect(receiver: Option<mpsc::Receiver<Vec<u8>>>) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(receiver) = receiver {
        while let Ok(piece) = receiver.recv_timeout(Duration::from_secs(1)) {
            all.extend(piece);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_code_and_input_come_through() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo oh >&2; exit 3"]);
        let finished = run_bounded_with_input(&mut command, b"ah", Duration::from_secs(10)).unwrap();
        assert_eq!(finished, Finished { code: Some(3), stdout: b"ah".to_vec(), stderr: b"oh\n".to_vec() });
        assert!(finished.expect_success("sh").unwrap_err().to_string().starts_with("sh ended with code 3"));
    }

    #[test]
    fn a_command_that_does_not_end_is_killed() {
        let error = run_bounded(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("was killed"), "{error}");
    }
}
