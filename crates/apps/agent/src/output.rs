//! Live output: the files that running steps write are told to the server as they grow, as far as it has opened its windows.
//!
//! Nothing is kept for it: what is not told now is told by the job's result.

use crate::work::Work;
use agent_wire::{OutputChunk, OutputSender, OutputStream, OutputWindow, whole_text};
use identifiers::JobId;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// No server listens to more streams of one node at once.
const OUTLETS_MAX: usize = 64;
/// So much of a stream goes into one message, in bytes.
const CHUNK_BYTES_MAX: u64 = 8 << 10;

/// The streams that the server listens to over this connection.
#[derive(Debug, Default)]
pub(crate) struct Outlets {
    outlets: Vec<Outlet>,
    /// The stream whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Outlet {
    job_id: JobId,
    step: String,
    stream: OutputStream,
    sender: OutputSender,
}

impl Outlets {
    /// Takes in a window. What the server may ask for without bound is not kept without bound.
    pub(crate) fn allow(&mut self, window: &OutputWindow) {
        let same = |o: &&mut Outlet| o.job_id == window.job_id && o.step == window.step && o.stream == window.stream;
        if let Some(outlet) = self.outlets.iter_mut().find(same) {
            outlet.sender.allow(window);
        } else if self.outlets.len() < OUTLETS_MAX {
            let mut sender = OutputSender::default();
            sender.allow(window);
            let (job_id, step, stream) = (window.job_id.clone(), window.step.clone(), window.stream);
            self.outlets.push(Outlet { job_id, step, stream, sender });
        }
    }

    /// Whether anything may be sent.
    pub(crate) fn any(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.sender.room() > 0)
    }

    /// The next piece that may be sent, the streams taking turns; `None`: nothing has been written.
    pub(crate) fn next(&mut self, work: &Work) -> Option<OutputChunk> {
        self.outlets.retain(|outlet| work.step_path(&outlet.job_id, &outlet.step).is_some());
        for _ in 0..self.outlets.len() {
            self.turn = (self.turn + 1) % self.outlets.len();
            let outlet = self.outlets.get_mut(self.turn)?;
            let path = work.step_path(&outlet.job_id, &outlet.step)?;
            if let Some(chunk) = outlet.next(&path) {
                return Some(chunk);
            }
        }
        None
    }
}

impl Outlet {
    fn next(&mut self, step_path: &Path) -> Option<OutputChunk> {
        let (from, room) = (self.sender.next(), self.sender.room().min(CHUNK_BYTES_MAX));
        let mut bytes = vec![0; usize::try_from(room).ok().filter(|room| *room > 0)?];
        // A step that has written nothing may have no file yet.
        let file = File::open(step_path.join(self.stream.as_str())).ok()?;
        let count = file.read_at(&mut bytes, from).ok()?;
        let (text, taken) = whole_text(bytes.get(..count)?);
        if taken == 0 {
            return None;
        }
        self.sender.sent(taken as u64);
        let (job_id, step, stream) = (self.job_id.clone(), self.step.clone(), self.stream);
        Some(OutputChunk { job_id, step, stream, from, until: from + taken as u64, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: Option<u64>, until: u64) -> OutputWindow {
        let job_id = JobId::parse("11111111-2222-4333-8444-555555555555").unwrap();
        OutputWindow { job_id, step: "a".to_owned(), stream: OutputStream::Stdout, from, until }
    }

    #[test]
    fn a_growing_file_is_told_as_far_as_the_window_goes_and_no_character_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut outlets = Outlets::default();
        outlets.allow(&window(Some(2), 8));
        let outlet = &mut outlets.outlets[0];
        assert_eq!(outlet.next(folder.path()), None, "there is no file yet");
        std::fs::write(folder.path().join("stdout"), "ab€\u{e9}xyz").unwrap();
        let chunk = outlet.next(folder.path()).unwrap();
        assert_eq!((chunk.from, chunk.until, chunk.text.as_str()), (2, 8, "€\u{e9}x"));
        assert_eq!(outlet.next(folder.path()), None, "the window ends");
        outlet.sender.allow(&window(None, 100));
        std::fs::write(folder.path().join("stdout"), b"ab\xe2\x82\xac\xc3\xa9xyz\xe2\x82").unwrap();
        assert_eq!(outlet.next(folder.path()).unwrap().text, "yz");
        assert_eq!(outlet.next(folder.path()), None, "the last character is not complete");
    }

    #[test]
    fn a_server_cannot_open_windows_without_end() {
        let mut outlets = Outlets::default();
        for number in 0..1000 {
            outlets.allow(&OutputWindow { step: number.to_string(), ..window(None, u64::MAX) });
        }
        assert_eq!(outlets.outlets.len(), OUTLETS_MAX);
    }
}
