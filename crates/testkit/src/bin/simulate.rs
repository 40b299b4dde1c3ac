//! Tells many histories of a simulated fleet and says which break promises: what `cargo xtask simulate` runs.
#![allow(clippy::print_stdout, reason = "a developer's command: this is its answer")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use anyhow::{Context, bail, ensure};
use testkit::fleet::{FleetDatabase, History};

const USAGE: &str = "simulate [OPTION...]
    --histories N   so many, 1000 by default
    --seed S        the seed of the first, 1 by default; the others follow
    --agents A      agents of each (by default 12 to 20, as the seed says)
    --servers R     servers of each (by default 1 or 2, as the seed says)
    --steps K       steps of each while much goes wrong, 700 by default
    --postgres      on PostgreSQL (run it under: cargo xtask with-tools)
    --transcript    prints what happened, also where no promise was broken";

/// Between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Clone)]
struct Options {
    histories: u64,
    seed: u64,
    agents: Option<usize>,
    servers: Option<usize>,
    steps: Option<usize>,
    postgres: bool,
    transcript: bool,
}

/// The options that make one history, without those that say how many.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = |name: &str, value: Option<usize>| value.map_or(Ok(()), |value| write!(f, " {name} {value}"));
        number("--agents", self.agents)?;
        number("--servers", self.servers)?;
        number("--steps", self.steps)?;
        f.write_str(if self.postgres { " --postgres" } else { "" })
    }
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error:#}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options { histories: 1000, seed: 1, ..Options::default() };
    while let Some(name) = arguments.next() {
        let mut number = || {
            let text = arguments.next().with_context(|| format!("{name} wants a number"))?;
            text.parse::<u64>().with_context(|| format!("{name} wants a number, not {text}"))
        };
        let count = |number: u64| usize::try_from(number).context("too large");
        match name.as_str() {
            "--histories" => options.histories = number()?,
            "--seed" => options.seed = number()?,
            "--agents" => options.agents = Some(count(number()?)?),
            "--servers" => options.servers = Some(count(number()?)?),
            "--steps" => options.steps = Some(count(number()?)?),
            "--postgres" => options.postgres = true,
            "--transcript" => options.transcript = true,
            other => bail!("no such option: {other}"),
        }
    }
    ensure!(options.agents != Some(0) && options.servers != Some(0), "a fleet has an agent and a server at least");
    Ok(options)
}

/// Whether all promises were kept.
fn run(options: &Options) -> anyhow::Result<bool> {
    let threads = thread::available_parallelism()?.get();
    let begun = Instant::now();
    let (next, told, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let place = next.fetch_add(1, Ordering::SeqCst)
                    && place < options.histories
                {
                    let kept = tell(options, options.seed + place);
                    failed.fetch_add(u64::from(!kept), Ordering::SeqCst);
                    told.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            let mut said = Instant::now();
            while told.load(Ordering::SeqCst) < options.histories {
                thread::sleep(Duration::from_millis(50));
                if said.elapsed() >= PROGRESS {
                    said = Instant::now();
                    let (told, failed) = (told.load(Ordering::SeqCst), failed.load(Ordering::SeqCst));
                    println!("{told} of {} histories, {failed} broke promises", options.histories);
                }
            }
        });
    });
    let failed = failed.into_inner();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} histories in {seconds:.1} s on {threads} threads: {failed} broke promises", options.histories);
    Ok(failed == 0)
}

fn tell(options: &Options, seed: u64) -> bool {
    let of_seed = History::new(seed);
    let history = History {
        agents: options.agents.unwrap_or(of_seed.agents),
        servers: options.servers.unwrap_or(of_seed.servers),
        steps: options.steps.unwrap_or(of_seed.steps),
        database: if options.postgres { FleetDatabase::Postgres } else { FleetDatabase::Sqlite },
        ..of_seed
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told = match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(history.tell())) {
        Ok(told) => told,
        Err(error) => {
            println!("seed {seed} could not be told: {error:#}");
            return false;
        }
    };
    let kept = told.broken.is_empty();
    if kept && !options.transcript {
        return true;
    }
    let mut text = told.transcript.join("\n");
    if !kept {
        text.push_str(&format!("\nseed {seed} broke:\n  {}\n", told.broken.join("\n  ")));
        text.push_str(&format!("tell it again: cargo xtask simulate --seed {seed} --histories 1{options}"));
    }
    println!("{text}");
    kept
}
