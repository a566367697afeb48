//! The connection of a command to the cluster.

use std::time::Duration;

use push_suite_cluster::{Cluster, ClusterGuard, Config, Error, Unanswered};
use service::settings::{Address, check_registers};

use crate::{
    args::Settings,
    failure::{Failure, advice},
    output::Gap,
};

/// A connection to every gateway that a register lists.
#[derive(Debug)]
pub(crate) struct Session {
    guard: ClusterGuard,
    partial: Cluster,
    unanswered: Unanswered,
    /// The time for an answer.
    pub(crate) time: Duration,
}

impl Session {
    /// Connects, without waiting for it.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub(crate) fn start(settings: &Settings, registers: &[Address]) -> Result<Self, Failure> {
        let invalid = |error| Failure::usage(format!("{error:#}"));
        check_registers(registers, &[]).map_err(invalid)?;
        let registers = registers.iter().map(ToString::to_string);
        let tls = settings.tls.clone().read().map_err(invalid)?;
        let config = Config::new(registers, settings.secret.clone()).tls(tls);
        let guard = Cluster::start(config);
        let (partial, unanswered) = guard.partial(settings.timeout);
        Ok(Self { guard, partial, unanswered, time: settings.timeout })
    }

    /// Connects to the gateways that one register lists, without waiting for it.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub(crate) fn of_register(settings: &Settings, register: &Address) -> Result<Self, Failure> {
        Self::start(settings, std::slice::from_ref(register))
    }

    /// Connects, and waits until a gateway answers.
    ///
    /// # Errors
    /// When none does.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let session = Self::start(settings, &settings.registers)?;
        match session.partial.count().await {
            // A register that is far away may take longer than one call waits.
            Err(Error::NoRegister { .. }) => drop(session.partial.count().await?),
            other => drop(other?),
        }
        // Of this query alone.
        drop(session.unanswered.take());
        Ok(session)
    }

    /// The cluster, for commands, and for queries that one gateway answers.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.guard
    }

    /// The cluster, for queries that all gateways answer: those that do not are among the
    /// [gaps](Self::gaps).
    pub(crate) fn partial(&self) -> &Cluster {
        &self.partial
    }

    /// The gateways that have not answered since the last call.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let gap = |(gateway, error): (String, Error)| Gap {
            gateway,
            problem: error.to_string(),
            next: advice(&error).unwrap_or_default(),
        };
        self.unanswered.take().into_iter().map(gap).collect()
    }
}
