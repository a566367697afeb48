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
    live::Counts,
    shared::{Phase, Run},
    tally::{Tally, Written},
    thread::Word,
    wire::{News, Order, say},
};
use crate::args::Seat;

#[derive(Debug)]
pub(super) struct Processes {
    run: Arc<Run>,
    children: Vec<Child>,
    inputs: Arc<Inputs>,
    relays: Vec<os::JoinHandle<anyhow::Result<Written>>>,
}

/// The pipes to the processes.
type Inputs = Vec<Mutex<ChildStdin>>;

impl Processes {
    pub(super) fn start(run: &Arc<Run>) -> anyhow::Result<(Self, mpsc::Receiver<Word>)> {
        let (mut children, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for generator in 0..run.plan.generators {
            let mut child = spawn(Seat { run: run.token, generator })?;
            inputs.push(Mutex::new(child.stdin.take().context("its input is a pipe")?));
            outputs.push(child.stdout.take().context("its output is a pipe")?);
            children.push(child);
        }
        let (inputs, (words, heard)) = (Arc::new(inputs), mpsc::channel(run.plan.generators));
        let relay = |output| {
            let (run, inputs, words) = (Arc::clone(run), Arc::clone(&inputs), words.clone());
            os::spawn(move || {
                let tally = relay(&run, output, &inputs, &words);
                if tally.is_err() {
                    let _ = words.blocking_send(Word::Failed);
                }
                tally
            })
        };
        let relays = outputs.into_iter().map(relay).collect();
        Ok((Self { run: Arc::clone(run), children, inputs, relays }, heard))
    }

    pub(super) fn members(&self) -> usize {
        self.children.len()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    pub(super) fn tell(&self, phase: Phase) {
        let Some(order) = Order::of(phase) else { return };
        for input in self.inputs.iter() {
            give(input, order);
        }
    }

    pub(super) fn end(mut self) -> anyhow::Result<Tally> {
        let mut tally = Tally::new(self.run.plan.duration);
        let mut tallies = Vec::new();
        for relay in self.relays {
            tallies.push(relay.join().map_err(|_| anyhow::anyhow!("a thread failed"))?);
        }
        for child in &mut self.children {
            child.wait().context("cannot wait for a generator process")?;
        }
        for written in tallies {
            tally.add_written(&written?);
        }
        Ok(tally)
    }
}

/// Starts this program once more, with the same flags and a seat.
fn spawn(seat: Seat) -> anyhow::Result<Child> {
    let itself = env::current_exe().context("cannot find this program")?;
    Command::new(itself)
        .args(env::args_os().skip(1))
        .args(["--seat", &seat.to_string()])
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
    words: &mpsc::Sender<Word>,
) -> anyhow::Result<Written> {
    let mut before = Counts::default();
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line?).context("a generator process sent an invalid message")? {
            News::Counts(now) => {
                run.live.advance(&before, &now);
                before = now;
            }
            News::Ready => words.blocking_send(Word::Ready)?,
            // A run that did not wait for it is over.
            News::Drained => drop(words.blocking_send(Word::Drained)),
            News::Landed((sender, number)) => {
                give(&inputs[sender % inputs.len()], Order::Landed((sender, number)));
            }
            News::Tally(tally) => return Ok(tally),
        }
    }
    anyhow::bail!("a generator process ended early")
}

/// Sends an order. A process that has exited is detected by its reader.
fn give(input: &Mutex<ChildStdin>, order: Order) {
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = say(&mut *input, &order);
}
