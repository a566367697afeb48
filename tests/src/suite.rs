//! A whole suite: a register, gateways, and workers, all of them real processes.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    ops::{Deref, DerefMut},
    thread,
};

use client::{Cluster, Config, Tls};
use protocol::{Query, Secret};
use tempfile::TempDir;

use crate::{
    Browser, Ca, Conditions, Peer, Stderr, net, ports, process::Process, relay::Relay, soon,
};

/// Describes a suite; see [`Suite::builder`].
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

/// A running suite. Its processes are killed when it is dropped; their logs are shown if the test
/// failed, and searched for the secret and for panics if it did not.
#[derive(Debug)]
pub struct Suite {
    /// The registers, in the order started.
    pub registers: Vec<Process>,
    /// Where peers find them.
    pub register_addrs: Vec<SocketAddr>,
    /// The gateways, in the order started.
    pub gateways: Vec<Gateway>,
    /// The worker processes, in the order started.
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
    /// Where its clients come to.
    pub clients: SocketAddr,
    /// Where its peers come to: the address in its client ids.
    pub inner: SocketAddr,
    /// What its peers come through, if that was asked for.
    pub relay: Option<Relay>,
}

impl Builder {
    /// How many registers there are; one if not said.
    pub fn registers(mut self, registers: usize) -> Self {
        self.registers = registers;
        self
    }

    /// How many gateways there are; two if not said.
    pub fn gateways(mut self, gateways: usize) -> Self {
        self.gateways = gateways;
        self
    }

    /// How many worker processes there are; none if not said.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many shards each gateway has; one if not said.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Which app the worker processes run; `bench` if not said.
    pub fn app(mut self, app: &'static str) -> Self {
        self.app = app;
        self
    }

    /// How many seconds a register waits after its start for gateways to come back; none if not
    /// said, since workers are started when all gateways are there.
    pub fn startup_grace(mut self, seconds: u64) -> Self {
        self.startup_grace = seconds;
        self
    }

    /// What is logged; `debug` if not said.
    pub fn logs(mut self, filter: &'static str) -> Self {
        self.logs = filter;
        self
    }

    /// What becomes of what the processes log; it is kept if not said.
    pub fn stderr(mut self, stderr: Stderr) -> Self {
        self.stderr = stderr;
        self
    }

    /// How many files each gateway may have open; as many as the test may if not said.
    pub fn gateway_descriptors(mut self, most: u32) -> Self {
        self.gateway_descriptors = Some(most);
        self
    }

    /// Has the processes speak TLS with each other; `plain` says what becomes of peers that do not.
    pub fn inner_tls(mut self, plain: &'static str) -> Self {
        self.inner_tls = Some(plain);
        self
    }

    /// Has the processes speak without TLS with each other, whatever the environment says.
    pub fn plain(mut self) -> Self {
        self.inner_tls = None;
        self
    }

    /// Has clients come over TLS.
    pub fn wss(mut self) -> Self {
        self.wss = true;
        self
    }

