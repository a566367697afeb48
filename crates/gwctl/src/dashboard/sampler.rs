//! Asks the cluster for its state, again and again.

use std::time::Duration;

use runtime::clock;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    gone::Gone,
    routes::Shared,
    samples::{Sample, Totals},
};
use crate::{
    commands::{
        gateways::{Rates, Totals as RateTotals},
        observe,
        status::Shown,
    },
    failure::Failure,
    health::Gateway,
};

/// The time between two samples.
const EVERY: Duration = Duration::from_secs(2);

/// Samples forever. While the cluster does not answer, the reason is the state.
pub(super) async fn run(shared: Shared) {
    let (mut before, mut gone) = (None, Gone::default());
    loop {
        let state = look(&shared, &mut before, &mut gone).await;
        shared.set_state(state.map_err(|failure| failure.to_string()));
        sleep(EVERY).await;
    }
}

async fn look(
    shared: &Shared,
    before: &mut Option<RateTotals>,
    gone: &mut Gone,
) -> Result<Value, Failure> {
    let began = clock::now();
    let cluster = observe::cluster(shared.registers(), shared.session()).await?;
    let answer_millis = began.elapsed().as_secs_f64() * 1000.0;
    let totals = |it: &Gateway| {
        it.status.as_ref().ok().map(|status| (it.address.clone(), Totals::of(status)))
    };
    let gateways = cluster.gateways.iter().filter_map(totals).collect();
    shared.push(Sample { at: cluster.now, answer_millis, gateways });
    let known = |it: &Gateway| {
        let draining = it.status.as_ref().ok().map(|status| status.draining);
        (it.address.clone(), draining)
    };
    let gone = gone.update(cluster.now, &cluster.gateways.iter().map(known).collect());
    let rates = Rates::between(before.take(), &cluster);
    *before = Some(RateTotals::of(&cluster));
    let mut shown = Shown::of(cluster, rates);
    shown.findings.splice(0..0, gone);
    let shown = serde_json::to_value(shown);
    shown.map_err(|error| Failure::new(format!("not shown as JSON: {error}")))
}
