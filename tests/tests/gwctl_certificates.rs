//! `gwctl check certificates`: those of client listeners, of links, of registers, and its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use suite_tests::{Gwctl, Suite, eventually, on_one_and_three_threads, process::Signal};

on_one_and_three_threads!(certificates_of_all_processes_are_judged);

const DAY: i64 = 24 * 60 * 60;

/// In so many seconds, since the Unix epoch.
fn after(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

/// The severity of each finding, and its text.
fn problems(checked: &Value) -> Vec<(String, String)> {
    let findings = checked["checks"][0]["findings"].as_array().unwrap().iter();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    findings.map(|it| (text(it, "severity"), text(it, "problem"))).collect()
}

/// The only one.
fn only(checked: &Value) -> (String, String) {
    let mut found = problems(checked);
    assert_eq!(found.len(), 1, "{checked}");
    found.remove(0)
}

async fn certificates_of_all_processes_are_judged(threads: usize) {
    let mut suite =
        Suite::builder().threads(threads).gateways(1).inner_tls("refuse").wss().start().await;
    let gwctl = Gwctl::of(&suite);
    let check = ["check", "certificates"];
    let (checked, code) = gwctl.json(&check).await;
    assert_eq!((&checked["state"], code), (&json!("ok"), 0), "{checked}");
    let detail = checked["checks"][0]["detail"].as_str().unwrap();
    assert_eq!(detail, "the first of 4 expires on 4096-01-01T00:00:00.000Z");

    // A client listener's, in the eyes of the gateway, which reads it again.
    suite.ca().sign_until("wss", after(13 * DAY + 100));
    suite.gateways[0].signal(Signal::Hup);
    let found = eventually("a warning", async || {
        let (checked, code) = gwctl.json(&check).await;
        (code == 1).then_some(checked)
    })
    .await;
    let file = suite.ca().path("wss.pem").display().to_string();
    let expected =
        format!("--tls-cert {file} of gateway {} expires in 13 days, on ", suite.gateways[0].inner);
    let (severity, problem) = only(&found);
    assert!(severity == "warning" && problem.starts_with(&expected), "{found}");
    let shown = gwctl.run(&check).await;
    assert!(shown.out.starts_with("WARNING: 1 of 1 checks\nwarning  certificates: "), "{shown:?}");
    assert!(shown.out.contains(&format!("\n           next: write a new certificate to {file} ")));

    suite.ca().sign_until("wss", after(-10));
    suite.gateways[0].signal(Signal::Hup);
    eventually("it has expired", async || (gwctl.run(&check).await.code == 2).then_some(())).await;
    let (checked, _) = gwctl.json(&check).await;
    let (severity, problem) = only(&checked);
    assert!(severity == "critical" && problem.contains(" has expired: it was valid until "));
    // All topics together have the exit code of the worst.
    assert_eq!(gwctl.run(&["check"]).await.code, 2);

    // That of the links: of the gateway, of the register, and of this program.
    suite.ca().sign("wss");
    suite.ca().sign_until("inner", after(DAY + 100));
    suite.gateways[0].signal(Signal::Hup);
    suite.registers[0].signal(Signal::Hup);
    let register = format!("of register {}", suite.register_addrs[0]);
    let gateway = format!("of gateway {}", suite.gateways[0].inner);
    let all = [register.as_str(), gateway.as_str(), "of this program"];
    eventually("three warnings", async || {
        let (checked, code) = gwctl.json(&check).await;
        let found = problems(&checked);
        let is_found = |of: &&str| {
            let of = format!("{of} expires in 1 days");
            found.iter().any(|(_, problem)| problem.contains(&of))
        };
        (code == 1 && found.len() == 3 && all.iter().all(is_found)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn cluster_without_certificates_is_in_order() {
    let mut suite = Suite::builder().plain().plain_clients().gateways(1).start().await;
    let gwctl = Gwctl::of(&suite);
    let line = gwctl.ok(&["check", "certificates"]).await;
    assert_eq!(line, "OK: 1 checks\nok       certificates: no process uses any\n");
    suite.gateways[0].kill();
    eventually("no gateway", async || {
        let (checked, code) = gwctl.json(&["check", "certificates"]).await;
        (code == 3 && checked["checks"][0]["state"] == json!("unknown")).then_some(())
    })
    .await;
}