    /// One more flag for every gateway.
    pub fn gateway_flag(mut self, flag: &str, value: &str) -> Self {
        self.gateway_flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// One more flag for every worker process.
    pub fn worker_flag(mut self, flag: &str, value: &str) -> Self {
        self.worker_flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Peers come to each gateway through a relay.
    pub fn relayed(mut self) -> Self {
        self.relayed = true;
        self
    }

    /// One more switch for every gateway.
    pub fn gateway_switch(mut self, flag: &str) -> Self {
        self.gateway_flags.push(flag.to_owned());
        self
    }

    /// Starts all of it and waits until every process is ready.
    ///
    /// # Panics
    /// When a process does not become ready.
    pub async fn start(self) -> Suite {
        // Long enough that no log has it by chance.
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
    /// Two gateways of one shard, and no workers, unless it is told otherwise. With `SUITE_TLS` in
    /// the environment, all is TLS that can be.
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

    /// Lets one more gateway join, and waits until it is ready.
    pub async fn add_gateway(&mut self) -> &mut Gateway {
        self.spawn_gateway();
        let gateway = self.gateways.last_mut().expect("there is the new one");
        gateway.ready().await;
        gateway
    }

    /// Lets one more worker process join, and waits until it is ready.
    pub async fn add_worker(&mut self) -> &mut Process {
        self.spawn_worker();
        let worker = self.workers.last_mut().expect("there is the new one");
        worker.ready().await;
        worker
    }

    /// A WebSocket client of the gateway of that number.
    pub async fn browser(&self, gateway: usize) -> Browser {
        Browser::open(self.gateways[gateway].clients, "/").await
    }

    /// The same, with a name: test workers find it by that.
    pub async fn named(&self, name: &str, gateway: usize) -> Browser {
        Browser::open(self.gateways[gateway].clients, &format!("/?name={name}")).await
    }

    /// A native link to the gateway of that number, that commands and asks.
    pub async fn peer(&self, gateway: usize) -> Peer {
        Peer::client(self.gateways[gateway].inner, &self.secret()).await
    }

    /// A native link to the gateway of that number, that takes events; every shard knows of it.
    pub async fn worker_link(&self, gateway: usize, key: &str) -> Peer {
        let mut worker = Peer::worker(self.gateways[gateway].inner, &self.secret(), key).await;
        worker.ask(Query::Groups).await;
        worker
    }

    /// A back end of the whole cluster, that commands and asks.
    pub async fn cluster(&self) -> Cluster {
        let registers = self.register_addrs.iter().map(SocketAddr::to_string);
        let config = Config { tls: self.tls(), ..Config::new(registers, self.secret()) };
        let cluster = Cluster::start(config);
        soon("a cluster to be ready", cluster.ready()).await;
        cluster
    }

    /// What the cluster shares.
    pub fn secret(&self) -> Secret {
        Secret::from(self.secret.as_str())
    }

    /// What connects to its processes over TLS, if they speak that.
    pub fn tls(&self) -> Option<Tls> {
        self.shape.inner_tls.map(|_| self.member.clone())
    }

    /// Who has signed its certificates.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    fn file(&self, name: &str) -> String {
        self.ca.path(name).display().to_string()
    }

    /// The environment that every process of this suite has.
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

    /// The flags by which gateways and workers find the registers.
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
            net::speaks_tls(addr, &self.member);
        }
        self.registers.push(register);
        self.register_addrs.push(addr);
    }

    /// Starts one more gateway, without waiting for it.
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
            let listens = ports::free();
            args.extend(strings(&["--lan-listen", &listens.to_string()]));
            Relay::start(inner, listens)
        });
        args.extend(strings(&["--threads", &threads]));
        // A few clients are to be on all of them.
        args.extend(strings(&["--connections-per-thread", "1"]));
        args.extend(self.shape.gateway_flags.iter().cloned());
        if self.shape.wss {
            args.extend(strings(&["--tls-cert", &self.file("wss.pem")]));
            args.extend(strings(&["--tls-key", &self.file("wss.key")]));
            net::speaks_tls(clients, &self.member);
        }
        if self.shape.inner_tls.is_some() {
            net::speaks_tls(inner, &self.member);
        }
        let name = format!("gateway-{}", self.gateways_started);
        let process = self.process(&name, "gateway", args);
        self.gateways.push(Gateway { process, clients, inner, relay });
    }

    /// Starts one more worker process, without waiting for it.
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

    /// Starts a process of the test's own that follows the registers of this suite, without waiting for it.
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
    /// Cuts it off from its peers; from registers it is not.
    ///
    /// # Panics
    /// When it has no relay.
    pub fn cut_off(&self) {
        self.relay.as_ref().expect("it is relayed").cut();
    }

    /// Cuts it off from a worker, by that one's name and id.
    ///
    /// # Panics
    /// When it has no relay.
    pub fn cut_off_from(&self, worker: &str) {
        self.relay.as_ref().expect("it is relayed").cut_peer(worker);
    }

    /// Lets peers reach it again.
    ///
    /// # Panics
    /// When it has no relay.
    pub fn let_back(&self) {
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
        let blemish = self.processes().find_map(|process| process.blemish(&self.secret));
        assert!(blemish.is_none(), "{}", blemish.unwrap_or_default());
    }
}

#[expect(clippy::print_stderr, reason = "cargo shows it for a test that failed, and only then")]
fn show(name: &str, log: &str) {
    // The end is what matters, and a failed test must stay readable.
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(200)..];
    eprintln!("--- {name}, the last {} of {} lines", tail.len(), lines.len());
    tail.iter().for_each(|line| eprintln!("{line}"));
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}
