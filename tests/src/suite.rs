//! A complete suite: registers, gateways and workers, all of them real processes.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    ops::{Deref, DerefMut},
    thread,
};

use protocol::{ConnectionId, Query, Secret};
use push_suite_cluster::{Cluster, ClusterGuard, Config, Tls};
use tempfile::TempDir;

use crate::{
    Browser, Ca, Conditions, Peer, Stderr, net, ports, process::Process, relay::Relay, with_timeout,
};

/// Configuration of a suite; see [`Suite::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    registers: usize,
    gateways: usize,
    workers: usize,
    threads: usize,
    app: &'static str,
    startup_grace: u64,
    logs: &'static str,
    stderr: Stderr,
    gateway_descriptors: Option<u32>,
    inner_tls: Option<&'static str>,
    wss: bool,
    gateway_flags: Vec<String>,
    worker_flags: Vec<String>,
    relayed: bool,
}

/// A running suite. Dropping it kills its processes; their logs are printed if the test failed, and
/// searched for the secret and for panics if it passed.
#[derive(Debug)]
pub struct Suite {
    /// The registers, in the order of their start.
    pub registers: Vec<Process>,
    /// Addresses of the registers.
    pub register_addrs: Vec<SocketAddr>,
    /// The gateways, in the order of their start.
    pub gateways: Vec<Gateway>,
    /// The worker processes, in the order of their start.
    pub workers: Vec<Process>,
    secret: String,
    gateways_started: usize,
    workers_started: usize,
    shape: Builder,
    logs: TempDir,
    ca: Ca,
    member: Tls,
}

/// A gateway process.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    /// Address of its client listener.
    pub clients: SocketAddr,
    /// Its inner address for peers, which is part of its client ids.
    pub inner: SocketAddr,
    /// The relay between it and its peers, if requested.
    pub relay: Option<Relay>,
}

impl Builder {
    /// Number of registers; default 1.
    pub fn registers(mut self, registers: usize) -> Self {
        self.registers = registers;
        self
    }

    /// Number of gateways; default 2.
    pub fn gateways(mut self, gateways: usize) -> Self {
        self.gateways = gateways;
        self
    }

    /// Number of worker processes; default 0.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Number of shards per gateway; default 1.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// App of the worker processes; default `bench`.
    pub fn app(mut self, app: &'static str) -> Self {
        self.app = app;
        self
    }

    /// Seconds that a register waits after its start for gateways to reconnect; default 0, since
    /// workers are started after all gateways.
    pub fn startup_grace(mut self, seconds: u64) -> Self {
        self.startup_grace = seconds;
        self
    }

    /// Log filter; default `debug`.
    pub fn logs(mut self, filter: &'static str) -> Self {
        self.logs = filter;
        self
    }

    /// Where the processes log to; default [`Stderr::Kept`].
    pub fn stderr(mut self, stderr: Stderr) -> Self {
        self.stderr = stderr;
        self
    }

    /// Limit of open files per gateway; default is that of the test.
    pub fn gateway_descriptors(mut self, most: u32) -> Self {
        self.gateway_descriptors = Some(most);
        self
    }

    /// Enables TLS between processes; `plain` is the policy for peers without TLS.
    pub fn inner_tls(mut self, plain: &'static str) -> Self {
        self.inner_tls = Some(plain);
        self
    }

    /// Disables TLS between processes, overriding the environment.
    pub fn plain(mut self) -> Self {
        self.inner_tls = None;
        self
    }

    /// Enables TLS for clients.
    pub fn wss(mut self) -> Self {
        self.wss = true;
        self
    }

    /// Disables TLS for clients, overriding the environment.
    pub fn plain_clients(mut self) -> Self {
        self.wss = false;
        self
    }

