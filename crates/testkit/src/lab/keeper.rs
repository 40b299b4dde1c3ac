//! Starts processes on a thread that lives as long as the lab: the kernel sends the death signal asked for with
//! `PR_SET_PDEATHSIG` when the *thread* that started a process ends (prctl(2)), not when its process does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::{Mutex, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::Context;

use super::held;

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

#[derive(Debug)]
pub(super) struct Keeper {
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (orders, received) = mpsc::channel::<Order>();
        let thread = thread::Builder::new().name("lab-keeper".to_owned()).spawn(move || {
            for (mut command, answer) in received {
                // Whoever asked may have given up.
                let _ = answer.send(command.spawn());
            }
        })?;
        Ok(Self { orders: Mutex::new(Some(orders)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn spawn(&self, command: Command) -> anyhow::Result<Child> {
        let shown = format!("{command:?}");
        let (answer, answered) = mpsc::channel();
        let order = (command, answer);
        held(&self.orders).as_ref().context("the lab has ended")?.send(order).ok().context("the lab has ended")?;
        answered.recv().context("the lab has ended")?.with_context(|| format!("cannot start {shown}"))
    }

    /// Ends the thread, and with it every process that asked for the death signal.
    pub(super) fn end(&self) {
        drop(held(&self.orders).take());
        if let Some(thread) = held(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

/// The first line of a child's output, without its end.
pub(super) fn first_line(from: impl Read) -> Option<String> {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).ok()?;
    Some(line.trim_end().to_owned())
}
