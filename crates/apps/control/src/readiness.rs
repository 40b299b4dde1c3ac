//! Whether this server can do its work: named checks, each with a finding that may be shown to anybody.
//!
//! A check that asks something is a line in [`CHECKS`]; what an edge knows by itself (a listener, a certificate) it reports
//! with [`Readiness::report`]. Findings are public: they say what is wrong and what to do, never a path, an address or the
//! words of another system; those go to the log.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Server, reconcilers::TurnEnd};

/// What asks something to know; each must end by itself soon.
static CHECKS: &[Check] = &[
    Check { name: "database", ask: |server| Box::pin(database(server)) },
    Check { name: "writable", ask: |server| Box::pin(std::future::ready(writable(server))) },
    Check { name: "reconcilers", ask: |server| Box::pin(std::future::ready(reconcilers(server))) },
];

/// How long a check may take.
const CHECK_MAX: Duration = Duration::from_secs(5);

/// For how long an answer is good, so that asking often costs nothing.
const FRESH: Duration = Duration::from_secs(1);

/// A reconciler that neither began nor ended a turn for so long beyond its period is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

struct Check {
    name: &'static str,
    ask: for<'a> fn(&'a Arc<Server>) -> Asking<'a>,
}

type Asking<'a> = Pin<Box<dyn Future<Output = Finding> + Send + 'a>>;

/// Each check's name with what it found.
pub type Findings = Vec<(&'static str, Finding)>;

/// What was found; the sentences are for anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is as it should be.
    Good(String),
    /// The server works, but somebody should look.
    Warning(String),
    /// The server cannot do its work, and what to do about it.
    Bad(String),
}

/// What edges report, and the last answer.
#[derive(Debug, Default)]
pub struct Readiness {
    reported: Mutex<BTreeMap<&'static str, Finding>>,
    answered: tokio::sync::Mutex<Option<(Instant, Findings)>>,
}

impl Readiness {
    /// An edge says how it is; its last word under a name counts.
    pub fn report(&self, name: &'static str, finding: Finding) {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(name, finding);
    }
}

impl Server {
    /// All checks with their findings. What is not good is also said in the log.
    pub async fn readiness(self: &Arc<Self>) -> Findings {
        let mut answered = self.readiness.answered.lock().await;
        if let Some((at, findings)) = answered.as_ref()
            && at.elapsed() < FRESH
        {
            return findings.clone();
        }
        let mut findings = Vec::new();
        for check in CHECKS {
            let finding = tokio::time::timeout(CHECK_MAX, (check.ask)(self)).await;
            let late = |_| Finding::Bad(format!("no answer within {} s", CHECK_MAX.as_secs()));
            findings.push((check.name, finding.unwrap_or_else(late)));
        }
        let reported = self.readiness.reported.lock().unwrap_or_else(PoisonError::into_inner);
        findings.extend(reported.iter().map(|(name, finding)| (*name, finding.clone())));
        drop(reported);
        *answered = Some((Instant::now(), findings.clone()));
        findings
    }
}

async fn database(server: &Arc<Server>) -> Finding {
    match server.store.check().await {
        Ok(()) => Finding::Good("it answers".to_owned()),
        Err(error) => {
            tracing::error!("the database does not answer: {error}");
            Finding::Bad("the database cannot be used; the server's log says why".to_owned())
        }
    }
}

fn writable(server: &Arc<Server>) -> Finding {
    match server.store.read_only().is_some() {
        false => Finding::Good("changes are kept".to_owned()),
        true => Finding::Bad(
            "the database's disk is full or read-only: questions are answered, nothing is changed; make room there, and it \
             goes on by itself"
                .to_owned(),
        ),
    }
}

fn reconcilers(server: &Arc<Server>) -> Finding {
    let turns = server.turns.list();
    let stuck = turns.iter().filter(|(reconciler, turn)| {
        let idle = turn.as_ref().map_or_else(|| server.running_for(), |turn| turn.idle_for());
        idle > reconciler.every + STUCK_AFTER
    });
    let stuck: Vec<&str> = stuck.map(|(reconciler, _)| reconciler.name).collect();
    if !stuck.is_empty() {
        return Finding::Bad(format!("{} had no turn for too long; restart the server", stuck.join(", ")));
    }
    let fails = |turn: &crate::reconcilers::Turn| match &turn.end {
        Some(TurnEnd::Failed(_)) => true,
        Some(TurnEnd::Done(status)) => status.failures > 0,
        None => false,
    };
    let failing = turns.iter().filter(|(_, turn)| turn.as_ref().is_some_and(fails));
    let failing: Vec<&str> = failing.map(|(reconciler, _)| reconciler.name).collect();
    match failing.is_empty() {
        true => Finding::Good(format!("{} have their turns", turns.len())),
        false => Finding::Warning(format!("the last turn of {} failed; the server's log says why", failing.join(", "))),
    }
}
