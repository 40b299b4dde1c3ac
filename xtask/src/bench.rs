//! `cargo xtask bench`: the figures of the README, measured on this machine. Whole processes, CPU and peak memory as the
//! kernel counts them, the candidates taken in turns so that noise hits all alike; medians are printed.
#![allow(clippy::print_stdout, reason = "a developer's command: this is its answer")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::machine::run_visibly;

const ROUNDS: usize = 7;

/// Runs a program and prints its CPU seconds and peak KiB, as getrusage(2) counts children; fails with it, and passes on
/// what it said.
const METER: &str = "import resource,subprocess,sys
subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,check=True)
u=resource.getrusage(resource.RUSAGE_CHILDREN)
print(u.ru_utime+u.ru_stime,u.ru_maxrss)";

/// What the program `bench` of `testkit` measures: the server under load.
const UNDER_LOAD: [&str; 5] = ["requests", "heartbeats", "agents", "broadcast", "restart"];

/// Builds what is measured and measures it: everything, or what is named. Words that begin with `--`, and what follows
/// each, go to the program that makes the load.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let first_option = arguments.iter().position(|word| word.starts_with("--")).unwrap_or(arguments.len());
    let (names, options) = arguments.split_at(first_option);
    let known =
        |name: &&String| ["patch-scan", "agent"].contains(&name.as_str()) || UNDER_LOAD.contains(&name.as_str());
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        bail!("no such measurement: {unknown}; there are patch-scan, agent, {}", UNDER_LOAD.join(", "));
    }
    let chosen = |name: &str| names.is_empty() || names.iter().any(|given| given == name);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    if chosen("patch-scan") {
        build(root, &["build", "--release", "-p", "host", "--example", "patch_scan"])?;
        scans(&target.join("release/examples/patch_scan"))?;
    }
    build(root, &["build", "--release", "-p", "careen"])?;
    let careen = target.join("release/careen");
    if chosen("agent") {
        build(root, &["build", "--profile", "agent", "-p", "agent"])?;
        let agent = target.join("agent/careen-agent");
        println!("agent size: {:.2} MB", std::fs::metadata(&agent)?.len() as f64 / 1e6);
        server_and_agent(&careen, &agent)?;
    }
    let under_load: Vec<&str> = UNDER_LOAD.into_iter().filter(|name| chosen(name)).collect();
    if under_load.is_empty() {
        return Ok(());
    }
    build(root, &["build", "--release", "-p", "testkit", "--features", "sockets", "--bin", "bench"])?;
    let mut command = Command::new(target.join("release/bench"));
    run_visibly(command.arg("--careen").arg(careen).args(options).args(under_load))
}

fn build(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("cargo").args(arguments).current_dir(root).status()?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

/// What a program wrote; one that fails stops the measurement with what it said.
fn said(name: &str, command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{name} failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One root (this machine's own), no refresh: our scan beside apt's two ways to list updates.
fn scans(scan: &Path) -> anyhow::Result<()> {
    let scan = scan.to_str().context("the target folder's name is not UTF-8")?;
    let state = tempdir("scan")?;
    let state = state.to_str().context("the temporary folder's name is not UTF-8")?;
    let candidates: [(&str, Vec<&str>); 3] = [
        ("patch scan", vec![scan, "--root", "/", "--state", state]),
        ("apt list --upgradable", vec!["apt", "list", "--upgradable"]),
        ("apt-get -s dist-upgrade", vec!["apt-get", "-s", "dist-upgrade"]),
    ];
    let mut figures = vec![(Vec::new(), Vec::new()); candidates.len()];
    for _ in 0..ROUNDS {
        for ((name, command), (cpu, memory)) in candidates.iter().zip(&mut figures) {
            let text = said(name, Command::new("python3").args(["-c", METER]).args(command))?;
            let mut numbers = text.split_whitespace().map(str::parse::<f64>);
            cpu.push(numbers.next().context("no figure")??);
            memory.push(numbers.next().context("no figure")?? / 1024.0);
        }
    }
    for ((name, _), (cpu, memory)) in candidates.iter().zip(figures) {
        println!("{name}: median {:.3} CPU s, {:.0} MiB peak ({ROUNDS} runs)", median(cpu), median(memory));
    }
    Ok(())
}

/// Ends its process however the measurement goes.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tempdir(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("careen-bench-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

fn server_and_agent(careen: &Path, agent: &Path) -> anyhow::Result<()> {
    let mut starts = Vec::new();
    let data = tempdir("server")?;
    let mut last = None;
    for round in 0..ROUNDS {
        drop(last.take());
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let begun = Instant::now();
        let command = Command::new(careen)
            .args(["server", "--listen", &address, "--data"])
            .arg(&data)
            .stderr(Stdio::null())
            .spawn()?;
        last = Some((Ended(command), address.clone()));
        until_healthy(&address)?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        match round {
            0 => println!("server start, first (makes database and keys): {took:.0} ms"),
            _ => starts.push(took),
        }
    }
    println!("server start: median {:.0} ms ({} runs)", median(starts), ROUNDS - 1);
    let (_server, address) = last.context("no server")?;
    idle_agent(agent, &data, &address)
}

fn until_healthy(address: &str) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if let Ok(mut stream) = TcpStream::connect(address) {
            stream.write_all(
                format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            if answer.starts_with("HTTP/1.1 200") {
                return Ok(());
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("the server on {address} did not answer within ten seconds")
}

/// Registers an agent, lets it settle, and reads its resident memory.
fn idle_agent(agent: &Path, data: &Path, address: &str) -> anyhow::Result<()> {
    let aws = std::env::var_os("CAREEN_TEST_AWS").context("run this as: cargo xtask with-tools cargo xtask bench")?;
    let mut command = Command::new(aws);
    command
        .args(["--endpoint-url", &format!("http://{address}"), "ssm", "create-activation", "--iam-role", "bench"])
        .args(["--output", "text", "--query", "[ActivationId,ActivationCode]"])
        .env("AWS_SHARED_CREDENTIALS_FILE", data.join("credentials"));
    let text = said("create-activation", &mut command)?;
    let [id, code] = text.split_whitespace().collect::<Vec<_>>()[..] else { bail!("no activation: {text}") };
    let folder = tempdir("agent")?;
    let status = Command::new(agent)
        .args(["register", "--server", &format!("http://{address}"), "--activation-id", id, "--activation-code", code])
        .arg("--data")
        .arg(&folder)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "the agent could not be registered");
    let child = Ended(Command::new(agent).args(["run", "--data"]).arg(&folder).stderr(Stdio::null()).spawn()?);
    // Long enough for the first inventory to be sent and a heartbeat or two.
    thread::sleep(Duration::from_secs(75));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id()))?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    println!(
        "agent idle: resident {}, of it anonymous {}, threads {}",
        field("VmRSS:"),
        field("RssAnon:"),
        field("Threads:")
    );
    let times = std::fs::read_to_string(format!("/proc/{}/stat", child.0.id()))?;
    let ticks: Vec<&str> = times.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    println!("agent CPU ticks (user, system) after 75 s: {:?}", ticks.get(11..13));
    Ok(())
}
