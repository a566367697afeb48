//! `/readyz` tells the truth: what a process lacks, it says, and nothing else.
//!
//! A worker that answers no more is in `silence.rs`, too much memory in `memory.rs`.

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
    Browser, Suite, eventually, on_one_and_three_threads,
    process::{Process, Signal},
    suite::Builder,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

on_one_and_three_threads!(
    a_gateway_without_a_register_and_without_a_worker_says_so,
    a_gateway_that_drains_is_not_ready,
    a_worker_that_drains_is_not_ready,
    a_register_that_goes_and_comes_back_is_missed_and_then_not,
    a_register_that_stands_still_is_missed_by_all_and_harms_no_client,
    with_two_registers_one_may_stand_still,
    a_gateway_is_not_known_to_a_register_that_stood_still_before_it_came,
    a_register_that_says_nothing_to_gateways_is_asked_where_they_are,
);

/// Long enough for a process on a busy machine, and short enough for a test.
const PEER_TIMEOUT: &str = "3";

const NO_REGISTER: &str = "register: none is reached";
const NO_WORKER: &str = "worker: no worker is linked";
const DRAINING: &str = "draining: the process is going down";

fn impatient(threads: usize) -> Builder {
    let builder = Suite::builder().gateways(1).threads(threads);
    builder.gateway_flag("--peer-timeout", PEER_TIMEOUT).worker_flag("--peer-timeout", PEER_TIMEOUT)
}

async fn a_gateway_without_a_register_and_without_a_worker_says_so(threads: usize) {
    let mut suite = Suite::builder().gateways(0).threads(threads).start().await;
    suite.registers[0].kill();
    suite.spawn_gateway();
    lacks_just(&suite.gateways[0], &[NO_REGISTER, NO_WORKER]).await;
    suite.registers[0].start_again().await;
    lacks_just(&suite.gateways[0], &[NO_WORKER]).await;
    suite.add_worker().await;
    lacks_just(&suite.gateways[0], &[]).await;
    suite.workers[0].kill();
    lacks_just(&suite.gateways[0], &[NO_WORKER]).await;
}

async fn a_gateway_that_drains_is_not_ready(threads: usize) {
    let mut suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let _ann = suite.browser(0).await;
    // It is not done with this, so the gateway waits.
    let _delivery = worker.event().await;
    lacks_just(&suite.gateways[0], &[]).await;
    suite.gateways[0].signal(Signal::Term);
    lacks_just(&suite.gateways[0], &[DRAINING]).await;
}

async fn a_worker_that_drains_is_not_ready(threads: usize) {
    let mut suite = Suite::builder().gateways(1).workers(1).threads(threads).start().await;
    lacks_just(&suite.workers[0], &[]).await;
    // It cannot say goodbye to one that does not hear.
    suite.gateways[0].pause().await;
    suite.workers[0].signal(Signal::Term);
    eventually("the worker to say that it drains", async || {
        suite.workers[0].lacks().await?.iter().any(|lacks| lacks == DRAINING).then_some(())
    })
    .await;
    suite.gateways[0].go_on();
}

async fn a_register_that_goes_and_comes_back_is_missed_and_then_not(threads: usize) {
    let mut suite = impatient(threads).workers(1).start().await;
    suite.registers[0].kill();
    lacks_just(&suite.gateways[0], &[NO_REGISTER]).await;
    lacks_just(&suite.workers[0], &["register: none is connected"]).await;
    suite.registers[0].start_again().await;
    lacks_just(&suite.gateways[0], &[]).await;
    lacks_just(&suite.workers[0], &[]).await;
}

async fn a_register_that_stands_still_is_missed_by_all_and_harms_no_client(threads: usize) {
    let mut suite = impatient(threads).workers(1).start().await;
    let mut ann = suite.browser(0).await;
    echoes(&mut ann).await;
    suite.registers[0].pause().await;
    lacks_just(&suite.gateways[0], &[NO_REGISTER]).await;
    lacks_just(&suite.workers[0], &["register: none is connected"]).await;
    // Connecting to it works all the same: that is the kernel.
    tokio::time::sleep(Duration::from_secs(4)).await;
    lacks_just(&suite.gateways[0], &[NO_REGISTER]).await;
    lacks_just(&suite.workers[0], &["register: none is connected"]).await;
    echoes(&mut ann).await;
    suite.registers[0].go_on();
    lacks_just(&suite.gateways[0], &[]).await;
    lacks_just(&suite.workers[0], &[]).await;
    echoes(&mut ann).await;
}

async fn with_two_registers_one_may_stand_still(threads: usize) {
    let mut suite = impatient(threads).registers(2).workers(1).start().await;
    let mut ann = suite.browser(0).await;
    echoes(&mut ann).await;
    suite.registers[0].pause().await;
    // By now everybody knows of that.
    eventually("the worker to follow one register", async || {
        (suite.workers[0].metric("worker_registers").await? == 1.0).then_some(())
    })
    .await;
    suite.add_gateway().await;
    lacks_just(&suite.gateways[1], &[]).await;
    // The worker knows it, from the other one.
    let mut bob = suite.browser(1).await;
    echoes(&mut bob).await;
    for process in [&suite.gateways[0], &suite.gateways[1], &suite.workers[0]] as [&Process; 3] {
        lacks_just(process, &[]).await;
    }
    suite.registers[0].go_on();
    eventually("the first register to know both gateways", async || {
        (suite.registers[0].metric("register_gateways").await? == 2.0).then_some(())
    })
    .await;
    echoes(&mut ann).await;
}

async fn a_gateway_is_not_known_to_a_register_that_stood_still_before_it_came(threads: usize) {
    let mut suite = Suite::builder().gateways(0).threads(threads).start().await;
    suite.registers[0].pause().await;
    suite.spawn_gateway();
    lacks_just(&suite.gateways[0], &[NO_REGISTER, NO_WORKER]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    lacks_just(&suite.gateways[0], &[NO_REGISTER, NO_WORKER]).await;
    suite.registers[0].go_on();
    lacks_just(&suite.gateways[0], &[NO_WORKER]).await;
}

async fn a_register_that_says_nothing_to_gateways_is_asked_where_they_are(threads: usize) {
    let mut suite = impatient(threads).registers(0).gateways(0).start().await;
    let register = Reticent::start().await;
    suite.register_addrs.push(register.addr);
    suite.spawn_gateway();
    lacks_just(&suite.gateways[0], &[NO_WORKER]).await;
    register.is_quiet.store(true, Relaxed);
    lacks_just(&suite.gateways[0], &[NO_REGISTER, NO_WORKER]).await;
    register.is_quiet.store(false, Relaxed);
    lacks_just(&suite.gateways[0], &[NO_WORKER]).await;
}

/// A register that speaks as PHP's does: to workers when they ask, and to gateways never.
struct Reticent {
    addr: SocketAddr,
    /// Whether it says nothing to anybody.
    is_quiet: Arc<AtomicBool>,
}

impl Reticent {
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
                            | ToRegister::GatewayLeave => {}
                        }
                    }
                });
            }
        });
        Self { addr, is_quiet }
    }
}

async fn echoes(browser: &mut Browser) {
    browser.send("echo").await;
    assert_eq!(browser.hears_text().await, "echo");
}

/// Waits until a process says that it lacks these things, and no others.
async fn lacks_just(process: &Process, reasons: &[&str]) {
    eventually((&process.name, reasons), async || {
        (process.lacks().await? == reasons).then_some(())
    })
    .await;
}