    /// Adds a flag with a value to every gateway.
    pub fn gateway_flag(mut self, flag: &str, value: &str) -> Self {
        self.gateway_flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Adds flags with values to every gateway.
    pub fn gateway_flags(self, flags: &[(&str, &str)]) -> Self {
        flags.iter().fold(self, |builder, (flag, value)| builder.gateway_flag(flag, value))
    }

    /// Adds a flag with a value to every worker process.
    pub fn worker_flag(mut self, flag: &str, value: &str) -> Self {
        self.worker_flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Puts a relay between each gateway and its peers.
    pub fn relayed(mut self) -> Self {
        self.relayed = true;
        self
    }

    /// Adds a flag without a value to every gateway.
    pub fn gateway_switch(mut self, flag: &str) -> Self {
        self.gateway_flags.push(flag.to_owned());
        self
    }

    /// Starts all processes and waits until each is ready.
    ///
    /// # Panics
    /// If a process does not become ready.
    pub async fn start(self) -> Suite {
        // Long enough not to occur in a log by chance.
        let random = RandomState::new().hash_one(0);
        let secret = format!("s3cret-{random:016x}");
        let logs = TempDir::with_prefix("push-suite-test.").unwrap();
        let ca = Ca::new();
        ["inner", "wss"].iter().for_each(|name| drop(ca.sign(name)));
        let member = ca.member("member");
        let mut suite = Suite {
            registers: Vec::new(),
            register_addrs: Vec::new(),
            gateways: Vec::new(),
            workers: Vec::new(),
            secret,
            gateways_started: 0,
            workers_started: 0,
            shape: self,
            logs,
            ca,
            member,
        };
        (0..suite.shape.registers).for_each(|_| suite.spawn_register());
        for register in &mut suite.registers {
            register.ready().await;
        }
        (0..suite.shape.gateways).for_each(|_| suite.spawn_gateway());
        for gateway in &mut suite.gateways {
            gateway.ready().await;
        }
        (0..suite.shape.workers).for_each(|_| suite.spawn_worker());
        for worker in &mut suite.workers {
            worker.ready().await;
        }
        suite
    }
}

impl Suite {
    /// A suite with the defaults: one register, two gateways with one shard each, no workers. With
    /// `SUITE_TLS` in the environment, TLS is enabled wherever possible.
    pub fn builder() -> Builder {
        let tls = env::var_os("SUITE_TLS").is_some();
        Builder {
            registers: 1,
            gateways: 2,
            workers: 0,
            threads: 1,
            app: "bench",
            startup_grace: 0,
            logs: "debug",
            stderr: Stderr::Kept,
            gateway_descriptors: None,
            inner_tls: tls.then_some("loopback"),
            wss: tls,
            gateway_flags: Vec::new(),
            worker_flags: Vec::new(),
            relayed: false,
        }
    }

    /// Starts another gateway and waits until it is ready.
    pub async fn add_gateway(&mut self) -> &mut Gateway {
        self.spawn_gateway();
        let gateway = self.gateways.last_mut().expect("it was just added");
        gateway.ready().await;
        gateway
    }

    /// Starts another worker process and waits until it is ready.
    pub async fn add_worker(&mut self) -> &mut Process {
        self.spawn_worker();
        let worker = self.workers.last_mut().expect("it was just added");
        worker.ready().await;
        worker
    }

    /// A WebSocket client of the gateway with this index.
    pub async fn browser(&self, gateway: usize) -> Browser {
        Browser::open(self.gateways[gateway].clients, "/").await
    }

    /// Opens client connections to the first gateway, and accepts them at its only worker.
    ///
    /// # Panics
    /// If other events arrive at the worker.
    pub async fn accepted_clients(
        &self,
        worker: &mut Peer,
        count: usize,
    ) -> Vec<(Browser, ConnectionId)> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push((self.browser(0).await, worker.accept_client().await));
        }
        clients
    }

    /// Opens a client connection to a gateway, of which a [`TestWorker`](crate::TestWorker) has
    /// answered a message.
    pub async fn served_browser(&self, gateway: usize) -> Browser {
        let mut browser = self.browser(gateway).await;
        browser.exchange("echo here", "here").await;
        browser
    }

    /// The same with a name in the query, by which a test identifies it at its worker.
    pub async fn named_browser(&self, name: &str, gateway: usize) -> Browser {
        Browser::open(self.gateways[gateway].clients, &format!("/?name={name}")).await
    }

    /// A native back-end link to the gateway with this index.
    pub async fn peer(&self, gateway: usize) -> Peer {
        Peer::back_end(self.gateways[gateway].inner, &self.secret()).await
    }

    /// A native worker link to the gateway with this index, registered with every shard.
    pub async fn worker_link(&self, gateway: usize, key: &str) -> Peer {
        let mut worker = Peer::worker(self.gateways[gateway].inner, &self.secret(), key).await;
        worker.query(Query::Groups).await;
        worker
    }

    /// A back end of the whole cluster.
    pub async fn cluster(&self) -> ClusterGuard {
        let registers = self.register_addrs.iter().map(SocketAddr::to_string);
        let config = Config::new(registers, self.secret()).tls(self.tls());
        let cluster = Cluster::start(config);
        with_timeout("a back end to be ready", cluster.ready()).await;
        cluster
    }

    /// The shared secret of the cluster.
    pub fn secret(&self) -> Secret {
        Secret::from(self.secret.as_str())
    }

    /// TLS configuration for connections to its processes, if TLS is enabled between them.
    pub fn tls(&self) -> Option<Tls> {
        self.shape.inner_tls.map(|_| self.member.clone())
    }

