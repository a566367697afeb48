//! `registers`: each register, and the gateways that it lists.

use std::time::Duration;

use push_suite_cluster::Error;
use serde::Serialize;

use super::{Context, watch::Watch};
use crate::{
    args::Settings,
    failure::{FAILED, Failure, advice},
    health::{Refused, refused},
    names::plain,
    output::{Align, Cell, Page, Paint, Table, View, age},
    session::Session,
};

/// Shows registers.
#[derive(Debug, clap::Args)]
pub(crate) struct Registers {
    #[command(flatten)]
    watch: Watch,
}

#[derive(Debug, Serialize)]
struct Shown {
    registers: Vec<Register>,
}

/// A register.
#[derive(Debug, Serialize)]
pub(crate) struct Register {
    pub(crate) address: String,
    /// Whether it has accepted the secret and sent its list.
    pub(crate) connected: bool,
    /// Its version, and for how long it has run; not known of a register of PHP.
    pub(crate) version: Option<String>,
    pub(crate) commit: Option<String>,
    pub(crate) uptime_millis: Option<u64>,
    /// The gateways that it lists.
    pub(crate) gateways: usize,
    /// Those of them that cannot be reached from here.
    pub(crate) unreachable: Vec<String>,
    /// Peers that it has refused lately.
    pub(crate) refused: Vec<Refused>,
    /// Why it is not connected, or why none of its gateways is.
    pub(crate) problem: Option<String>,
    pub(crate) next: Option<String>,
}

impl Registers {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let look = async || Ok(Shown { registers: registers(&context.settings).await? });
        self.watch.run(context, look).await
    }
}

/// Connects to each register alone.
///
/// # Errors
/// When the settings are invalid.
pub(crate) async fn registers(settings: &Settings) -> Result<Vec<Register>, Failure> {
    let mut all = Vec::new();
    for address in &settings.registers {
        let session = Session::of_register(settings, address)?;
        let problem = match session.partial().count().await {
            Ok(_) => None,
            Err(Error::NoRegister { .. }) => session.partial().count().await.err(),
            Err(error) => Some(error),
        };
        let status = session.cluster().status();
        let mut about = None;
        if status.registers != 0 {
            let asked = session.cluster().registers(settings.timeout).await.pop();
            about = asked.and_then(|report| report.about.ok().flatten());
        }
        let refused = refused(&session.cluster().refusals().await);
        all.push(Register {
            address: address.to_string(),
            connected: status.registers != 0,
            version: about.as_ref().map(|about| about.version.clone()),
            commit: about.as_ref().and_then(|about| about.commit.clone()),
            uptime_millis: about.as_ref().map(|about| about.uptime),
            gateways: status.linked + status.missing.len(),
            unreachable: status.missing,
            refused,
            next: problem.as_ref().and_then(advice),
            problem: problem.map(|error| error.to_string()),
        });
    }
    Ok(all)
}

/// A row for each refused peer.
fn refusals<'a>(refused: impl Iterator<Item = &'a Refused>) -> Table {
    let mut table = Table::new(&[
        ("REFUSED", Align::Left),
        ("AT REGISTER", Align::Left),
        ("TIMES", Align::Right),
        ("LAST", Align::Right),
        ("WHY", Align::Left),
    ]);
    for it in refused {
        table.row([
            it.name().into(),
            it.register.clone().into(),
            it.peer.times.to_string().into(),
            age(Duration::from_millis(it.peer.ago)).into(),
            Cell::painted(Paint::Red, it.why()),
        ]);
    }
    table
}

impl View for Shown {
    fn show(&self, page: &mut Page) {
        let mut table = Table::new(&[
            ("REGISTER", Align::Left),
            ("STATE", Align::Left),
            ("VERSION", Align::Left),
            ("UPTIME", Align::Right),
            ("GATEWAYS", Align::Right),
            ("UNREACHABLE", Align::Left),
        ])
        .wide(&[("COMMIT", Align::Left)]);
        for register in &self.registers {
            let uptime = register.uptime_millis.map(|millis| age(Duration::from_millis(millis)));
            let state = match (register.connected, &register.problem) {
                (true, None) => Cell::painted(Paint::Green, "connected"),
                (true, Some(_)) => Cell::painted(Paint::Yellow, "connected"),
                (false, _) => Cell::painted(Paint::Red, "no answer"),
            };
            table.row([
                register.address.clone().into(),
                state,
                register.version.as_deref().map(plain).unwrap_or_default().into(),
                uptime.unwrap_or_default().into(),
                register.gateways.to_string().into(),
                register.unreachable.join(", ").into(),
                register.commit.as_deref().map(plain).unwrap_or_default().into(),
            ]);
        }
        page.table(&table, "none");
        let all_refused = || self.registers.iter().flat_map(|register| &register.refused);
        if all_refused().next().is_some() {
            page.line("");
            page.table(&refusals(all_refused()), "none");
        }
        for register in &self.registers {
            if let Some(problem) = &register.problem {
                page.painted(Paint::Red, format!("{}: {problem}", register.address));
                page.line(format!("  next: {}", register.next.as_deref().unwrap_or_default()));
            }
        }
    }

    fn code(&self) -> u8 {
        let is_good = |register: &Register| {
            register.connected && register.problem.is_none() && register.refused.is_empty()
        };
        if self.registers.iter().all(is_good) { 0 } else { FAILED }
    }
}
