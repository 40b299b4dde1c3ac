use crate::identity::DirectoryLock;
use crate::log::Log;
use crate::pause::{After, Pauses};
use crate::session::{SessionEnd, serve};
use crate::work::Work;
use crate::{AgentError, AgentOptions, keys};
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How often jobs that move are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long the farewell to the server may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often is looked at what does not move.
const REST: Duration = Duration::from_secs(300);

/// Ends an agent that [`run`] started.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    /// One that has not been told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the agent to end: it closes its connection and leaves running jobs to their supervisors.
    pub fn tell(&self) {
        self.0.send_replace(true);
    }

    async fn told(&self) {
        // It cannot fail: `self` keeps a sender.
        let _ = self.0.subscribe().wait_for(|told| *told).await;
    }
}

/// Runs the agent until it is told to end, on a thread of its own, so that neither holds up the caller's runtime nor is
/// held up by it.
///
/// # Errors
/// When there is no registration, another agent runs with the folder, or the folder cannot be used. Losing the server is
/// no error: the agent calls again.
pub async fn run(options: AgentOptions, shutdown: Shutdown) -> Result<(), AgentError> {
    let (answer, answered) = oneshot::channel();
    let work = move || {
        // Nobody listens if the caller's future was dropped; the agent goes on until it is told to end.
        let _ = answer.send(run_here(options, &shutdown, false));
    };
    let thread = std::thread::Builder::new().name("careen-agent".to_owned()).spawn(work);
    thread.map_err(|e| AgentError::system("starting the agent's thread", e))?;
    answered.await.map_err(|e| AgentError::system("running the agent", e))?
}

/// [`run`] on this thread; `signals`: SIGTERM and SIGINT end it, too.
pub(crate) fn run_here(options: AgentOptions, shutdown: &Shutdown, signals: bool) -> Result<(), AgentError> {
    let _lock = DirectoryLock::take(&options.data_directory)?;
    let log = Rc::new(Log::open(&options.data_directory, options.log_to_stderr));
    let work = RefCell::new(Work::open(options, log)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|e| AgentError::system("starting the event loop", e))?;
    runtime.block_on(until_told(&work, shutdown, signals))
}

async fn until_told(work: &RefCell<Work>, shutdown: &Shutdown, signals: bool) -> Result<(), AgentError> {
    {
        let work = work.borrow();
        work.log.line(format_args!("node {} with {}", work.identity.node_id, work.identity.server));
    }
    let (tell, ending) = watch::channel(false);
    let connecting = connect_until_told(work, ending);
    tokio::pin!(connecting);
    let ended = tokio::select! {
        () = &mut connecting => Ok(()),
        never = look_after_jobs(work) => match never {},
        () = shutdown.told() => Ok(()),
        ended = signalled(), if signals => ended,
    };
    tell.send_replace(true);
    // A session that stands is closed politely.
    let _ = tokio::time::timeout(FAREWELL, connecting).await;
    let mut work = work.borrow_mut();
    work.log.line("ended; running jobs go on and are reported by the next agent");
    work.connected(false, "nothing: the agent has ended".to_owned());
    ended
}

async fn signalled() -> Result<(), AgentError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|e| AgentError::system("listening for signals", e));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Calls, serves, waits, and calls again.
async fn connect_until_told(work: &RefCell<Work>, mut ending: watch::Receiver<bool>) {
    let mut pauses = {
        let work = work.borrow();
        Pauses::new(work.options.reconnect_seconds_max, work.servers.current().is_loopback())
    };
    loop {
        work.borrow_mut().connected(false, "connecting".to_owned());
        let (after, error) = match serve(work, &mut ending).await {
            SessionEnd::NotConnected(e) => {
                {
                    let mut work = work.borrow_mut();
                    work.note_failed_call(&e);
                    work.servers.give_up_current();
                }
                (After::Failure, e)
            }
            SessionEnd::Broken(e) => (After::Session, e),
            SessionEnd::Ended => return,
        };
        let pause = pauses.next(after, keys::fraction());
        {
            let mut work = work.borrow_mut();
            let next = format!("calling again in {:.1} s", pause.as_secs_f32());
            work.not_connected(&error.to_string());
            work.connected(false, next);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = ending.wait_for(|ending| *ending) => return,
        }
    }
}

/// Looks after jobs: often while something moves, else when it is told.
async fn look_after_jobs(work: &RefCell<Work>) -> Infallible {
    let stirred = work.borrow().stirred.clone();
    loop {
        let soon = {
            let mut work = work.borrow_mut();
            work.clean();
            let moving = work.look_after_jobs();
            work.take_first_inventory() || moving
        };
        let pause = tokio::time::sleep(if soon { LOOK } else { REST });
        tokio::select! {
            () = pause => {}
            () = stirred.notified() => {}
        }
    }
}