    /// The CA of its certificates.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    fn file(&self, name: &str) -> String {
        self.ca.path(name).display().to_string()
    }

    /// Environment of every process of this suite.
    pub fn env(&self) -> Vec<(String, String)> {
        let env = [("GW_SECRET_KEY", self.secret.as_str()), ("RUST_LOG", self.shape.logs)];
        let mut env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        if let Some(plain) = self.shape.inner_tls {
            let files = [("CERT", "inner.pem"), ("KEY", "inner.key"), ("CA", "ca.pem")];
            env.extend(files.map(|(end, file)| (format!("GW_INNER_TLS_{end}"), self.file(file))));
            env.push(("GW_INNER_TLS_PLAIN".to_owned(), plain.to_owned()));
        }
        env
    }

    /// Flags with the register addresses, for gateways and workers.
    fn register_flags(&self) -> Vec<String> {
        let addrs = self.register_addrs.iter();
        addrs.flat_map(|addr| ["--register-address".to_owned(), addr.to_string()]).collect()
    }

    fn spawn_register(&mut self) {
        let addr = ports::free();
        let name = format!("register-{}", self.registers.len() + 1);
        let grace = self.shape.startup_grace.to_string();
        let args = strings(&["--listen", &addr.to_string(), "--startup-grace", &grace]);
        let register = self.process(&name, "register", args);
        if self.shape.inner_tls.is_some() {
            net::use_tls(addr, &self.member);
        }
        self.registers.push(register);
        self.register_addrs.push(addr);
    }

    /// Starts another gateway without waiting for it.
    pub fn spawn_gateway(&mut self) {
        let (clients, inner) = (ports::free(), ports::free());
        self.gateways_started += 1;
        let scheme = if self.shape.wss { "wss" } else { "ws" };
        let listen = format!("{scheme}://{clients}");
        let (lan_ip, lan_port) = (inner.ip().to_string(), inner.port().to_string());
        let threads = self.shape.threads.to_string();
        let mut args = self.register_flags();
        args.extend(strings(&["--listen", &listen]));
        args.extend(strings(&["--lan-ip", &lan_ip, "--lan-port", &lan_port]));
        let relay = self.shape.relayed.then(|| {
            let lan_listen = ports::free();
            args.extend(strings(&["--lan-listen", &lan_listen.to_string()]));
            Relay::start(inner, lan_listen)
        });
        args.extend(strings(&["--threads", &threads]));
        // So that a few clients are enough to use all threads.
        args.extend(strings(&["--connections-per-thread", "1"]));
        args.extend(self.shape.gateway_flags.iter().cloned());
        if self.shape.wss {
            args.extend(strings(&["--tls-cert", &self.file("wss.pem")]));
            args.extend(strings(&["--tls-key", &self.file("wss.key")]));
            net::use_tls(clients, &self.member);
        }
        if self.shape.inner_tls.is_some() {
            net::use_tls(inner, &self.member);
        }
        let name = format!("gateway-{}", self.gateways_started);
        let process = self.process(&name, "gateway", args);
        self.gateways.push(Gateway { process, clients, inner, relay });
    }

    /// Starts another worker process without waiting for it.
    pub fn spawn_worker(&mut self) {
        self.workers_started += 1;
        let id = self.workers_started.to_string();
        let mut args = self.register_flags();
        args.extend(strings(&["--id", &id, "--app", self.shape.app]));
        args.extend(self.shape.worker_flags.iter().cloned());
        let name = format!("worker-{}", self.workers_started);
        let worker = self.process(&name, "business-worker", args);
        self.workers.push(worker);
    }

    /// Starts an extra process with the registers of this suite, without waiting for it.
    pub fn start_process(&self, name: &str, binary: &'static str, flags: &[&str]) -> Process {
        self.process(name, binary, [self.register_flags(), strings(flags)].concat())
    }

    fn process(&self, name: &str, binary: &'static str, args: Vec<String>) -> Process {
        let is_gateway = binary == "gateway";
        let descriptors = self.shape.gateway_descriptors.filter(|_| is_gateway);
        let conditions = Conditions { stderr: self.shape.stderr, descriptors };
        Process::start(name, binary, args, self.env(), self.logs.path(), conditions)
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let gateways = self.gateways.iter().map(|gateway| &gateway.process);
        self.registers.iter().chain(gateways).chain(&self.workers)
    }
}

impl Gateway {
    /// Partitions it from its peers, but not from registers.
    ///
    /// # Panics
    /// If it has no relay.
    pub fn partition(&self) {
        self.relay.as_ref().expect("it is relayed").cut();
    }

    /// Partitions it from one worker, given as name and id.
    ///
    /// # Panics
    /// If it has no relay.
    pub fn partition_from(&self, worker: &str) {
        self.relay.as_ref().expect("it is relayed").cut_peer(worker);
    }

    /// Ends all partitions.
    ///
    /// # Panics
    /// If it has no relay.
    pub fn heal(&self) {
        self.relay.as_ref().expect("it is relayed").heal();
    }
}

impl Deref for Gateway {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Gateway {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        if thread::panicking() {
            self.processes().for_each(|process| show(&process.name, &process.log()));
            return;
        }
        let violation = self.processes().find_map(|process| process.log_violation(&self.secret));
        assert!(violation.is_none(), "{}", violation.unwrap_or_default());
    }
}

#[expect(clippy::print_stderr, reason = "cargo shows it for failed tests only")]
fn show(name: &str, log: &str) {
    // The end matters most, and the output of a failed test must stay readable.
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(200)..];
    eprintln!("--- {name}, the last {} of {} lines", tail.len(), lines.len());
    tail.iter().for_each(|line| eprintln!("{line}"));
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}
