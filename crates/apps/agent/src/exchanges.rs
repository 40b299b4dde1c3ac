//! What the agent does with keys while it runs: it writes down what is announced before it says so, exchanges its own key
//! when that is old, and tells the server whom it met in its place.

use crate::AgentError;
use crate::trust::{self, Announced};
use crate::work::Work;
use agent_wire::{RefusalCode, SignedTrust, ToServerBody};
use identifiers::Timestamp;

/// Whoever answered in the server's place.
#[derive(Debug)]
pub(crate) struct Impostor {
    at: Timestamp,
    address: String,
    reason: String,
    times: u32,
}

/// More kinds of impostors are not told apart.
const IMPOSTORS_MAX: usize = 8;

impl Work {
    /// The server is there: takes in what it announces, and goes on with the exchange of the node's own key.
    pub(crate) fn exchange_keys(&mut self, announced: Option<&SignedTrust>) -> Result<(), AgentError> {
        let now = self.now();
        // The server has taken the proof with the key that was shown.
        let taken = !self.next_key_refused && self.identity.next_key_was_taken(now);
        self.next_key_refused = false;
        if taken {
            self.log.line("the node's own key was exchanged");
            self.identity.save(&self.options.data_directory)?;
        }
        // A server that announces nothing knows nothing of exchanges either.
        let Some(announced) = announced else { return Ok(()) };
        self.believe(announced)?;
        if self.identity.renew_key(self.options.node_key_days, now)? {
            self.identity.save(&self.options.data_directory)?;
        }
        if let Some(named) = self.identity.next_key_named()? {
            self.tell(named);
        }
        Ok(())
    }

    /// Takes in an announcement of the server's keys: durable first, then told.
    pub(crate) fn believe(&mut self, announced: &SignedTrust) -> Result<(), AgentError> {
        match trust::judge(announced, &self.identity) {
            Ok(Announced::Known) => {}
            Ok(Announced::News(news)) => {
                self.log.line(format_args!(
                    "the server announces its keys ({}): {} identity keys, {} job keys",
                    news.serial,
                    news.identity_keys.len(),
                    news.job_keys.len()
                ));
                self.identity.believe(news);
                self.identity.save(&self.options.data_directory)?;
            }
            Err(reason) => self.trouble(reason),
        }
        if let Some(told) = self.identity.untold_trust()
            && self.tell(told)
        {
            self.identity.trust_told = self.identity.trust.as_ref().map(agent_wire::Trust::order);
            self.identity.save(&self.options.data_directory)?;
        }
        Ok(())
    }

    /// What a call that failed means for the next one.
    pub(crate) fn note_failed_call(&mut self, error: &AgentError) {
        match error {
            AgentError::Refused { code: RefusalCode::Node, .. } if self.identity.next_node_key.is_some() => {
                // It may not have heard of the next key: the one before is tried, then both in turn.
                self.next_key_refused = !self.next_key_refused;
            }
            AgentError::Impostor { reason, server } => {
                let (met, now) = (&mut self.impostors, execution::now());
                if let Some(known) = met.iter_mut().find(|known| known.address == *server && known.reason == *reason) {
                    (known.at, known.times) = (now, known.times.saturating_add(1));
                } else if met.len() < IMPOSTORS_MAX {
                    met.push(Impostor { at: now, address: server.clone(), reason: reason.clone(), times: 1 });
                }
            }
            _ => {}
        }
    }

    /// Tells the server whom the agent met in its place.
    pub(crate) fn tell_impostors(&mut self) {
        for impostor in std::mem::take(&mut self.impostors) {
            let Impostor { at, address, reason, times } = impostor;
            self.tell(ToServerBody::ImpostorMet { at, address, reason, times });
        }
    }
}
