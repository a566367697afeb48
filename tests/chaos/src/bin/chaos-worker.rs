//! A worker that records each event before it handles it, and answers and forwards messages.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use chaos::{
    journal::{self, Journal},
    notices::{self, NoticeFile},
};
use clap::Parser;
use push_suite_worker::{Config, Notice};
use serde::Serialize;
use service::settings::{Common, Effective};
use test_support::{
    record::Record,
    worker::{Recorder, RecordingWorker},
};

/// The command-line flags.
#[derive(Debug, Parser, Serialize)]
#[command(version, about)]
#[group(skip)]
struct Args {
    /// Folder of the event journals
    #[arg(long, value_name = "DIR")]
    journal: PathBuf,

    #[command(flatten)]
    #[serde(flatten)]
    worker: push_suite_worker::Args,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        self.worker.as_ref()
    }
}

struct Settings {
    journal: PathBuf,
    config: Config,
}

impl Effective for Settings {}

impl TryFrom<Args> for Settings {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        Ok(Self { journal: args.journal, config: args.worker.try_into()? })
    }
}

fn main() -> ExitCode {
    service::main_on::<Args, Settings>(
        |settings| push_suite_worker::runtime(&settings.config),
        async |Settings { journal, config }, starting| {
            let notices = NoticeFile::create(&notices::folder(&journal)).context("--journal")?;
            let journal = Journal::create(&journal).context("--journal")?;
            let worker = RecordingWorker(JournalRecorder { journal, notices });
            push_suite_worker::serve(worker, config, starting).await
        },
    )
}

/// The system clock and files.
struct JournalRecorder {
    journal: Journal,
    notices: NoticeFile,
}

impl Recorder for JournalRecorder {
    fn now(&self) -> u64 {
        journal::now()
    }

    fn record(&self, record: Record) -> anyhow::Result<()> {
        Ok(self.journal.append(&record)?)
    }

    fn watches(&self) -> bool {
        true
    }

    fn noticed(&self, notice: &Notice) -> anyhow::Result<()> {
        Ok(self.notices.append(notice)?)
    }
}
