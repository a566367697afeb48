//! A network of a run's own: each process has a host, which is a network namespace, and the kernel
//! drops packets between hosts.
//!
//! The run itself is in namespaces of its own, so the machine's network is not touched, and the
//! kernel removes everything when the run ends, however it does.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::sleep;

use crate::{
    hosts,
    partitions::{Partition, every_process},
    plan::Process,
    processes::SOON,
};

/// The switch and its hosts.
#[derive(Debug)]
pub struct Network {
    /// The folder in which the hosts' namespaces are mounted.
    folder: PathBuf,
    /// Hosts that are running.
    running: FxHashSet<Process>,
    /// Number of active partitions that drop packets from one host to another.
    lost: FxHashMap<(Process, Process), usize>,
    /// Number of active faults that unplug a host.
    unplugged: FxHashMap<Process, usize>,
}

/// Makes `ip` read commands from its standard input.
const BATCH: [&str; 2] = ["-batch", "-"];

impl Network {
    /// Creates the network in the namespace of this process, with the hosts' namespaces in
    /// `folder`.
    ///
    /// # Errors
    /// When the kernel refuses, or this process has no network namespace of its own.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        // Otherwise the switch would be created in the machine's own network.
        ensure!(process::id() == 1, "this process has no network of its own");
        let folder = folder.join("hosts");
        fs::create_dir(&folder)?;
        feed(tool("ip"), &BATCH, &hosts::create_switch())?;
        let (running, lost, unplugged) = Default::default();
        let mut network = Self { folder, running, lost, unplugged };
        every_process().try_for_each(|process| network.boot(process))?;
        Ok(network)
    }

    /// The namespace of a host, for [`on_host`].
    pub fn namespace(&self, process: Process) -> PathBuf {
        self.folder.join(process.to_string())
    }

    /// Boots a host, unless it is running.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn boot(&mut self, process: Process) -> anyhow::Result<()> {
        if self.running.contains(&process) {
            return Ok(());
        }
        let namespace = self.namespace(process);
        fs::File::create(&namespace)?;
        let mut unshare = tool("unshare");
        unshare.arg(net(&namespace));
        feed(unshare, &["--", "true"], "")?;
        self.running.insert(process);
        feed(tool("ip"), &BATCH, &hosts::create_link(process, &namespace))?;
        self.run_ip(process, &hosts::configure(process))
    }

    /// Removes a host, as if it lost power. Its process has no network any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn vanish(&mut self, process: Process) -> anyhow::Result<()> {
        feed(tool("ip"), &BATCH, &hosts::delete_link(process))?;
        self.running.remove(&process);
        unmount(&self.namespace(process))
    }

    /// Starts a partition. Partitions may overlap.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn partition(&mut self, partition: Partition) -> anyhow::Result<()> {
        for (from, to) in partition.lost() {
            let times = self.lost.entry((from, to)).or_default();
            *times += 1;
            if *times == 1 {
                self.run_ip(from, &hosts::set_lost(to, true))?;
            }
        }
        Ok(())
    }

    /// Ends a partition.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn heal(&mut self, partition: Partition) -> anyhow::Result<()> {
        for (from, to) in partition.lost() {
            let times = self.lost.entry((from, to)).or_default();
            *times -= 1;
            if *times == 0 {
                self.run_ip(from, &hosts::set_lost(to, false))?;
            }
        }
        Ok(())
    }

    /// Plugs or unplugs a host. Faults may overlap.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn plug(&mut self, process: Process, plugged: bool) -> anyhow::Result<()> {
        let times = self.unplugged.entry(process).or_default();
        if plugged {
            *times -= 1;
        } else {
            *times += 1;
        }
        feed(tool("ip"), &BATCH, &hosts::set_link(process, *times == 0))
    }

    fn run_ip(&self, process: Process, ip: &str) -> anyhow::Result<()> {
        feed(on_host(&self.namespace(process), Path::new("ip")), &BATCH, ip)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for process in &self.running {
            // A mounted namespace would keep the folder from being removed.
            let _ = unmount(&self.namespace(*process));
        }
    }
}

/// A command that runs a program on the host with that namespace. It execs, so the pid is the
/// program's.
pub fn on_host(namespace: &Path, program: &Path) -> Command {
    let mut command = tool("nsenter");
    command.arg(net(namespace)).arg("--").arg(program);
    command
}

fn net(namespace: &Path) -> OsString {
    let mut argument = OsString::from("--net=");
    argument.push(namespace);
    argument
}

/// Unmounts a namespace. The kernel removes it when its last process has ended.
fn unmount(namespace: &Path) -> anyhow::Result<()> {
    let mut umount = tool("umount");
    umount.arg(namespace);
    feed(umount, &[], "")?;
    Ok(fs::remove_file(namespace)?)
}

/// The reason why no separate network can be created here; `None` if one can.
pub fn refusal() -> Option<String> {
    let refused = feed(isolated(Path::new("ip")), &BATCH, &hosts::probe());
    refused.err().map(|error| format!("{error:#}"))
}

/// Runs this program again, with one more argument, in namespaces of its own. Returns whether it
/// succeeded. Dropping the future ends it and every process that it has started.
///
/// # Errors
/// When it cannot be started.
pub async fn rerun_isolated(argument: &str) -> anyhow::Result<bool> {
    struct Running(Child);
    impl Drop for Running {
        fn drop(&mut self) {
            let _ = (self.0.kill(), self.0.wait());
        }
    }
    let mut command = isolated(&env::current_exe()?);
    let mut running = Running(command.arg(argument).args(env::args_os().skip(1)).spawn()?);
    loop {
        match running.0.try_wait()? {
            Some(status) => return Ok(status.success()),
            None => sleep(SOON).await,
        }
    }
}

