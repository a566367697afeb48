//! The network of a run in which each process has its own host: addresses, and the commands for
//! `ip`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use crate::plan::Process;

/// The port of the register.
const REGISTER: u16 = 1236;

/// The port of gateways for clients.
const CLIENTS: u16 = 7272;

/// The port of the first gateway for peers. Records identify gateways by this port.
const INNER: u16 = 2900;

/// The admin port of every process.
const ADMIN: u16 = 9000;

/// The bridge that connects all hosts; clients and the run itself are in its namespace.
const SWITCH: &str = "switch";

/// The name of the link inside a host.
const LINK: &str = "eth0";

/// The address of a host.
pub fn address(process: Process) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number(process))
}

/// The address of the register.
pub fn register() -> SocketAddr {
    (address(Process::Register), REGISTER).into()
}

/// The address of a gateway for clients.
pub fn clients(gateway: usize) -> SocketAddr {
    (address(Process::Gateway(gateway)), CLIENTS).into()
}

/// The address of a gateway for peers.
pub fn inner(gateway: usize) -> SocketAddr {
    (address(Process::Gateway(gateway)), INNER + gateway as u16).into()
}

/// The admin address of a process.
pub fn admin(process: Process) -> SocketAddr {
    (address(process), ADMIN).into()
}

fn number(process: Process) -> u8 {
    match process {
        Process::Register => 1,
        Process::Gateway(number) => 11 + number as u8,
        Process::Worker(number) => 21 + number as u8,
    }
}

/// The hardware address of a host. It is the same after a reboot, because other hosts cache it.
fn hardware(process: Process) -> String {
    format!("02:00:00:00:00:{:02x}", number(process))
}

/// A hardware address that no host has: packets to it are dropped silently.
const UNUSED_MAC: &str = "02:00:00:00:ff:ff";

/// Commands that create the switch, without hosts.
pub(crate) fn create_switch() -> String {
    // Without an address of its own, the bridge takes one of its ports'.
    format!(
        "link set lo up\n\
         link add name {SWITCH} address 02:00:00:00:00:fe type bridge\n\
         addr add 10.0.0.254/24 dev {SWITCH}\n\
         link set {SWITCH} up\n"
    )
}

/// Commands that link the switch and a host, whose namespace is mounted at `namespace`.
pub(crate) fn create_link(process: Process, namespace: &Path) -> String {
    format!(
        "link add name {process} type veth peer name {LINK} address {hardware} netns {namespace}\n\
         link set {process} master {SWITCH}\n\
         link set {process} up\n",
        hardware = hardware(process),
        namespace = namespace.display()
    )
}

/// Commands that delete the link, at both ends.
pub(crate) fn delete_link(process: Process) -> String {
    format!("link del {process}\n")
}

/// Commands that set the link up or down, at the switch.
pub(crate) fn set_link(process: Process, up: bool) -> String {
    format!("link set {process} {}\n", if up { "up" } else { "down" })
}

/// Commands on a new host that assign its address.
pub(crate) fn configure(process: Process) -> String {
    format!("link set lo up\naddr add {}/24 dev {LINK}\nlink set {LINK} up\n", address(process))
}

/// Commands on a host that start or stop dropping its packets to another host.
pub(crate) fn set_lost(to: Process, lost: bool) -> String {
    let to = address(to);
    match lost {
        true => format!("neigh replace {to} lladdr {UNUSED_MAC} dev {LINK} nud permanent\n"),
        false => format!("neigh del {to} dev {LINK}\n"),
    }
}

/// A sample of all commands of a run, to probe in a separate namespace whether they are permitted.
pub(crate) fn probe() -> String {
    let lost = "neigh replace 10.0.0.1 lladdr 02:00:00:00:ff:ff dev switch nud permanent\n";
    let pair = "link add name port type veth peer name eth0\nlink set port master switch\n";
    [&create_switch(), pair, lost].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::partitions::every_process;

    #[test]
    fn each_process_has_its_own_addresses_and_port() {
        let all: Vec<Process> = every_process().collect();
        let addresses: BTreeSet<_> = all.iter().map(|process| address(*process)).collect();
        let hardware: BTreeSet<_> = all.iter().map(|process| hardware(*process)).collect();
        assert_eq!((addresses.len(), hardware.len()), (all.len(), all.len()));
        assert_ne!(inner(0).port(), inner(1).port());
        // The limit of the kernel for names of links.
        assert!(all.iter().all(|process| process.to_string().len() < 16));
    }
}
