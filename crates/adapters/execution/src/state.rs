use agent_wire::StepStatus;
use identifiers::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a job has come: `state.json`, replaced whole at each change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// When the order was written down.
    pub accepted_at: Timestamp,
    /// The order's place in the journal: jobs start in this order.
    pub sequence: u64,
    /// The steps, as many as the job has.
    pub steps: Vec<StepState>,
    /// When the last step was done; absent while there is something to do.
    pub finished_at: Option<Timestamp>,
}

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    /// Its turn has not come.
    Waiting,
    /// Written before anything is spawned: from here on a script is never started again.
    Started {
        /// When.
        at: Timestamp,
        /// During which boot.
        boot_id: String,
        /// 1 for the first time; higher after reboots and for resumed patch steps.
        attempt: u32,
    },
    /// It asked for a reboot and goes on, as its next attempt, once the boot is another one.
    AwaitingReboot {
        /// When it began.
        started_at: Timestamp,
        /// Since when it waits.
        since: Timestamp,
        /// The boot that is to end.
        boot_id: String,
        /// The attempt that asked.
        attempt: u32,
        /// Why, for the log.
        reason: String,
    },
    /// It is over.
    Done {
        /// How it ended.
        status: StepStatus,
        /// The exit code; -1 where there is none.
        exit_code: i32,
        /// When it began; absent if it never did.
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// Whether more came on standard output than is kept on disk.
        stdout_truncated: bool,
        /// Whether more came on standard error than is kept on disk.
        stderr_truncated: bool,
    },
}

impl JobState {
    /// The state of a job that has just been written down.
    #[must_use]
    pub fn accepted(at: Timestamp, sequence: u64, steps: usize) -> Self {
        Self { accepted_at: at, sequence, steps: vec![StepState::Waiting; steps], finished_at: None }
    }

    /// Whether no step has begun.
    #[must_use]
    pub fn untouched(&self) -> bool {
        self.finished_at.is_none() && self.steps.iter().all(|step| *step == StepState::Waiting)
    }

    /// The step that waits for a reboot, if one does: when it began to wait, the boot it waits to end, and why.
    #[must_use]
    pub fn awaiting_reboot(&self) -> Option<(Timestamp, &str, &str)> {
        self.steps.iter().find_map(|step| match step {
            StepState::AwaitingReboot { since, boot_id, reason, .. } => {
                Some((*since, boot_id.as_str(), reason.as_str()))
            }
            StepState::Waiting | StepState::Started { .. } | StepState::Done { .. } => None,
        })
    }
}

impl StepState {
    /// When the step began, if it has.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting => None,
            Self::Started { at, .. } => Some(*at),
            Self::AwaitingReboot { started_at, .. } => Some(*started_at),
            Self::Done { started_at, .. } => *started_at,
        }
    }

    /// A step that is over without having begun.
    pub(crate) fn never_began(status: StepStatus, exit_code: i32, at: Timestamp) -> Self {
        Self::Done {
            status,
            exit_code,
            started_at: None,
            finished_at: at,
            stdout_truncated: false,
            stderr_truncated: false,
        }
    }
}
