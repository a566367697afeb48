//! Gateways that were there and are not any more: once a register has removed one from its list, the
//! cluster itself does not know of it.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    health::{Finding, Severity, Topic},
    output::age,
};

/// For how long a gateway that is gone is named, in milliseconds.
const NAMED: u64 = 3_600_000;

/// When each gateway has answered last, in milliseconds since the Unix epoch, and whether it drained.
#[derive(Debug, Default)]
pub(super) struct Gone(BTreeMap<String, (u64, bool)>);

impl Gone {
    /// Takes note of the gateways that are known now: each address with whether it drains, `None` if
    /// it has not answered. Returns a finding for each that is gone, and had not drained.
    pub(super) fn update(
        &mut self,
        now: u64,
        known: &BTreeMap<String, Option<bool>>,
    ) -> Vec<Finding> {
        for (address, draining) in known {
            if let Some(draining) = draining {
                self.0.insert(address.clone(), (now, *draining));
            }
        }
        self.0.retain(|address, (at, draining)| {
            known.contains_key(address) || (!*draining && now.saturating_sub(*at) < NAMED)
        });
        let gone = self.0.iter().filter(|(address, _)| !known.contains_key(*address));
        gone.map(|(address, (at, _))| finding(address, now.saturating_sub(*at))).collect()
    }
}

fn finding(address: &str, millis: u64) -> Finding {
    let ago = age(Duration::from_millis(millis));
    Finding {
        severity: Severity::Critical,
        topic: Topic::Connection,
        problem: format!("gateway {address} is gone without a drain; it answered {ago} ago"),
        next: "on its host: systemctl status 'gateway@*', and journalctl -u 'gateway@*' for the \
               cause; its clients connect to the other gateways"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (&str, Option<bool>) = ("127.0.0.1:1", Some(false));

    fn update(gone: &mut Gone, now: u64, known: &[(&str, Option<bool>)]) -> Vec<Finding> {
        let known = known.iter().map(|(address, draining)| ((*address).to_owned(), *draining));
        gone.update(now, &known.collect())
    }

    #[test]
    fn gateway_that_vanishes_is_named_until_it_is_back() {
        let mut gone = Gone::default();
        let b = ("127.0.0.1:2", Some(false));
        assert_eq!(update(&mut gone, 0, &[A, b]), []);
        let found = update(&mut gone, 5000, &[A]);
        assert_eq!(found.len(), 1);
        let problem = &found[0].problem;
        assert!(
            problem.contains("127.0.0.1:2 is gone") && problem.contains("5.0s ago"),
            "{problem}"
        );
        let silent = ("127.0.0.1:2", None);
        assert_eq!(update(&mut gone, 6000, &[A, silent]), [], "it has a finding of its own");
        assert_eq!(update(&mut gone, 7000, &[A, b]), []);
        assert_eq!(update(&mut gone, 8000, &[A]).len(), 1);
        assert_eq!(update(&mut gone, 7000 + NAMED, &[A]), [], "after an hour");
    }

    #[test]
    fn gateway_that_drains_is_expected_to_go() {
        let mut gone = Gone::default();
        update(&mut gone, 0, &[A, ("127.0.0.1:2", Some(true))]);
        assert_eq!(update(&mut gone, 5000, &[A]), []);
    }
}
