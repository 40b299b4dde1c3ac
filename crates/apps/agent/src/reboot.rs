//! The reboot that a step asked for: performed here, because the supervisor that asked for it must have ended.

use crate::work::Work;
use execution::REBOOT_BOUND_SECONDS;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// How long other jobs may go on before the host is rebooted under them.
const OTHERS_BOUND: Duration = Duration::from_secs(600);

/// Whether a reboot was asked for, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Reboot {
    wanted_since: Option<Instant>,
    asked: Option<Receiver<Result<(), String>>>,
}

impl Work {
    pub(crate) fn reboot_words(&self) -> String {
        match &self.options.reboot_command {
            Some(words) => words.join(" "),
            None => "the host's own, systemctl reboot or /sbin/reboot".to_owned(),
        }
    }

    /// Called while steps wait for a reboot and no further job starts; `others_run`: jobs that it would interrupt.
    /// Returns why it cannot be had, once that is known.
    pub(crate) fn see_to_reboot(&mut self, why: &str, others_run: bool) -> Option<String> {
        let since = *self.reboot.wanted_since.get_or_insert_with(Instant::now);
        match &self.reboot.asked {
            None if others_run && since.elapsed() < OTHERS_BOUND => None,
            None => {
                self.log.line(format_args!("rebooting ({}) because {why}", self.reboot_words()));
                let command = self.options.reboot_command.clone();
                let (answer, answered) = channel();
                let ask = move || {
                    // Nobody listens any more if the agent has ended, which a reboot does to it.
                    let _ = answer.send(host::reboot(command.as_deref()).map_err(|e| e.to_string()));
                };
                match std::thread::Builder::new().name("reboot".to_owned()).spawn(ask) {
                    Ok(_) => {
                        self.reboot.asked = Some(answered);
                        None
                    }
                    Err(e) => Some(e.to_string()),
                }
            }
            Some(answered) => match answered.try_recv() {
                Ok(Err(reason)) => {
                    self.trouble(format_args!("the reboot was refused: {reason}"));
                    self.reboot = Reboot::default();
                    Some(reason)
                }
                Ok(Ok(())) => {
                    self.log.line(format_args!("waiting for the reboot, for at most {REBOOT_BOUND_SECONDS} s"));
                    None
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
            },
        }
    }

    /// No step waits for a reboot any more.
    pub(crate) fn forget_reboot(&mut self) {
        self.reboot = Reboot::default();
    }
}
