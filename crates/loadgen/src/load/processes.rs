//! Child generator processes, each with a share of the clients: started, controlled, and summed up.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread as os,
};

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::{
    counters::{Counters, SerializedCounters},
    live::Counts,
    shared::{Phase, Run},
    thread::ThreadState,
    wire::{ChildMessage, ParentMessage, write_line},
};
use crate::args::ChildRole;

#[derive(Debug)]
pub(super) struct Processes {
    run: Arc<Run>,
    children: Vec<Child>,
    inputs: Arc<Inputs>,
    relays: Vec<os::JoinHandle<anyhow::Result<SerializedCounters>>>,
}

/// The pipes to the processes.
type Inputs = Vec<Mutex<ChildStdin>>;

impl Processes {
    pub(super) fn start(run: &Arc<Run>) -> anyhow::Result<(Self, mpsc::Receiver<ThreadState>)> {
        let (mut children, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for generator in 0..run.plan.generators {
            let mut child = spawn(ChildRole { run: run.token, generator })?;
            inputs.push(Mutex::new(child.stdin.take().context("its input is a pipe")?));
            outputs.push(child.stdout.take().context("its output is a pipe")?);
            children.push(child);
        }
        let (inputs, (states, received)) = (Arc::new(inputs), mpsc::channel(run.plan.generators));
        let relay = |output| {
            let (run, inputs, states) = (Arc::clone(run), Arc::clone(&inputs), states.clone());
            os::spawn(move || {
                let counters = relay(&run, output, &inputs, &states);
                if counters.is_err() {
                    let _ = states.blocking_send(ThreadState::Failed);
                }
                counters
            })
        };
        let relays = outputs.into_iter().map(relay).collect();
        Ok((Self { run: Arc::clone(run), children, inputs, relays }, received))
    }

    pub(super) fn members(&self) -> usize {
        self.children.len()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        let Some(message) = ParentMessage::of(phase) else { return };
        for input in self.inputs.iter() {
            send(input, message);
        }
    }

    pub(super) fn end(mut self) -> anyhow::Result<Counters> {
        let mut counters = Counters::new(self.run.plan.duration);
        let mut results = Vec::new();
        for relay in self.relays {
            results.push(relay.join().map_err(|_| anyhow::anyhow!("a thread failed"))?);
        }
        for child in &mut self.children {
            child.wait().context("cannot wait for a generator process")?;
        }
        for written in results {
            counters.add_serialized(&written?);
        }
        Ok(counters)
    }
}

/// Starts this program once more, with the same flags and the role of a child.
fn spawn(child_role: ChildRole) -> anyhow::Result<Child> {
    let itself = env::current_exe().context("cannot find this program")?;
    Command::new(itself)
        .args(env::args_os().skip(1))
        .args(["--child-role", &child_role.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a generator process")
}

/// Reads the messages of a process, up to its final counters.
fn relay(
    run: &Run,
    output: ChildStdout,
    inputs: &Inputs,
    states: &mpsc::Sender<ThreadState>,
) -> anyhow::Result<SerializedCounters> {
    let mut before = Counts::default();
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line?).context("a generator process sent an invalid message")? {
            ChildMessage::Counts(now) => {
                run.live.advance(&before, &now);
                before = now;
            }
            ChildMessage::Ready => states.blocking_send(ThreadState::Ready)?,
            // The receiver is dropped if the run is over.
            ChildMessage::Drained => drop(states.blocking_send(ThreadState::Drained)),
            ChildMessage::Completed((sender, number)) => {
                send(&inputs[sender % inputs.len()], ParentMessage::Completed((sender, number)));
            }
            ChildMessage::Counters(counters) => return Ok(counters),
        }
    }
    anyhow::bail!("a generator process ended early")
}

/// Sends a message. A process that has exited is detected by its reader.
fn send(input: &Mutex<ChildStdin>, message: ParentMessage) {
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = write_line(&mut *input, &message);
}
