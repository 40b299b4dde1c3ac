//! The unmodified AWS CLI and raw requests signed by botocore, in one child process (`clients.py`).

use std::cell::RefCell;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

/// Longer than the child's own bound.
const ANSWER_BOUND: Duration = Duration::from_secs(90);

/// The AWS CLI of this test run.
pub(crate) fn aws_program() -> PathBuf {
    let named = std::env::var_os("CAREEN_TEST_AWS");
    PathBuf::from(named.expect("CAREEN_TEST_AWS names no AWS CLI: run `cargo xtask test`, which prepares one"))
}

/// Keeps what this machine's own AWS settings say out of a client's environment.
pub(crate) fn isolate(command: &mut Command, home: &Path) {
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.to_str().is_some_and(|name| name.starts_with("AWS_"))) {
        command.env_remove(name);
    }
    command.env("HOME", home).env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_PAGER", "").env("TZ", "UTC");
}

/// How one call of the CLI ended.
#[derive(Debug, Deserialize)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The answer to one raw request.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// Status and error code of an awsJson1.1 answer.
    pub(crate) fn error(&self) -> (u16, String) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        (self.status, body["__type"].as_str().unwrap_or_default().to_owned())
    }
}

/// A raw request.
#[derive(Clone)]
pub(crate) struct Request(Value);

impl Request {
    pub(crate) fn new(address: &str, method: &str, path: &str) -> Self {
        Self(json!({
            "address": address, "method": method, "path": path, "headers": {}, "headers_afterwards": {},
            "body": "", "body_bytes": 0, "key": null, "region": "us-east-1", "service": "ssm",
        }))
    }

    /// An awsJson1.1 request of SSM.
    pub(crate) fn ssm(address: &str, operation: &str, body: &str) -> Self {
        Self::new(address, "POST", "/")
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", &format!("AmazonSSM.{operation}"))
            .body(body)
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.0["headers"][name] = value.into();
        self
    }

    /// A header that is set when the request has been signed.
    pub(crate) fn header_afterwards(mut self, name: &str, value: &str) -> Self {
        self.0["headers_afterwards"][name] = value.into();
        self
    }

    pub(crate) fn body(self, body: &str) -> Self {
        self.with("body", body)
    }

    /// A body of so many bytes of no meaning.
    pub(crate) fn body_bytes(self, count: usize) -> Self {
        self.with("body", Value::Null).with("body_bytes", count)
    }

    pub(crate) fn signed(self, key: &(String, String)) -> Self {
        self.with("key", vec![key.0.clone(), key.1.clone()])
    }

    pub(crate) fn region(self, region: &str) -> Self {
        self.with("region", region)
    }

    pub(crate) fn service(self, service: &str) -> Self {
        self.with("service", service)
    }
}

/// The clients of one server.
pub(crate) struct Clients {
    child: Child,
    pipes: RefCell<(ChildStdin, Receiver<String>)>,
    endpoint: String,
    /// What the calls that follow are made with besides.
    pub(crate) environment: RefCell<Vec<(String, String)>>,
}

impl Clients {
    /// `data` is the server's folder, whose credentials file is all that the CLI is given besides the endpoint.
    pub(crate) fn new(address: &str, data: &Path, home: &Path) -> Self {
        let python = aws_program().parent().unwrap().join("python3");
        let script = home.join("clients.py");
        std::fs::write(&script, include_str!("clients.py")).unwrap();
        let mut command = Command::new(python);
        isolate(&mut command, home);
        command.arg(&script).env("AWS_SHARED_CREDENTIALS_FILE", data.join("credentials"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the AWS CLI's own python runs");
        let (sender, answers) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let pipes = RefCell::new((child.stdin.take().unwrap(), answers));
        Self { child, pipes, endpoint: format!("http://{address}"), environment: RefCell::default() }
    }

    fn ask<T: for<'de> Deserialize<'de>>(&self, question: &Value) -> T {
        let (stdin, answers) = &mut *self.pipes.borrow_mut();
        writeln!(stdin, "{question}").expect("the clients' process takes questions");
        let line = answers.recv_timeout(ANSWER_BOUND).unwrap_or_else(|_| panic!("no answer in time to {question}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Runs `aws --endpoint-url … ARGUMENTS` with a signer whose clock is wrong by so many seconds.
    fn run(&self, arguments: &[&str], clock_seconds: i64) -> Ended {
        let mut all = vec!["--endpoint-url", &self.endpoint, "--output", "json"];
        all.extend(arguments);
        let environment: serde_json::Map<String, Value> =
            self.environment.borrow().iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        self.ask(&json!({"aws": all, "environment": environment, "clock_seconds": clock_seconds}))
    }

    /// What `aws ARGUMENTS` answers; it must succeed.
    #[track_caller]
    pub(crate) fn aws(&self, arguments: &[&str]) -> Value {
        let ended = self.run(arguments, 0);
        assert!(ended.code == 0 && ended.stderr.is_empty(), "aws {arguments:?} ended so: {ended:?}");
        if ended.stdout.trim().is_empty() { Value::Null } else { serde_json::from_str(&ended.stdout).unwrap() }
    }

    /// What `aws ARGUMENTS --query QUERY` gives.
    #[track_caller]
    pub(crate) fn query(&self, query: &str, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--query", query]);
        self.aws(&all)
    }

    /// Code and message of the error that `aws ARGUMENTS` must end with.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> (String, String) {
        self.refused_with_clock(arguments, 0)
    }

    #[track_caller]
    pub(crate) fn refused_with_clock(&self, arguments: &[&str], clock_seconds: i64) -> (String, String) {
        let ended = self.run(arguments, clock_seconds);
        let error = ended.stderr.split_once("An error occurred (").and_then(|(_, rest)| rest.split_once(')'));
        let Some((code, rest)) = error.filter(|_| ended.code != 0 && ended.stdout.is_empty()) else {
            panic!("aws {arguments:?} was not refused by the server: {ended:?}");
        };
        (code.to_owned(), rest.split_once("operation: ").unwrap_or_default().1.trim().to_owned())
    }

    /// Asserts that `aws ARGUMENTS` is refused with this code, in words that contain `words`.
    #[track_caller]
    pub(crate) fn refuses(&self, arguments: &[&str], code: &str, words: &str) {
        let (found, message) = self.refused(arguments);
        assert!(found == code && message.contains(words), "aws {arguments:?}: {found}: {message}");
    }

    /// Sends requests at the same time.
    pub(crate) fn send_all(&self, requests: &[Request], clock_seconds: i64) -> Vec<Answer> {
        let all: Vec<&Value> = requests.iter().map(|request| &request.0).collect();
        self.ask(&json!({"requests": all, "clock_seconds": clock_seconds}))
    }

    /// Sends one request.
    pub(crate) fn send(&self, request: &Request) -> Answer {
        self.send_all(std::slice::from_ref(request), 0).remove(0)
    }

    /// Runs `inside` with variables more in the CLI's environment.
    pub(crate) fn with_environment<T>(&self, variables: &[(&str, &str)], inside: impl FnOnce() -> T) -> T {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let before = self.environment.replace(owned);
        let result = inside();
        self.environment.replace(before);
        result
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The texts of a JSON list.
#[track_caller]
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    let items = value.as_array().unwrap_or_else(|| panic!("not a list: {value}"));
    items.iter().map(|item| item.as_str().unwrap_or_else(|| panic!("not a text: {item}"))).collect()
}

/// The text of a JSON value.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
