//! A network of a run's own: everybody has a host, which is a network namespace, and the kernel
//! loses what they send each other.
//!
//! The run itself is in namespaces of its own, so nothing of the machine's network is touched, and
//! nothing of all this outlives it, however it ends.

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
    cast::SOON,
    hosts,
    partitions::{Partition, everybody},
    plan::Who,
};

/// The switch, and the hosts that are there.
#[derive(Debug)]
pub struct Network {
    /// Where their namespaces are met.
    folder: PathBuf,
    /// Those that are switched on.
    there: FxHashSet<Who>,
    /// How many partitions lose what one sends another.
    lost: FxHashMap<(Who, Who), usize>,
    /// How many times a host is unplugged.
    unplugged: FxHashMap<Who, usize>,
}

/// Has `ip` read what to do.
const BATCH: [&str; 2] = ["-batch", "-"];

impl Network {
    /// Makes it in the namespace of this process, and lets everybody's host be met in `folder`.
    ///
    /// # Errors
    /// When the kernel refuses, or this process is not alone.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        // Else it would be the machine's own network that gets a switch.
        ensure!(process::id() == 1, "this process has no network of its own");
        let folder = folder.join("hosts");
        fs::create_dir(&folder)?;
        feed(tool("ip"), &BATCH, &hosts::make_switch())?;
        let (there, lost, unplugged) = Default::default();
        let mut network = Self { folder, there, lost, unplugged };
        everybody().try_for_each(|who| network.boot(who))?;
        Ok(network)
    }

    /// Where somebody's host is met, for [`on_host`].
    pub fn namespace(&self, who: Who) -> PathBuf {
        self.folder.join(who.to_string())
    }

    /// Lets a host be there, as one that has just been switched on, unless it is.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn boot(&mut self, who: Who) -> anyhow::Result<()> {
        if self.there.contains(&who) {
            return Ok(());
        }
        let namespace = self.namespace(who);
        fs::File::create(&namespace)?;
        let mut unshare = tool("unshare");
        unshare.arg(net(&namespace));
        feed(unshare, &["--", "true"], "")?;
        self.there.insert(who);
        feed(tool("ip"), &BATCH, &hosts::lay_cable(who, &namespace))?;
        self.tell(who, &hosts::set_up(who))
    }

    /// Lets it be gone, as one that loses power. Its process cannot speak to anybody any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn vanish(&mut self, who: Who) -> anyhow::Result<()> {
        feed(tool("ip"), &BATCH, &hosts::take_cable(who))?;
        self.there.remove(&who);
        forget(&self.namespace(who))
    }

    /// Loses what a partition says, besides what others do.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn part(&mut self, partition: Partition) -> anyhow::Result<()> {
        for (from, to) in partition.lost() {
            let times = self.lost.entry((from, to)).or_default();
            *times += 1;
            if *times == 1 {
                self.tell(from, &hosts::lose(to, true))?;
            }
        }
        Ok(())
    }

    /// Ends that.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn join(&mut self, partition: Partition) -> anyhow::Result<()> {
        for (from, to) in partition.lost() {
            let times = self.lost.entry((from, to)).or_default();
            *times -= 1;
            if *times == 0 {
                self.tell(from, &hosts::lose(to, false))?;
            }
        }
        Ok(())
    }

    /// Puts a host's cable in or out.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn plug(&mut self, who: Who, is_in: bool) -> anyhow::Result<()> {
        let times = self.unplugged.entry(who).or_default();
        if is_in {
            *times -= 1;
        } else {
            *times += 1;
        }
        feed(tool("ip"), &BATCH, &hosts::plug(who, *times == 0))
    }

    fn tell(&self, who: Who, ip: &str) -> anyhow::Result<()> {
        feed(on_host(&self.namespace(who), Path::new("ip")), &BATCH, ip)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for who in &self.there {
            // The folder could not be removed; the rest goes with this process.
            let _ = forget(&self.namespace(*who));
        }
    }
}

/// What runs a program on the host that is met there. It becomes that program, so its number stays.
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

/// Lets a namespace be as long as there are processes in it, and no longer.
fn forget(namespace: &Path) -> anyhow::Result<()> {
    let mut umount = tool("umount");
    umount.arg(namespace);
    feed(umount, &[], "")?;
    Ok(fs::remove_file(namespace)?)
}

/// Why nobody may have a network of their own here; `None` if they may.
pub fn refusal() -> Option<String> {
    let refused = feed(alone(Path::new("ip")), &BATCH, &hosts::everything());
    refused.err().map(|error| format!("{error:#}"))
}

/// Runs this program once more, with one more argument, where it is alone. Returns whether it
/// succeeded. When this is dropped, it ends, and with it everything that it has started.
///
/// # Errors
/// When it cannot be started.
pub async fn again(argument: &str) -> anyhow::Result<bool> {
    struct Running(Child);
    impl Drop for Running {
        fn drop(&mut self) {
            let _ = (self.0.kill(), self.0.wait());
        }
    }
    let mut command = alone(&env::current_exe()?);
    let mut running = Running(command.arg(argument).args(env::args_os().skip(1)).spawn()?);
    loop {
        match running.0.try_wait()? {
            Some(status) => return Ok(status.success()),
            None => sleep(SOON).await,
        }
    }
}

