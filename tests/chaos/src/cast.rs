//! The processes of a run: started, killed, paused, started again, and never left behind.

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
    plan::{BELIEVES, GATEWAYS, WORKERS, Who},
};

/// How long a process may take to end when it is asked to: longer than its grace.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether a process has ended.
pub const SOON: Duration = Duration::from_millis(10);

/// One process, and how to start it again.
#[derive(Debug)]
pub struct Actor {
    binary: PathBuf,
    args: Vec<String>,
    /// That of its host, if it has one.
    namespace: Option<PathBuf>,
    /// Where it says whether it is ready.
    admin: SocketAddr,
    log: PathBuf,
    child: Option<Child>,
}

/// All of them.
#[derive(Debug)]
pub struct Cast {
    register: Actor,
    gateways: Vec<Actor>,
    workers: Vec<Actor>,
    /// Where they are met.
    pub places: Places,
}

/// Where processes are met: really, and where others are told to go.
#[derive(Clone, Debug)]
pub struct Places {
    /// Where the register listens.
    pub register: SocketAddr,
    /// Where its peers go.
    pub register_met: SocketAddr,
    /// Where clients go, by gateway.
    pub clients: Vec<SocketAddr>,
    /// Where gateways listen for peers.
    pub inner: Vec<SocketAddr>,
    /// Where workers go, which is what client ids name.
    pub inner_met: Vec<SocketAddr>,
}

impl Places {
    /// Free ones; behind proxies, those that are met differ.
    pub fn choose(proxied: bool) -> Self {
        let many = || (0..GATEWAYS).map(|_| ports::free()).collect::<Vec<_>>();
        let (register, inner) = (ports::free(), many());
        Self {
            register_met: if proxied { ports::free() } else { register },
            inner_met: if proxied { many() } else { inner.clone() },
            register,
            inner,
            clients: many(),
        }
    }

    /// Those of hosts.
    pub fn on_hosts() -> Self {
        let inner: Vec<_> = (0..GATEWAYS).map(hosts::inner).collect();
        Self {
            register: hosts::register(),
            register_met: hosts::register(),
            clients: (0..GATEWAYS).map(hosts::clients).collect(),
            inner_met: inner.clone(),
            inner,
        }
    }
}

/// How long workers believe that a gateway out of reach will be back, in seconds.
const GRACE: u64 = 3;

/// The same on hosts, where nobody is to be taken for gone that is only cut off: longer than a
/// partition lasts, and it takes to be linked again.
const HOSTS_GRACE: u64 = 10;

/// The secret of the cluster: long enough that no log has it by chance.
const SECRET: &str = "chaos-s3cret-c4c0ffee";

