//! The processes that are simulated, from their flags on.

use std::{cell::RefCell, ffi::OsString, net::SocketAddr, rc::Rc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use gateway::Gateway;
use prometheus_client::registry::Registry;
use register::Register;
use serde::Serialize;
use service::{Health, Starting, settings};
use test_support::worker::RecordingWorker;
use tokio_util::sync::CancellationToken;

use crate::{plan::Plan, worker::Instance};

/// How long a peer may be silent, in seconds.
pub(crate) const PEER_TIMEOUT: u64 = 3;

/// Grace period of a drain: longer than any fault lasts.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

/// Padding of workers' messages to clients that may negotiate compression: their frames stay short.
const PADDING: usize = 60;

const SECRET: &str = "--secret-key=simulation-s3cret";

/// The metrics of a gateway.
pub(crate) type Metrics = Rc<RefCell<Option<Registry>>>;

/// The address of a register. Hosts are numbered: registers, gateways, workers, then the rest.
pub(crate) const fn register(host: usize) -> SocketAddr {
    SocketAddr::new(ip(host), 1236)
}

/// The client address of a gateway.
pub(crate) const fn client_address(host: usize) -> SocketAddr {
    SocketAddr::new(ip(host), 7272)
}

/// The inner port of a gateway: unique, so it identifies the gateway.
pub(crate) const fn inner(number: usize) -> u16 {
    2900 + number as u16
}

const fn ip(host: usize) -> std::net::IpAddr {
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, host as u8 + 1))
}

fn registers(plan: &Plan) -> impl Iterator<Item = String> {
    (0..plan.registers).map(|host| format!("--register-address={}", register(host)))
}

/// Parses flags as the binaries do.
fn settings<A, C>(name: &str, flags: impl IntoIterator<Item = String>) -> anyhow::Result<C>
where
    A: Parser + Serialize,
    C: TryFrom<A, Error = anyhow::Error>,
{
    let argv = [name.to_owned(), SECRET.to_owned()].into_iter().chain(flags);
    let loaded = settings::load_from::<A>(argv.map(OsString::from), |_| None);
    loaded.map_err(|refused| anyhow::anyhow!("{refused}"))?.args.try_into()
}

pub(crate) async fn run_register(host: usize, stop: CancellationToken) -> anyhow::Result<()> {
    let flags = [format!("--listen={}", register(host)), "--startup-grace=1".to_owned()];
    let config = settings::<register::Args, register::Config>("register", flags)?;
    Register::bind(config)?.serve(stop.cancelled()).await;
    Ok(())
}

pub(crate) async fn run_gateway(
    plan: Rc<Plan>,
    number: usize,
    stop: CancellationToken,
    metrics: Metrics,
) -> anyhow::Result<()> {
    let host = plan.registers + number;
    let flags = [
        format!("--listen=ws://{}", client_address(host)),
        format!("--lan-ip={}", ip(host)),
        format!("--lan-port={}", inner(number)),
        format!("--peer-timeout={PEER_TIMEOUT}"),
        format!("--threads={}", plan.gateways[number]),
        "--connections-per-thread=1".to_owned(),
        "--no-worker-timeout=120".to_owned(),
    ];
    let rate = plan.message_rate.into_iter();
    let rate = rate.flat_map(|rate| {
        [format!("--max-messages-per-second={rate}"), "--message-burst=1".to_owned()]
    });
    // Shorter than the timeout of clients.
    let handshakes = ["--handshake-auth=worker", "--handshake-auth-timeout=4"];
    let handshakes = handshakes.into_iter().filter(|_| plan.handshakes).map(str::to_owned);
    let flags = flags.into_iter().chain(registers(&plan)).chain(rate).chain(handshakes);
    let compression = plan.compression.into_iter().flat_map(|which| {
        [format!("--compression={which}"), "--compression-min-size=0".to_owned()]
    });
    let limit = plan.uid_limit.map(|limit| format!("--max-connections-per-uid={limit}"));
    let flags = flags.chain(compression).chain(limit);
    let config = settings::<gateway::Args, gateway::Config>("gateway", flags)?;
    let mut registry = Registry::default();
    let gateway = Gateway::bind(config, &mut registry, Health::new())?;
    *metrics.borrow_mut() = Some(registry);
    gateway.serve(stop.cancelled(), DRAIN).await
}

pub(crate) async fn run_worker(
    plan: Rc<Plan>,
    number: usize,
    instance: usize,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let flags = [
        format!("--id={number}"),
        format!("--gateway-grace={}", plan.grace),
        format!("--peer-timeout={PEER_TIMEOUT}"),
        "--threads=1".to_owned(),
        "--presence-grace=1".to_owned(),
    ];
    let flags = flags.into_iter().chain(registers(&plan));
    let config = settings::<push_suite_worker::Args, push_suite_worker::Config>("worker", flags)?;
    let starting = Starting::new(None, stop, DRAIN);
    let worker = RecordingWorker(Instance {
        number: instance,
        reports: plan.reports,
        handshakes: plan.handshakes,
        watches: plan.members,
        padding: if plan.compression.is_some() { PADDING } else { 0 },
    });
    push_suite_worker::serve(worker, config, starting).await
}

/// The current metrics of a gateway, by name.
pub(crate) fn read(metrics: &Metrics) -> anyhow::Result<Vec<(String, i64)>> {
    let metrics = metrics.borrow();
    let registry = metrics.as_ref().context("it has not begun")?;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(' '));
    Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}