/// A command that runs a program in namespaces of its own: an empty network, private mounts, and
/// a pid namespace, so that its processes end with it.
fn isolated(program: &Path) -> Command {
    let mut command = tool("unshare");
    command.args(["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]);
    // Other users need to be root in the namespace, which some systems allow.
    if fs::metadata("/proc/self").is_ok_and(|it| it.uid() != 0) {
        command.arg("--map-root-user");
    }
    command.arg("--").arg(program);
    command
}

/// A command for a network tool, which may be in a folder outside the `PATH` of ordinary users.
fn tool(name: &str) -> Command {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new(name);
    command.env("PATH", path);
    command
}

/// Runs a command to its end, with `input` on its standard input.
fn feed(mut command: Command, args: &[&str], input: &str) -> anyhow::Result<()> {
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    // A command that fails may not read its input; its own error is more useful.
    match stdin.write_all(input.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => drop(stdin),
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    ensure!(!error.is_empty(), "{name}: {}", output.status);
    bail!(error)
}

#[cfg(test)]
mod tests {
    use suite_tests::eventually;

    use super::*;
    use crate::partitions::{OtherSide, Ways};

    #[test]
    fn faults_affect_only_their_hosts() {
        // Without the permission the test is skipped; the run reports that.
        if let Some(why) = refusal() {
            eprintln!("skipped: {why}");
            return;
        }
        let test = [
            "network::tests::isolated::faults_drop_packets_of_their_hosts",
            "--exact",
            "--ignored",
        ];
        let output = isolated(&env::current_exe().unwrap()).args(test).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
    }

    mod isolated {
        use super::*;

        const GATEWAY: Process = Process::Gateway(0);
        const WORKER: Process = Process::Worker(0);

        /// The host that no fault affects.
        const CONTROL: Process = Process::Register;

        #[tokio::test]
        #[ignore = "it needs namespaces of its own, in which the test above runs it"]
        async fn faults_drop_packets_of_their_hosts() {
            let folder = tempfile::tempdir().unwrap();
            let mut network = Network::create(folder.path()).unwrap();
            assert_delivered(&network, GATEWAY, WORKER).await;
            assert_delivered(&network, WORKER, GATEWAY).await;
            let partition = |ways| Partition { one: GATEWAY, others: OtherSide::One(WORKER), ways };

            network.partition(partition(Ways::Out)).unwrap();
            assert_lost(&network, GATEWAY, WORKER).await;
            assert_delivered(&network, WORKER, GATEWAY).await;
            network.partition(partition(Ways::Both)).unwrap();
            assert_lost(&network, WORKER, GATEWAY).await;
            network.heal(partition(Ways::Both)).unwrap();
            assert_lost(&network, GATEWAY, WORKER).await;
            network.heal(partition(Ways::Out)).unwrap();
            assert_delivered(&network, GATEWAY, WORKER).await;

            network.plug(WORKER, false).unwrap();
            let before = received(&network, WORKER);
            send(&network, GATEWAY, WORKER);
            network.plug(WORKER, true).unwrap();
            assert_eq!(received(&network, WORKER), before);
            assert_delivered(&network, GATEWAY, WORKER).await;

            network.vanish(WORKER).unwrap();
            send(&network, GATEWAY, WORKER);
            network.boot(WORKER).unwrap();
            assert_eq!(received(&network, WORKER), 0);
            assert_delivered(&network, GATEWAY, WORKER).await;
        }

        async fn assert_delivered(network: &Network, from: Process, to: Process) {
            let before = received(network, to);
            send(network, from, to);
            wait_for(network, to, before + 1).await;
        }

        /// Later datagrams of another host arrive, and nothing else.
        async fn assert_lost(network: &Network, from: Process, to: Process) {
            let before = received(network, to);
            send(network, from, to);
            send(network, CONTROL, to);
            wait_for(network, to, before + 1).await;
            assert_delivered(network, CONTROL, to).await;
            assert_eq!(received(network, to), before + 2, "{to} receives from {from}");
        }

        async fn wait_for(network: &Network, process: Process, count: u64) {
            eventually((process, count), async || {
                (count <= received(network, process)).then_some(())
            })
            .await;
        }

        /// Sends a datagram to a port without a listener.
        fn send(network: &Network, from: Process, to: Process) {
            let script = format!("echo >/dev/udp/{}/9", hosts::address(to));
            let mut bash = on_host(&network.namespace(from), Path::new("bash"));
            // An unplugged host may fail to send.
            bash.args(["-c", &script]).stderr(Stdio::null()).status().unwrap();
        }

        /// The number of such datagrams that a host has received.
        fn received(network: &Network, process: Process) -> u64 {
            let mut cat = on_host(&network.namespace(process), Path::new("cat"));
            let output = cat.arg("/proc/net/snmp").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let counts = text.lines().filter(|line| line.starts_with("Udp:")).nth(1).unwrap();
            // NoPorts follows "Udp:" and InDatagrams.
            counts.split_whitespace().nth(2).unwrap().parse().unwrap()
        }
    }
}