impl Cast {
    /// Starts everybody, each on its host if there is a network of them, with binaries from `bin` and
    /// logs and journals in `folder`.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(
        bin: &Path,
        folder: &Path,
        places: Places,
        network: Option<&Network>,
    ) -> anyhow::Result<Self> {
        let journals = journals(folder);
        fs::create_dir_all(&journals)?;
        let actor = |who: Who, binary: &str, mut args: Vec<String>| {
            let log = folder.join(format!("{who}.log"));
            let admin = network.map_or_else(ports::free, |_| hosts::admin(who));
            args.push(format!("--admin-listen={admin}"));
            let namespace = network.map(|network| network.namespace(who));
            let binary = bin.join(binary);
            let mut actor = Actor { binary, args, namespace, admin, log, child: None };
            actor.start().map(|()| actor)
        };
        let register_address = format!("--register-address={}", places.register_met);
        let listen = format!("--listen={}", places.register);
        let grace = "--startup-grace=1".to_owned();
        let register = actor(Who::Register, "register", vec![listen, grace])?;
        let gateways = (0..GATEWAYS).map(|number| {
            let (inner, met) = (places.inner[number], places.inner_met[number]);
            let args = vec![
                register_address.clone(),
                format!("--listen=ws://{}", places.clients[number]),
                format!("--lan-ip={}", met.ip()),
                format!("--lan-port={}", met.port()),
                format!("--lan-listen={inner}"),
                format!("--peer-timeout={BELIEVES}"),
                // One of one shard, the others of two.
                format!("--threads={}", 1 + number.min(1)),
                "--connections-per-thread=1".to_owned(),
            ];
            actor(Who::Gateway(number), "gateway", args)
        });
        let gateways = gateways.collect::<anyhow::Result<_>>()?;
        let workers = (0..WORKERS).map(|number| {
            let journal = format!("--journal={}", journals.display());
            let grace = if network.is_some() { HOSTS_GRACE } else { GRACE };
            let grace = format!("--gateway-grace={grace}");
            let mut args = vec![register_address.clone(), journal, grace, format!("--id={number}")];
            // Proxies let a gateway notice silence; a partition is to be noticed from both sides.
            args.extend(network.map(|_| format!("--peer-timeout={BELIEVES}")));
            actor(Who::Worker(number), "chaos-worker", args)
        });
        Ok(Self { register, gateways, workers: workers.collect::<anyhow::Result<_>>()?, places })
    }

    /// One of them.
    pub fn actor(&mut self, who: Who) -> &mut Actor {
        match who {
            Who::Register => &mut self.register,
            Who::Gateway(number) => &mut self.gateways[number],
            Who::Worker(number) => &mut self.workers[number],
        }
    }

    /// Waits until every process lacks nothing: clients would otherwise all be the first worker's.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for actor in self.all() {
            while Raw::get(actor.admin, "/readyz").await.is_none_or(|page| page.status != 200) {
                ensure!(Instant::now() < deadline, "{} does not become ready", actor.name());
                sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Actor> {
        self.workers.iter().chain(&self.gateways).chain([&self.register])
    }

    /// Asks everybody to end, as an operator would: gateways first. Says who did not end well.
    ///
    /// # Errors
    /// When it cannot be known.
    pub async fn end(&mut self) -> anyhow::Result<Vec<String>> {
        let mut unwell = Vec::new();
        for kind in
            [&mut self.gateways[..], &mut self.workers, std::slice::from_mut(&mut self.register)]
        {
            for actor in kind.iter_mut() {
                actor.signal("TERM")?;
            }
            for actor in kind {
                let deadline = Instant::now() + PATIENCE;
                let status = loop {
                    match actor.has_ended()? {
                        None if Instant::now() < deadline => sleep(SOON).await,
                        status => break status,
                    }
                };
                unwell.extend(actor.unwell(status));
            }
        }
        for actor in self.all() {
            unwell.extend(actor.blemish()?);
        }
        Ok(unwell)
    }
}

/// Where workers of a run note what they are told.
pub fn journals(folder: &Path) -> PathBuf {
    folder.join("journals")
}

impl Actor {
    /// Starts it. What it prints is added to its log.
    ///
    /// # Errors
    /// When it cannot be started.
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
            // Over TLS if whoever runs this says so.
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

    /// Ends it without asking.
    ///
    /// # Errors
    /// When it cannot be waited for.
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
    /// When it is gone, which it must not be by itself.
    pub fn signal(&mut self, signal: &str) -> anyhow::Result<()> {
        let name = self.name();
        let child = self.child.as_mut().with_context(|| format!("{name} is not there"))?;
        if let Some(status) = child.try_wait()? {
            bail!("{name} has ended by itself: {status}");
        }
        // Not reaped yet, so the number is still its own.
        let command = format!("kill -{signal} {}", child.id());
        let status = Command::new("sh").args(["-c", &command]).status()?;
        ensure!(status.success(), "{command}: {status}");
        Ok(())
    }

    /// Whether it serves its pages: it listens to signals then.
    pub async fn is_up(&self) -> bool {
        Raw::get(self.admin, "/livez").await.is_some()
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// When it cannot be known.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let name = self.name();
        let child = self.child.as_mut().with_context(|| format!("{name} is not there"))?;
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// What is wrong with how it ended, or that it did not.
    pub fn unwell(&self, ended: Option<ExitStatus>) -> Option<String> {
        match ended {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("{} ended with {status}", self.name())),
            None => Some(format!("{} did not end", self.name())),
        }
    }

    /// What should not be in its log.
    fn blemish(&self) -> io::Result<Option<String>> {
        let log = fs::read(&self.log)?;
        let log = String::from_utf8_lossy(&log);
        let line = log.lines().find(|line| line.contains("panicked") || line.contains(SECRET));
        Ok(line.map(|line| format!("{} printed: {line}", self.name())))
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
