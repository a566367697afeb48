//! The registers of a cluster and their last reports: values.

use std::time::Instant;

use protocol::{
    InstanceId,
    discovery::{self, Presence},
};
use rustc_hash::FxHashSet;

use crate::{Error, directory, failure_detector::RegisterView};

/// State of one register.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    pub(crate) address: String,
    pub(crate) connected: bool,
    /// Its last list, kept while it is disconnected.
    pub(crate) list: Option<Vec<discovery::Gateway>>,
    /// Its last report on workers, if it sends such reports.
    pub(crate) presence: Option<Presence>,
    /// When it was last updated.
    pub(crate) updated_at: Option<Instant>,
    /// Why the last attempt to subscribe has failed.
    pub(crate) failure: Option<Failure>,
}

/// Why a register sends no list.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// Whether it has closed the connection instead of an answer, as it does if the secret is
    /// wrong.
    pub(crate) rejected: bool,
}

impl Register {
    pub(crate) const fn new(address: String) -> Self {
        let (list, presence, updated_at, failure) = (None, None, None, None);
        Self { address, connected: false, list, presence, updated_at, failure }
    }
}

/// The merged view of all connected registers; `None` if none is connected.
pub(crate) fn view(registers: &[Register]) -> Option<RegisterView> {
    let mut lists = Vec::new();
    let mut view = RegisterView::default();
    for register in registers.iter().filter(|register| register.connected) {
        lists.push(register.list.clone());
        if let Some(Presence { workers, settled, takeovers, .. }) = &register.presence {
            let known = view.workers.get_or_insert_with(FxHashSet::default);
            known.extend(workers.iter().cloned());
            view.settled.extend(settled.iter().cloned());
            view.takeovers.extend(takeovers.iter().cloned());
        }
    }
    view.gateways = directory::union(&lists);
    (!lists.is_empty()).then_some(view)
}

/// Why no register has ever sent a list; `None` if one has.
pub(crate) fn why_no_list(registers: &[Register]) -> Option<Error> {
    if registers.iter().any(|register| register.list.is_some()) {
        return None;
    }
    let failure = |register: &Register| {
        let Failure { reason, rejected } = register.failure.clone()?;
        Some((register.address.clone(), reason, rejected))
    };
    let failures: Vec<_> = registers.iter().filter_map(failure).collect();
    let wrong = failures.iter().find(|(_, _, rejected)| *rejected);
    Some(match wrong.or(failures.first()).cloned() {
        Some((register, reason, true)) => {
            Error::WrongSecret { peer: format!("register {register}"), reason }
        }
        Some((register, reason, false)) => {
            Error::NoRegister { reason: format!("{register}: {reason}") }
        }
        None if registers.is_empty() => Error::NoRegister { reason: "none is configured".into() },
        None => Error::NoRegister { reason: "no answer so far".into() },
    })
}

/// The first of all workers that the registers report, in the order of their instances; the last
/// reports count while no register is connected. `None` if no register reports workers.
pub(crate) fn first_worker(registers: &[Register]) -> Option<&InstanceId> {
    let any_connected = registers.iter().any(|register| register.connected);
    let current = registers.iter().filter(|register| register.connected || !any_connected);
    current.filter_map(|register| register.presence.as_ref()).flat_map(|it| &it.workers).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(rejected: bool) -> Register {
        let failure = Some(Failure { reason: "refused".to_owned(), rejected });
        Register { failure, ..Register::new("127.0.0.1:1".to_owned()) }
    }

    fn reporting(connected: bool, workers: &[u64]) -> Register {
        let workers = workers.iter().map(|number| InstanceId::from_random(*number)).collect();
        let presence = Some(Presence { workers, ..Presence::default() });
        Register { connected, presence, ..Register::new("127.0.0.1:1".to_owned()) }
    }

    #[test]
    fn missing_list_is_explained_by_the_register_that_knows_most() {
        let unreachable = why_no_list(&[failed(false)]);
        assert!(matches!(unreachable, Some(Error::NoRegister { .. })), "{unreachable:?}");
        let rejected = why_no_list(&[failed(false), failed(true)]);
        assert!(matches!(rejected, Some(Error::WrongSecret { .. })), "{rejected:?}");
        let silent = why_no_list(&[Register::new("127.0.0.1:1".to_owned())]);
        assert!(matches!(silent, Some(Error::NoRegister { .. })), "{silent:?}");
        let listing = Register { list: Some(Vec::new()), ..failed(true) };
        assert!(why_no_list(&[listing, failed(true)]).is_none());
    }

    #[test]
    fn first_worker_is_the_same_for_all_and_known_without_registers() {
        let first = |registers: &[Register]| first_worker(registers).cloned();
        let instance = |number| Some(InstanceId::from_random(number));
        assert_eq!(first(&[reporting(true, &[3, 2]), reporting(true, &[4])]), instance(2));
        assert_eq!(first(&[reporting(true, &[3]), reporting(false, &[2])]), instance(3));
        assert_eq!(first(&[reporting(false, &[3])]), instance(3));
        assert_eq!(first(&[Register::new("127.0.0.1:1".to_owned())]), None);
    }
}
