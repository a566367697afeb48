//! The processes of a run: started, killed, paused, restarted, and never left running.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use suite_tests::{Raw, ports};
use tokio::time::{Instant, sleep};

use crate::{
    hosts,
    network::{Network, on_host},
    plan::{GATEWAYS, PEER_TIMEOUT, Process, WORKERS},
};

/// The timeout of a graceful exit: longer than the grace period of a process.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The interval of checks whether a process has exited.
pub const SOON: Duration = Duration::from_millis(10);

/// A process, and the means to restart it.
#[derive(Debug)]
pub struct ManagedProcess {
    binary: PathBuf,
    args: Vec<String>,
    /// The namespace of its host, if it has one.
    namespace: Option<PathBuf>,
    /// Its admin address.
    admin: SocketAddr,
    log: PathBuf,
    child: Option<Child>,
}

/// All processes of the suite.
#[derive(Debug)]
pub struct Processes {
    register: ManagedProcess,
    gateways: Vec<ManagedProcess>,
    workers: Vec<ManagedProcess>,
    /// Their addresses.
    pub addresses: Addresses,
}

/// The addresses of processes: where they listen, and where their peers connect.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Where the register listens.
    pub register: SocketAddr,
    /// Where its peers connect.
    pub register_proxied: SocketAddr,
    /// Where clients connect, by gateway.
    pub clients: Vec<SocketAddr>,
    /// Where gateways listen for peers.
    pub inner: Vec<SocketAddr>,
    /// Where workers connect, which is the address in client ids.
    pub inner_proxied: Vec<SocketAddr>,
}

impl Addresses {
    /// Chooses free ports; behind proxies, peers connect to other ports than processes listen on.
    pub fn choose(proxied: bool) -> Self {
        let many = || (0..GATEWAYS).map(|_| ports::free()).collect::<Vec<_>>();
        let (register, inner) = (ports::free(), many());
        Self {
            register_proxied: if proxied { ports::free() } else { register },
            inner_proxied: if proxied { many() } else { inner.clone() },
            register,
            inner,
            clients: many(),
        }
    }

    /// The addresses of hosts.
    pub fn on_hosts() -> Self {
        let inner: Vec<_> = (0..GATEWAYS).map(hosts::inner).collect();
        Self {
            register: hosts::register(),
            register_proxied: hosts::register(),
            clients: (0..GATEWAYS).map(hosts::clients).collect(),
            inner_proxied: inner.clone(),
            inner,
        }
    }
}

/// The gateway grace period of workers, in seconds.
const GRACE: u64 = 3;

/// The same on hosts, where a gateway that is only cut off must not be declared dead: longer than a
/// partition and the time to reconnect.
const HOSTS_GRACE: u64 = 10;

/// The secret of the cluster: long enough not to occur in a log by chance.
const SECRET: &str = "chaos-s3cret-c4c0ffee";

