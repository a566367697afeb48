//! How clients appear in logs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{ClientId, CloseReason, Event};
use suite_tests::{Raw, Suite, eventually, on_one_and_three_threads};

on_one_and_three_threads!(client_is_logged_with_the_id_seen_by_workers);

async fn client_is_logged_with_the_id_seen_by_workers(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let gateway = &suite.gateways[0];
    let mut worker = suite.worker_link(0, "w:1").await;
    let ann = suite.browser(0).await;
    let id = ClientId::new(gateway.inner, worker.accept_client().await);
    let remote = ann.addr();
    ann.close().await;
    assert_eq!(worker.event_of(id.connection).await, Event::Close(CloseReason::Client));
    let of_client = format!("client={id} remote={remote} ");
    let lines = eventually("two log lines of the client", async || {
        let log = gateway.log();
        let lines = log.lines().filter(|line| line.contains(&of_client)).map(str::to_owned);
        let lines: Vec<_> = lines.collect();
        (lines.len() == 2).then_some(lines)
    })
    .await;
    assert_eq!(id.to_string().len(), 20);
    let listener = format!("listener={}", gateway.clients);
    assert!(lines[0].contains("DEBUG") && lines[0].contains("client connected"), "{lines:#?}");
    assert!(lines[0].contains(&listener), "{lines:#?}");
    assert!(lines[1].contains("DEBUG") && lines[1].contains("client closed"), "{lines:#?}");
    assert!(lines[1].contains("reason=closed by the client seconds=0."), "{lines:#?}");

    // A connection that never became a client has no id.
    let page = Raw::get(gateway.clients, "/").await.unwrap();
    assert_eq!(page.status, 200);
    eventually("a connection to be logged as closed", async || {
        let log = gateway.log();
        log.lines().any(|line| line.contains("connection closed remote=")).then_some(())
    })
    .await;
    // The id is logged in no other form.
    let log = gateway.log();
    assert!(!log.contains("ConnectionId"), "{log}");
}
