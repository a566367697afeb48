//! Metrics of a suite that serves clients.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use suite_tests::{
    Process, Raw, Suite, eventually, on_one_and_three_threads,
    process::Signal,
    raw::{Frame, masked},
};

on_one_and_three_threads!(
    durations_and_bytes_of_messages_are_measured,
    each_linked_worker_has_labels_until_it_leaves,
    round_trip_of_a_ping_is_measured_when_its_payload_comes_back,
);

async fn page(process: &Process) -> String {
    Raw::get(process.admin, "/metrics").await.unwrap().body
}

async fn at_least(process: &Process, name: &str, value: f64) {
    eventually(format!("{name} of {} to be at least {value}", process.name), async || {
        process.metric(name).await.filter(|metric| value <= *metric)
    })
    .await;
}

#[tokio::test]
async fn every_process_states_its_build_and_its_use_of_resources() {
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    let processes = [&suite.registers[0], &suite.gateways[0], &suite.workers[0]];
    for (process, program) in processes.into_iter().zip(["register", "gateway", "business-worker"])
    {
        let page = page(process).await;
        let info = page.lines().find(|line| line.starts_with("pushsuite_build_info{")).unwrap();
        for label in [&format!("program=\"{program}\""), "version=\"0.1.0\"", "commit=\""] {
            assert!(info.contains(label), "{label} in {info}");
        }
        let metric = async |name| process.metric(name).await.unwrap();
        let resident = metric("process_resident_memory_bytes").await;
        let of_kernel = process.resident() as f64;
        assert!((resident / of_kernel - 1.0).abs() < 0.5, "{resident} is not {of_kernel}");
        assert!(0.0 < metric("process_cpu_seconds_total").await);
        assert!(4.0 < metric("process_open_fds").await);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let uptime = now - metric("process_start_time_seconds").await;
        assert!((0.0..600.0).contains(&uptime), "{uptime}");
    }
}

async fn durations_and_bytes_of_messages_are_measured(threads: usize) {
    let suite = Suite::builder().gateways(1).workers(1).threads(threads).start().await;
    let mut client = suite.browser(0).await;
    for _ in 0..20 {
        client.exchange("e hello", "e hello").await;
    }
    let (gateway, worker) = (&suite.gateways[0], &suite.workers[0]);
    at_least(gateway, "pushsuite_gateway_received_bytes_total", 20.0 * 13.0).await;
    at_least(gateway, "pushsuite_gateway_queued_bytes_total", 20.0 * 9.0).await;
    at_least(gateway, "pushsuite_gateway_delivery_duration_seconds_count", 1.0).await;
    // Two events of the connect, and the messages.
    worker.wait_for_metric("pushsuite_worker_handler_duration_seconds_count", 22.0).await;
    let took = worker.metric("pushsuite_worker_handler_duration_seconds_sum").await.unwrap();
    assert!(0.0 < took && took < 60.0, "{took}");
}

async fn each_linked_worker_has_labels_until_it_leaves(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut other = suite.worker_link(0, "other:1").await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let clients = "pushsuite_gateway_worker_clients{worker=\"127.0.0.1:w:1\"}";
    suite.gateways[0].wait_for_metric(clients, 0.0).await;
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(suite.browser(0).await);
    }
    // Neither acknowledges anything: the events of the connects stay in flight.
    let gateway = &suite.gateways[0];
    for key in ["w:1", "other:1"] {
        let labels = format!("{{worker=\"127.0.0.1:{key}\"}}");
        gateway.wait_for_metric(&format!("pushsuite_gateway_worker_clients{labels}"), 3.0).await;
        let events = format!("pushsuite_gateway_worker_in_flight_events{labels}");
        at_least(gateway, &events, 3.0).await;
        let bytes = format!("pushsuite_gateway_worker_in_flight_bytes{labels}");
        at_least(gateway, &bytes, 30.0).await;
    }
    assert!(!worker.has_no_event().await && !other.has_no_event().await);
    drop(worker);
    suite.gateways[0].wait_for_metric("pushsuite_gateway_workers", 1.0).await;
    let page = page(&suite.gateways[0]).await;
    assert!(!page.contains("127.0.0.1:w:1"), "{page}");
    let clients = "pushsuite_gateway_worker_clients{worker=\"127.0.0.1:other:1\"}";
    suite.gateways[0].wait_for_metric(clients, 6.0).await;
    drop(open);
}

async fn round_trip_of_a_ping_is_measured_when_its_payload_comes_back(threads: usize) {
    let suite = Suite::builder()
        .gateways(1)
        .workers(1)
        .threads(threads)
        .gateway_flag("--websocket-ping", "1")
        .start()
        .await;
    let mut client = Raw::websocket(suite.gateways[0].clients).await;
    let Frame { first: 0x89, payload } = client.frame().await.unwrap() else { panic!("no ping") };
    // Neither is a payload of the gateway.
    client.send(&masked(0x8a, b"")).await;
    client.send(&masked(0x8a, b"12345")).await;
    client.send(&masked(0x8a, &payload)).await;
    let gateway = &suite.gateways[0];
    gateway.wait_for_metric("pushsuite_gateway_ping_round_trip_seconds_count", 1.0).await;
    let took = gateway.metric("pushsuite_gateway_ping_round_trip_seconds_sum").await.unwrap();
    assert!(0.0 < took && took < 60.0, "{took}");
}

#[tokio::test]
async fn limits_are_metrics_beside_what_they_limit() {
    let suite = Suite::builder()
        .gateways(1)
        .threads(2)
        .gateway_flags(&[
            ("--max-connections", "321"),
            ("--max-handshakes", "123"),
            ("--memory-budget", "67108864"),
            ("--retained-message-budget", "7777777"),
        ])
        .start()
        .await;
    for (name, limit) in [
        ("connections_limit", 321.0),
        ("connections_requests_limit", 123.0),
        ("client_bytes_limit", 33_554_432.0),
        ("retained_bytes_limit", 7_777_777.0),
        ("threads", 2.0),
    ] {
        let name = format!("pushsuite_gateway_{name}");
        assert_eq!(suite.gateways[0].metric(&name).await, Some(limit), "{name}");
    }
}

#[tokio::test]
async fn expiry_of_certificates_is_served_and_warned_of() {
    let mut suite = Suite::builder().gateways(1).workers(1).inner_tls("loopback").start().await;
    let name = "pushsuite_certificate_expiry_timestamp_seconds";
    let file = suite.ca().path("inner.pem").display().to_string();
    let metric = format!("{name}{{flag=\"--inner-tls-cert\",file=\"{file}\"}}");
    // The first second of the year 4096.
    let far = 67_090_118_400.0;
    for process in [&suite.registers[0], &suite.gateways[0], &suite.workers[0]] {
        assert_eq!(process.metric(&metric).await, Some(far), "{}", process.name);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let soon = now + Duration::from_secs(5 * 24 * 3600 + 1800);
    suite.ca().sign_until("inner", soon.as_secs() as i64);
    suite.registers[0].signal(Signal::Hup);
    suite.registers[0].wait_for_metric(&metric, soon.as_secs() as f64).await;
    assert!(suite.registers[0].log_lines("expires soon").is_empty());
    suite.registers[0].restart().await;
    let words = ["WARN", "a certificate expires soon", "days=5", "inner.pem"];
    suite.registers[0].wait_for_log(&words).await;
}