impl Processes {
    /// Starts all processes, each on its host if there is a network, with binaries from `bin`, and
    /// logs and journals in `folder`.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(
        bin: &Path,
        folder: &Path,
        addresses: Addresses,
        network: Option<&Network>,
    ) -> anyhow::Result<Self> {
        let journals = journals(folder);
        fs::create_dir_all(&journals)?;
        let start = |process: Process, binary: &str, mut args: Vec<String>| {
            let log = folder.join(format!("{process}.log"));
            let admin = network.map_or_else(ports::free, |_| hosts::admin(process));
            args.push(format!("--admin-listen={admin}"));
            let namespace = network.map(|network| network.namespace(process));
            let binary = bin.join(binary);
            let mut managed = ManagedProcess { binary, args, namespace, admin, log, child: None };
            managed.start().map(|()| managed)
        };
        let register_address = format!("--register-address={}", addresses.register_proxied);
        let listen = format!("--listen={}", addresses.register);
        let grace = "--startup-grace=1".to_owned();
        let register = start(Process::Register, "register", vec![listen, grace])?;
        let gateways = (0..GATEWAYS).map(|number| {
            let (inner, proxied) = (addresses.inner[number], addresses.inner_proxied[number]);
            let args = vec![
                register_address.clone(),
                format!("--listen=ws://{}", addresses.clients[number]),
                format!("--lan-ip={}", proxied.ip()),
                format!("--lan-port={}", proxied.port()),
                format!("--lan-listen={inner}"),
                format!("--peer-timeout={PEER_TIMEOUT}"),
                // The first gateway has one shard, the others have two.
                format!("--threads={}", 1 + number.min(1)),
                "--connections-per-thread=1".to_owned(),
            ];
            start(Process::Gateway(number), "gateway", args)
        });
        let gateways = gateways.collect::<anyhow::Result<_>>()?;
        let workers = (0..WORKERS).map(|number| {
            let journal = format!("--journal={}", journals.display());
            let grace = if network.is_some() { HOSTS_GRACE } else { GRACE };
            let grace = format!("--gateway-grace={grace}");
            let mut args = vec![register_address.clone(), journal, grace, format!("--id={number}")];
            args.push("--presence-grace=1".to_owned());
            // Behind proxies, gateways detect silent peers; in partitions, both sides have to.
            args.extend(network.map(|_| format!("--peer-timeout={PEER_TIMEOUT}")));
            start(Process::Worker(number), "chaos-worker", args)
        });
        Ok(Self { register, gateways, workers: workers.collect::<anyhow::Result<_>>()?, addresses })
    }

    /// The process with that id.
    pub fn get(&mut self, process: Process) -> &mut ManagedProcess {
        match process {
            Process::Register => &mut self.register,
            Process::Gateway(number) => &mut self.gateways[number],
            Process::Worker(number) => &mut self.workers[number],
        }
    }

    /// Waits until every process is ready: otherwise the first worker would own all clients.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for process in self.all() {
            while Raw::get(process.admin, "/readyz").await.is_none_or(|page| page.status != 200) {
                ensure!(Instant::now() < deadline, "{} does not become ready", process.name());
                sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    /// Waits until all workers are linked with every gateway, at most for [`PATIENCE`]: only then do
    /// messages that were forwarded during the last fault arrive. A connection attempt that began
    /// while a host was away repeats its first packet after 1, 2, and 4 s.
    pub async fn linked(&self) {
        let deadline = Instant::now() + PATIENCE;
        for gateway in &self.gateways {
            while gateway.linked_workers().await != Some(self.workers.len())
                && Instant::now() < deadline
            {
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &ManagedProcess> {
        self.workers.iter().chain(&self.gateways).chain([&self.register])
    }

    /// Drains all processes, as an operator would: gateways first. Returns the failures.
    ///
    /// # Errors
    /// When a process cannot be waited for.
    pub async fn stop(&mut self) -> anyhow::Result<Vec<String>> {
        let mut failures = Vec::new();
        for kind in
            [&mut self.gateways[..], &mut self.workers, std::slice::from_mut(&mut self.register)]
        {
            for process in kind.iter_mut() {
                process.signal("TERM")?;
            }
            for process in kind {
                let deadline = Instant::now() + PATIENCE;
                let status = loop {
                    match process.try_wait()? {
                        None if Instant::now() < deadline => sleep(SOON).await,
                        status => break status,
                    }
                };
                failures.extend(process.exit_failure(status));
            }
        }
        for process in self.all() {
            failures.extend(process.log_failure()?);
        }
        Ok(failures)
    }
}

/// The folder of the workers' journals.
pub fn journals(folder: &Path) -> PathBuf {
    folder.join("journals")
}

impl ManagedProcess {
    /// Starts the process. Its output is appended to its log.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let output: File = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = match &self.namespace {
            Some(namespace) => on_host(namespace, &self.binary),
            None => Command::new(&self.binary),
        };
        let child = command
            .args(&self.args)
            .env_clear()
            .env("GW_SECRET_KEY", SECRET)
            // TLS is configured by the environment of the run.
            .envs(std::env::vars().filter(|(name, _)| name.starts_with("GW_INNER_TLS_")))
            .env("RUST_LOG", std::env::var("CHAOS_LOG").unwrap_or_else(|_| "info".to_owned()))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} does not start", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    fn name(&self) -> String {
        self.log.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Sends SIGKILL, and waits for the exit.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            child.wait()?;
        }
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is not running, also if it exited by itself.
    pub fn signal(&mut self, signal: &str) -> anyhow::Result<()> {
        let name = self.name();
        let child = self.child.as_mut().with_context(|| format!("{name} is not running"))?;
        if let Some(status) = child.try_wait()? {
            bail!("{name} exited unexpectedly: {status}");
        }
        // The process is not reaped yet, so the pid cannot have been reused.
        let command = format!("kill -{signal} {}", child.id());
        let status = Command::new("sh").args(["-c", &command]).status()?;
        ensure!(status.success(), "{command}: {status}");
        Ok(())
    }

    /// Whether it serves its admin pages: signal handlers are installed then.
    pub async fn is_up(&self) -> bool {
        Raw::get(self.admin, "/livez").await.is_some()
    }

    /// The number of workers that are linked with this gateway; `None` if it does not say.
    async fn linked_workers(&self) -> Option<usize> {
        let page = Raw::get(self.admin, "/metrics").await?;
        let value =
            page.body.lines().find_map(|line| line.strip_prefix("pushsuite_gateway_workers "))?;
        value.trim().parse().ok()
    }

    /// The exit status, if the process has exited.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn try_wait(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let name = self.name();
        let child = self.child.as_mut().with_context(|| format!("{name} is not running"))?;
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// The failure, if the process did not exit, or not with 0.
    pub fn exit_failure(&self, ended: Option<ExitStatus>) -> Option<String> {
        match ended {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("{} exited with {status}", self.name())),
            None => Some(format!("{} did not exit", self.name())),
        }
    }

    /// The first line of its log that reports a panic or contains the secret.
    fn log_failure(&self) -> io::Result<Option<String>> {
        let log = fs::read(&self.log)?;
        let log = String::from_utf8_lossy(&log);
        let line = log.lines().find(|line| line.contains("panicked") || line.contains(SECRET));
        Ok(line.map(|line| format!("{} printed: {line}", self.name())))
    }
}

impl Drop for ManagedProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
