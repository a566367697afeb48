//! `/readyz` reports exactly the reasons why a process is not ready.
//!
//! Unresponsive workers are tested in `peer_timeout.rs`, memory pressure in `memory_budget.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::BytesMut;
use protocol::discovery::{FromRegister, ToRegister};
use suite_tests::{
    Suite, eventually, on_one_and_three_threads,
    process::{Process, Signal},
    suite::Builder,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

on_one_and_three_threads!(
    gateway_without_register_and_worker_is_not_ready,
    draining_gateway_is_not_ready,
    draining_worker_is_not_ready,
    register_outage_is_reported_until_it_recovers,
    stalled_register_is_reported_by_all_and_harms_no_client,
    two_registers_tolerate_a_stall_of_one,
    gateway_is_not_announced_to_a_register_stalled_before_its_start,
    php_register_is_polled_for_gateways,
);

/// Long enough for a process on a busy machine, and short enough for a test.
const PEER_TIMEOUT: &str = "3";

const NO_REGISTER: &str = "register: none is reached";
const NO_WORKER: &str = "worker: no worker is linked";
const DRAINING: &str = "draining: the process is shutting down";

fn short_peer_timeout(threads: usize) -> Builder {
    let builder = Suite::builder().gateways(1).threads(threads);
    builder.gateway_flag("--peer-timeout", PEER_TIMEOUT).worker_flag("--peer-timeout", PEER_TIMEOUT)
}

async fn gateway_without_register_and_worker_is_not_ready(threads: usize) {
    let mut suite = Suite::builder().gateways(0).threads(threads).start().await;
    suite.registers[0].kill();
    suite.spawn_gateway();
    wait_for_reasons(&suite.gateways[0], &[NO_REGISTER, NO_WORKER]).await;
    suite.registers[0].restart().await;
    wait_for_reasons(&suite.gateways[0], &[NO_WORKER]).await;
    suite.add_worker().await;
    wait_for_reasons(&suite.gateways[0], &[]).await;
    suite.workers[0].kill();
    wait_for_reasons(&suite.gateways[0], &[NO_WORKER]).await;
}

async fn draining_gateway_is_not_ready(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _ann = suite.browser(0).await;
    // This event is not acknowledged, so the gateway keeps draining.
    let _delivery = worker.event().await;
    wait_for_reasons(&suite.gateways[0], &[]).await;
    suite.gateways[0].signal(Signal::Term);
    wait_for_reasons(&suite.gateways[0], &[DRAINING]).await;
}

async fn draining_worker_is_not_ready(threads: usize) {
    let mut suite = Suite::builder().gateways(1).workers(1).threads(threads).start().await;
    wait_for_reasons(&suite.workers[0], &[]).await;
    // A stalled gateway keeps it from finishing its drain.
    suite.gateways[0].pause().await;
    suite.workers[0].signal(Signal::Term);
    eventually("the worker to report that it drains", async || {
        suite.workers[0]
            .unready_reasons()
            .await?
            .iter()
            .any(|reason| reason == DRAINING)
            .then_some(())
    })
    .await;
    suite.gateways[0].resume();
}

async fn register_outage_is_reported_until_it_recovers(threads: usize) {
    let mut suite = short_peer_timeout(threads).workers(1).start().await;
    suite.registers[0].kill();
    wait_for_reasons(&suite.gateways[0], &[NO_REGISTER]).await;
    wait_for_reasons(&suite.workers[0], &["register: none is connected"]).await;
    suite.registers[0].restart().await;
    wait_for_reasons(&suite.gateways[0], &[]).await;
    wait_for_reasons(&suite.workers[0], &[]).await;
}

async fn stalled_register_is_reported_by_all_and_harms_no_client(threads: usize) {
    let mut suite = short_peer_timeout(threads).workers(1).start().await;
    let mut ann = suite.browser(0).await;
    ann.exchange("echo", "echo").await;
    suite.registers[0].pause().await;
    wait_for_reasons(&suite.gateways[0], &[NO_REGISTER]).await;
    wait_for_reasons(&suite.workers[0], &["register: none is connected"]).await;
    // Connecting to it still succeeds: the kernel accepts.
    tokio::time::sleep(Duration::from_secs(4)).await;
    wait_for_reasons(&suite.gateways[0], &[NO_REGISTER]).await;
    wait_for_reasons(&suite.workers[0], &["register: none is connected"]).await;
    ann.exchange("echo", "echo").await;
    suite.registers[0].resume();
    wait_for_reasons(&suite.gateways[0], &[]).await;
    wait_for_reasons(&suite.workers[0], &[]).await;
    ann.exchange("echo", "echo").await;
}

async fn two_registers_tolerate_a_stall_of_one(threads: usize) {
    let mut suite = short_peer_timeout(threads).registers(2).workers(1).start().await;
    let mut ann = suite.browser(0).await;
    ann.exchange("echo", "echo").await;
    suite.registers[0].pause().await;
    // By then every process has noticed.
    suite.workers[0].wait_for_metric("pushsuite_worker_registers", 1.0).await;
    suite.add_gateway().await;
    wait_for_reasons(&suite.gateways[1], &[]).await;
    // The worker has the gateway from the other register.
    let mut bob = suite.browser(1).await;
    bob.exchange("echo", "echo").await;
    for process in [&suite.gateways[0], &suite.gateways[1], &suite.workers[0]] as [&Process; 3] {
        wait_for_reasons(process, &[]).await;
    }
    suite.registers[0].resume();
    suite.registers[0].wait_for_metric("pushsuite_register_gateways", 2.0).await;
    ann.exchange("echo", "echo").await;
}

async fn gateway_is_not_announced_to_a_register_stalled_before_its_start(threads: usize) {
    let mut suite = Suite::builder().gateways(0).threads(threads).start().await;
    suite.registers[0].pause().await;
    suite.spawn_gateway();
    wait_for_reasons(&suite.gateways[0], &[NO_REGISTER, NO_WORKER]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    wait_for_reasons(&suite.gateways[0], &[NO_REGISTER, NO_WORKER]).await;
    suite.registers[0].resume();
    wait_for_reasons(&suite.gateways[0], &[NO_WORKER]).await;
}

async fn php_register_is_polled_for_gateways(threads: usize) {
    let mut suite = short_peer_timeout(threads).registers(0).gateways(0).start().await;
    let register = PhpRegister::start().await;
    suite.register_addrs.push(register.addr);
    suite.spawn_gateway();
    wait_for_reasons(&suite.gateways[0], &[NO_WORKER]).await;
    register.is_quiet.store(true, Relaxed);
    wait_for_reasons(&suite.gateways[0], &[NO_REGISTER, NO_WORKER]).await;
    register.is_quiet.store(false, Relaxed);
    wait_for_reasons(&suite.gateways[0], &[NO_WORKER]).await;
}

/// A register with the PHP protocol: it replies to workers that connect, and never to gateways.
struct PhpRegister {
    addr: SocketAddr,
    /// Whether it replies to no peer.
    is_quiet: Arc<AtomicBool>,
}

impl PhpRegister {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (is_quiet, gateways) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let quiet = Arc::clone(&is_quiet);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (gateways, quiet) = (Arc::clone(&gateways), Arc::clone(&quiet));
                tokio::spawn(async move {
                    let (reader, mut writer) = stream.into_split();
                    let mut lines = BufReader::new(reader).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        match ToRegister::parse(line.as_bytes()).unwrap() {
                            ToRegister::GatewayConnect(connect) => {
                                gateways.lock().unwrap().push(connect.gateway);
                            }
                            ToRegister::WorkerConnect(_) if !quiet.load(Relaxed) => {
                                let gateways = gateways.lock().unwrap().clone();
                                let mut list = BytesMut::new();
                                FromRegister::BroadcastAddresses { gateways, presence: None }
                                    .encode(&mut list);
                                writer.write_all(&list).await.unwrap();
                            }
                            ToRegister::WorkerConnect(_)
                            | ToRegister::Ping { .. }
                            | ToRegister::GatewayLeave
                            | ToRegister::RefusedPeers { .. } => {}
                        }
                    }
                });
            }
        });
        Self { addr, is_quiet }
    }
}

/// Waits until a process reports exactly these reasons.
async fn wait_for_reasons(process: &Process, reasons: &[&str]) {
    eventually((&process.name, reasons), async || {
        (process.unready_reasons().await? == reasons).then_some(())
    })
    .await;
}
