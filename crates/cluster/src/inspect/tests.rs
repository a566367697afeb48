//! Workers over several gateways, and starts of pages.

use protocol::{
    InstanceId,
    inspect::{GatewayStatus, PeerKind, PeerStatus, Traffic},
};

use super::*;
use crate::{ClientId, ConnectionId, Error};

fn peer(worker: Option<&str>, instance: Option<&str>, clients: u64) -> PeerStatus {
    PeerStatus {
        worker: worker.map(str::to_owned),
        instance: instance.map(|it| InstanceId::new(it).unwrap()),
        kind: PeerKind::Native,
        remote: "127.0.0.1:5000".parse().unwrap(),
        linked: 0,
        silent: 0,
        late: false,
        leaving: false,
        clients,
        in_flight: clients,
        in_flight_bytes: 10 * clients,
        window_bytes: 1,
        stalled: (clients == 2).then_some(500),
        queue_bytes: 0,
        unanswered: 0,
    }
}

fn gateway(address: &str, peers: Vec<PeerStatus>) -> GatewayReport {
    let status = GatewayStatus {
        version: "0.1.0".to_owned(),
        commit: None,
        instance: InstanceId::from_random(1),
        address: address.parse().unwrap(),
        listeners: Vec::new(),
        now: 0,
        uptime: 0,
        draining: false,
        not_ready: Vec::new(),
        threads: Vec::new(),
        clients: 0,
        groups: 0,
        uids: 0,
        names_exact: true,
        connections: 0,
        max_connections: 0,
        handshakes: 0,
        slow_clients: 0,
        paused_clients: 0,
        queue_bytes: 0,
        client_bytes: 0,
        client_bytes_limit: None,
        unassigned_bytes: 0,
        in_flight_bytes: 0,
        traffic: Traffic::default(),
        closed: Vec::new(),
        retained: 0,
        retained_bytes: 0,
        resident_bytes: None,
        descriptors: None,
        descriptor_limit: None,
        peers,
    };
    GatewayReport::new(address.to_owned(), Ok(status))
}

#[test]
fn worker_has_its_links_to_all_gateways_and_lacks_the_others() {
    let one = gateway(
        "10.0.0.1:2900",
        vec![
            peer(Some("10.0.0.9:chat:2"), Some("b"), 2),
            peer(None, Some("back-end"), 0),
            peer(Some("10.0.0.9:chat:1"), Some("a"), 1),
        ],
    );
    // The same process by another address, and a PHP worker.
    let other = gateway(
        "10.0.0.2:2900",
        vec![peer(Some("127.0.0.1:chat:1"), Some("a"), 3), peer(Some("10.0.0.9:php:1"), None, 4)],
    );
    let error = Error::Timeout { gateway: "10.0.0.3:2900".to_owned() };
    let gone = GatewayReport::new("10.0.0.3:2900".to_owned(), Err(error));
    let workers = workers(&[one, other, gone]);
    let keys: Vec<_> = workers.iter().map(|worker| worker.key.as_str()).collect();
    assert_eq!(keys, ["10.0.0.9:chat:1", "10.0.0.9:chat:2", "10.0.0.9:php:1"]);
    let clients: Vec<_> = workers.iter().map(WorkerReport::clients).collect();
    assert_eq!(clients, [4, 2, 4]);
    assert_eq!(workers[0].in_flight(), (4, 40));
    let stalled: Vec<_> = workers.iter().map(WorkerReport::stalled).collect();
    assert_eq!(stalled, [None, Some(500), None]);
    let missing: Vec<_> = workers.iter().map(|worker| worker.missing.len()).collect();
    assert_eq!(missing, [0, 1, 1], "one that does not answer is not counted");
    assert_eq!(workers[1].missing, ["10.0.0.2:2900".parse().unwrap()]);
}

#[test]
fn start_of_a_page_is_read_as_it_is_written() {
    for text in ["10.0.0.1:2900/17", "[::1]:2900/0"] {
        let start: PageStart = text.parse().unwrap();
        assert_eq!(start.to_string(), text);
    }
    for text in ["", "10.0.0.1:2900", "10.0.0.1/17", "10.0.0.1:2900/x", "/1"] {
        assert_eq!(text.parse::<PageStart>(), Err(InvalidPageStart), "{text}");
    }
}

#[test]
fn filter_concerns_only_the_gateways_that_it_names() {
    let (here, there) = ("10.0.0.1:2900".parse().unwrap(), "10.0.0.2:2900".parse().unwrap());
    assert!(ClientFilter::default().on(here).is_some());
    let filter = ClientFilter { gateway: Some(here), ..ClientFilter::default() };
    assert!(filter.on(here).is_some() && filter.on(there).is_none());
    let client = ClientId::new(there, ConnectionId(7));
    let filter = ClientFilter { clients: Some(vec![client]), ..ClientFilter::default() };
    assert!(filter.on(here).is_none());
    assert_eq!(filter.on(there).unwrap().clients, Some(vec![ConnectionId(7)]));
}