/// What runs a program in namespaces of its own: its network has nothing, what it mounts nobody
/// sees, and when it ends, so does every process that it has left behind.
fn alone(program: &Path) -> Command {
    let mut command = tool("unshare");
    command.args(["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]);
    // Whoever is not root needs to be it in there, which some systems allow.
    if fs::metadata("/proc/self").is_ok_and(|it| it.uid() != 0) {
        command.arg("--map-root-user");
    }
    command.arg("--").arg(program);
    command
}

/// Those that a network is made with live where users other than root need not look.
fn tool(name: &str) -> Command {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new(name);
    command.env("PATH", path);
    command
}

/// Runs a command to its end with that to read.
fn feed(mut command: Command, args: &[&str], input: &str) -> anyhow::Result<()> {
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
    let mut stdin = child.stdin.take().context("it was asked for")?;
    // One that fails may not read it; what it says then is worth more.
    match stdin.write_all(input.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => drop(stdin),
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    ensure!(!said.is_empty(), "{name}: {}", output.status);
    bail!(said)
}

#[cfg(test)]
mod tests {
    use suite_tests::eventually;

    use super::*;
    use crate::partitions::{Others, Ways};

    #[test]
    fn what_is_cut_off_is_cut_off_and_nothing_else() {
        // Where nobody may have a network, there is none to look at; the run says so.
        if let Some(why) = refusal() {
            eprintln!("left out: {why}");
            return;
        }
        let test = ["network::tests::alone::it_does_as_it_is_told", "--exact", "--ignored"];
        let output = alone(&env::current_exe().unwrap()).args(test).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    mod alone {
        use super::*;

        const GATEWAY: Who = Who::Gateway(0);
        const WORKER: Who = Who::Worker(0);

        /// Nobody is cut off from it.
        const WITNESS: Who = Who::Register;

        #[tokio::test]
        #[ignore = "it needs to be alone, as the test above lets it be"]
        async fn it_does_as_it_is_told() {
            let folder = tempfile::tempdir().unwrap();
            let mut network = Network::make(folder.path()).unwrap();
            comes(&network, GATEWAY, WORKER).await;
            comes(&network, WORKER, GATEWAY).await;
            let partition = |ways| Partition { one: GATEWAY, others: Others::One(WORKER), ways };

            network.part(partition(Ways::Out)).unwrap();
            is_lost(&network, GATEWAY, WORKER).await;
            comes(&network, WORKER, GATEWAY).await;
            network.part(partition(Ways::Both)).unwrap();
            is_lost(&network, WORKER, GATEWAY).await;
            network.join(partition(Ways::Both)).unwrap();
            is_lost(&network, GATEWAY, WORKER).await;
            network.join(partition(Ways::Out)).unwrap();
            comes(&network, GATEWAY, WORKER).await;

            network.plug(WORKER, false).unwrap();
            let before = heard(&network, WORKER);
            say(&network, GATEWAY, WORKER);
            network.plug(WORKER, true).unwrap();
            assert_eq!(heard(&network, WORKER), before);
            comes(&network, GATEWAY, WORKER).await;

            network.vanish(WORKER).unwrap();
            say(&network, GATEWAY, WORKER);
            network.boot(WORKER).unwrap();
            assert_eq!(heard(&network, WORKER), 0);
            comes(&network, GATEWAY, WORKER).await;
        }

        async fn comes(network: &Network, from: Who, to: Who) {
            let before = heard(network, to);
            say(network, from, to);
            hears(network, to, before + 1).await;
        }

        /// What is said later by another comes, and nothing else.
        async fn is_lost(network: &Network, from: Who, to: Who) {
            let before = heard(network, to);
            say(network, from, to);
            say(network, WITNESS, to);
            hears(network, to, before + 1).await;
            comes(network, WITNESS, to).await;
            assert_eq!(heard(network, to), before + 2, "{from} is heard by {to}");
        }

        async fn hears(network: &Network, who: Who, words: u64) {
            eventually((who, words), async || (words <= heard(network, who)).then_some(())).await;
        }

        /// Sends a datagram to a port where nobody listens.
        fn say(network: &Network, from: Who, to: Who) {
            let word = format!("echo >/dev/udp/{}/9", hosts::address(to));
            let mut bash = on_host(&network.namespace(from), Path::new("bash"));
            // One that has no cable may not be able to.
            bash.args(["-c", &word]).stderr(Stdio::null()).status().unwrap();
        }

        /// How many such datagrams a host has had.
        fn heard(network: &Network, who: Who) -> u64 {
            let mut cat = on_host(&network.namespace(who), Path::new("cat"));
            let output = cat.arg("/proc/net/snmp").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let counts = text.lines().filter(|line| line.starts_with("Udp:")).nth(1).unwrap();
            // Behind "Udp:" and InDatagrams: NoPorts.
            counts.split_whitespace().nth(2).unwrap().parse().unwrap()
        }
    }
}
