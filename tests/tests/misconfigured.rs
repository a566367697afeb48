//! Settings that cannot work together: what is said of them, and that nothing else suffers.

use std::time::Duration;

use suite_tests::{Process, Suite, eventually};
use tokio::time::sleep;

fn worker(suite: &Suite, name: &str, id: &str) -> Process {
    suite.start_process(name, "business-worker", &["--app", "echo", "--id", id])
}

/// The lines of a process that say that.
fn lines(process: &Process, text: &str) -> Vec<String> {
    process.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[tokio::test]
async fn two_workers_with_one_id_say_so_and_stay_away_for_a_while() {
    const TAKEN: &str = "another worker with this name and id";
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let mut first = worker(&suite, "first", "same");
    first.ready().await;
    let mut second = worker(&suite, "second", "same");
    second.ready().await;
    eventually("the first to say so", async || (!lines(&first, TAKEN).is_empty()).then_some(()))
        .await;
    let said = lines(&first, TAKEN).remove(0);
    assert!(said.contains("WARN") && said.contains("by=127.0.0.1:"), "{said}");
    let said = lines(&suite.gateways[0], "a newer worker replaces an older one").remove(0);
    assert!(said.contains("older=127.0.0.1:") && said.contains("newer=127.0.0.1:"), "{said}");
    // No more often than they wait in between: five to ten seconds, and then longer.
    sleep(Duration::from_secs(3)).await;
    let links = lines(&suite.gateways[0], "worker linked").len();
    assert!((2..=3).contains(&links), "{links}");
    // Clients are served by the one that is linked.
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    assert_eq!(ann.hears_text().await, "hello");
}

#[tokio::test]
async fn worker_that_is_started_again_links_at_once() {
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let mut worker = worker(&suite, "worker", "same");
    worker.ready().await;
    for _ in 0..3 {
        worker.start_again().await;
    }
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    assert_eq!(ann.hears_text().await, "hello");
    assert!(lines(&worker, "another worker").is_empty());
}
