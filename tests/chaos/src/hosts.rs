//! The network of a run in which everybody has a host: who has which address, and what `ip` is to
//! be told.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use crate::plan::Who;

/// Where the register listens.
const REGISTER: u16 = 1236;

/// Where gateways listen for clients.
const CLIENTS: u16 = 7272;

/// Where the first gateway listens for peers. Records tell gateways apart by that port.
const INNER: u16 = 2900;

/// Where everybody says whether it is ready.
const ADMIN: u16 = 9000;

/// What all hosts are plugged into; clients, and who looks after the run, are where it is.
const SWITCH: &str = "switch";

/// What a host calls its link.
const LINK: &str = "eth0";

/// The address of a host.
pub fn address(who: Who) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number(who))
}

/// Where the register is met.
pub fn register() -> SocketAddr {
    (address(Who::Register), REGISTER).into()
}

/// Where clients meet a gateway.
pub fn clients(gateway: usize) -> SocketAddr {
    (address(Who::Gateway(gateway)), CLIENTS).into()
}

/// Where peers meet a gateway.
pub fn inner(gateway: usize) -> SocketAddr {
    (address(Who::Gateway(gateway)), INNER + gateway as u16).into()
}

/// Where anybody says whether it is ready.
pub fn admin(who: Who) -> SocketAddr {
    (address(who), ADMIN).into()
}

fn number(who: Who) -> u8 {
    match who {
        Who::Register => 1,
        Who::Gateway(number) => 11 + number as u8,
        Who::Worker(number) => 21 + number as u8,
    }
}

/// Of a host, which keeps it when it comes back: others remember it for a while.
fn hardware(who: Who) -> String {
    format!("02:00:00:00:00:{:02x}", number(who))
}

/// The hardware address of nobody: what is sent there is lost without a word.
const NOBODY: &str = "02:00:00:00:ff:ff";

/// Has a switch made, without a host.
pub(crate) fn make_switch() -> String {
    // Without one of its own, its address would change with those who are plugged in.
    format!(
        "link set lo up\n\
         link add name {SWITCH} address 02:00:00:00:00:fe type bridge\n\
         addr add 10.0.0.254/24 dev {SWITCH}\n\
         link set {SWITCH} up\n"
    )
}

/// Has a cable laid from the switch to a host, whose namespace is met at `namespace`.
pub(crate) fn lay_cable(who: Who, namespace: &Path) -> String {
    format!(
        "link add name {who} type veth peer name {LINK} address {hardware} netns {namespace}\n\
         link set {who} master {SWITCH}\n\
         link set {who} up\n",
        hardware = hardware(who),
        namespace = namespace.display()
    )
}

/// Has the cable taken away, at both ends.
pub(crate) fn take_cable(who: Who) -> String {
    format!("link del {who}\n")
}

/// Has the cable put in or out, at the switch.
pub(crate) fn plug(who: Who, is_in: bool) -> String {
    format!("link set {who} {}\n", if is_in { "up" } else { "down" })
}

/// On a new host: has it take up its address.
pub(crate) fn set_up(who: Who) -> String {
    format!("link set lo up\naddr add {}/24 dev {LINK}\nlink set {LINK} up\n", address(who))
}

/// On a host: has what it sends to another lost from now on, or no more.
pub(crate) fn lose(to: Who, lost: bool) -> String {
    let to = address(to);
    match lost {
        true => format!("neigh replace {to} lladdr {NOBODY} dev {LINK} nud permanent\n"),
        false => format!("neigh del {to} dev {LINK}\n"),
    }
}

/// All that a run asks of the kernel, in a namespace where nothing comes of it.
pub(crate) fn everything() -> String {
    let away = "neigh replace 10.0.0.1 lladdr 02:00:00:00:ff:ff dev switch nud permanent\n";
    let pair = "link add name port type veth peer name eth0\nlink set port master switch\n";
    [&make_switch(), pair, away].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::partitions::everybody;

    #[test]
    fn everybody_has_an_address_and_a_port_of_their_own() {
        let all: Vec<Who> = everybody().collect();
        let addresses: BTreeSet<_> = all.iter().map(|who| address(*who)).collect();
        let hardware: BTreeSet<_> = all.iter().map(|who| hardware(*who)).collect();
        assert_eq!((addresses.len(), hardware.len()), (all.len(), all.len()));
        assert_ne!(inner(0).port(), inner(1).port());
        // The kernel takes no longer names for links.
        assert!(all.iter().all(|who| who.to_string().len() < 16));
    }
}
