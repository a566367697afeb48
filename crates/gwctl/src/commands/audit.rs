//! `audit`: everything about a cluster in one file, for a report of a fault.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};

use serde::Serialize;
use serde_json::Value;
use service::settings::Sheet;

use super::{
    Context,
    clients::{Client, slow},
    gateways::{Rates, Totals},
    observe::{now, observe},
    registers::{Register, registers},
    workers::Worker,
};
use crate::{
    failure::Failure,
    health::Finding,
    output::{Gap, Page, View, bytes, utc},
    session::Session,
};

/// Most clients in the file: of those that do not read.
const MOST: usize = 100;

/// Collects everything about a cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    /// The file, which must not exist; only its owner can read it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Serialize)]
struct Collected {
    /// When, and by which version of this program.
    made_at: String,
    version: &'static str,
    /// The settings of this program; secrets are not shown.
    settings: String,
    registers: Vec<Register>,
    findings: Vec<Finding>,
    gateways: Vec<Value>,
    workers: Vec<Worker>,
    groups: Option<u64>,
    /// Clients that do not read.
    slow_clients: Vec<Client>,
    unanswered: Vec<Gap>,
}

#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    bytes: usize,
    findings: usize,
}

impl Audit {
    pub(crate) async fn run(self, context: &Context, sheet: &Sheet) -> Result<u8, Failure> {
        let registers = registers(&context.settings).await?;
        let session = Session::open(&context.settings).await?;
        let totals = Totals::of(&observe(context, &session).await?);
        let (slow_clients, mut unanswered) = slow(session.partial(), MOST).await?;
        let groups = session.partial().groups().await.ok().map(|groups| groups.len() as u64);
        unanswered.extend(session.gaps());
        let cluster = observe(context, &session).await?;
        let rates = Rates::between(Some(totals), &cluster);
        let collected = Collected {
            made_at: utc(now()),
            version: env!("CARGO_PKG_VERSION"),
            settings: sheet.to_toml(&[]),
            registers,
            findings: cluster.findings(),
            gateways: cluster.gateways.iter().map(|gateway| rates.json(gateway)).collect(),
            workers: cluster.workers.iter().map(Worker::of).collect(),
            groups,
            slow_clients,
            unanswered,
        };
        let json = serde_json::to_vec_pretty(&collected)
            .map_err(|error| Failure::new(format!("not shown as JSON: {error}")))?;
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file);
        created.and_then(|mut file| file.write_all(&json)).map_err(|error| {
            Failure::new(format!("{}: {error}", self.file.display()))
                .next("name a file that does not exist, in a folder that can be written")
        })?;
        let findings = collected.findings.len();
        context.output.show(&Written { file: self.file, bytes: json.len(), findings })
    }
}

impl View for Written {
    fn show(&self, page: &mut Page) {
        let (file, size) = (self.file.display(), bytes(self.bytes as u64));
        page.line(format!("{file}: {size}, {} findings", self.findings));
        page.line("  next: it has addresses and uids of clients that do not read; no secrets");
    }
}
