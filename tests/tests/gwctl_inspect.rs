//! `gwctl` against a real cluster with injected failures: what it shows, and its exit codes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use push_suite_cluster::Recipients;
use serde_json::{Value, json};
use suite_tests::{
    Browser, Gwctl, Raw, Suite, eventually, on_one_and_three_threads, suite::Builder,
};
use tokio::net::TcpListener;

on_one_and_three_threads!(
    status_shows_a_cluster_on_one_screen,
    clients_are_selected_sorted_and_described,
    worker_that_stands_still_is_found_with_the_next_step,
    client_that_does_not_read_is_found_and_kicked,
);

fn builder(threads: usize) -> Builder {
    Suite::builder().threads(threads).workers(1)
}

/// A client that is bound to a uid and has joined a group, by commands of the bench app.
async fn client(suite: &Suite, gateway: usize, uid: &str, group: &str) -> Browser {
    let mut browser = suite.browser(gateway).await;
    for command in [format!("u{uid}"), format!("j{group}")] {
        browser.exchange(&command, &command).await;
    }
    browser
}

/// Repeats a command until its result is as expected.
async fn until(gwctl: &Gwctl, args: &[&str], is_so: impl Fn(&Value, i32) -> bool) -> Value {
    eventually(format!("{args:?}"), async || {
        let (value, code) = gwctl.json(args).await;
        is_so(&value, code).then_some(value)
    })
    .await
}

fn problems(value: &Value) -> Vec<&str> {
    let findings = value["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["problem"].as_str().unwrap()).collect()
}

async fn status_shows_a_cluster_on_one_screen(threads: usize) {
    let suite = builder(threads).workers(2).start().await;
    let mut browsers = Vec::new();
    for at in 0..3 {
        browsers.push(client(&suite, at % 2, "ann", "room").await);
    }
    let gwctl = Gwctl::of(&suite);
    let status =
        until(&gwctl, &["status"], |it, code| code == 0 && it["findings"] == json!([])).await;
    assert_eq!((&status["clients"], &status["registers_connected"]), (&json!(3), &json!(1)));
    let (gateways, workers) = (&status["gateways"], &status["workers"]);
    assert_eq!((gateways.as_array().unwrap().len(), workers.as_array().unwrap().len()), (2, 2));
    for worker in workers.as_array().unwrap() {
        assert_eq!((&worker["state"], &worker["missing"]), (&json!("ready"), &json!([])));
    }
    let screen = gwctl.ok(&["status"]).await;
    assert!(
        screen.starts_with(
            "ok: nothing is wrong\n\n1 of 1 register, 2 gateways, 2 workers, 3 clients, "
        ),
        "{screen}"
    );
    for gateway in &suite.gateways {
        assert!(screen.contains(&format!("\n{}  ready ", gateway.inner)), "{screen}");
    }
    let wide = gwctl.ok(&["gateways", "-o", "wide"]).await;
    let listener = suite.gateways[0].clients.to_string();
    assert!(wide.contains(&listener) && wide.contains(env!("CARGO_PKG_VERSION")), "{wide}");
    let (gateways, code) = gwctl.json(&["gateways"]).await;
    let clients: u64 = gateways["gateways"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["clients"].as_u64().unwrap())
        .sum();
    assert_eq!((clients, code), (3, 0));
    let shown = gwctl.ok(&["workers"]).await;
    assert_eq!(shown.matches("  ready ").count(), 2, "{shown}");
    assert_eq!(shown.matches("  2 of 2").count(), 2, "{shown}");
    let registers = gwctl.ok(&["registers"]).await;
    let (address, version) = (suite.register_addrs[0], env!("CARGO_PKG_VERSION"));
    let row = registers.lines().nth(1).unwrap();
    assert!(row.starts_with(&format!("{address}  connected  {version}  ")), "{registers}");
    assert!(row.ends_with("s         2"), "an uptime, and two gateways: {registers}");
    let before = gwctl.json(&["registers"]).await.0["registers"][0]["uptime_millis"].clone();
    let after = gwctl.json(&["registers"]).await.0["registers"][0]["uptime_millis"].clone();
    assert!(before.as_u64().unwrap() < after.as_u64().unwrap(), "{before} {after}");

    let top = gwctl.ok(&["top", "-n", "2", "--interval", "1", "-o", "json"]).await;
    let results: Vec<Value> = top.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), 2);
    assert_eq!(results[1]["clients"].as_array().unwrap().len(), 3);
    assert_eq!(results[1]["clients"][0]["events_per_second"], json!(0.0), "they are silent");

    let (checked, code) = gwctl.json(&["check"]).await;
    let states: Vec<&Value> =
        checked["checks"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!((states, code), (vec![&json!("ok"); 8], 0), "{checked}");
    let line = gwctl.ok(&["check", "delivery"]).await;
    assert!(
        line.starts_with("OK: 1 checks\nok       delivery: executed by every gateway in "),
        "{line}"
    );
}

async fn clients_are_selected_sorted_and_described(threads: usize) {
    let suite = builder(threads).start().await;
    let mut ann = client(&suite, 0, "ann", "room").await;
    let _bob = client(&suite, 1, "bob", "room").await;
    let gwctl = Gwctl::of(&suite);
    ann.exchange("jhall", "jhall").await;
    let inner = suite.gateways[1].inner.to_string();
    for (flags, expected) in [
        (&[][..], 2),
        (&["--uid", "ann"], 1),
        (&["--group", "room"], 2),
        (&["--group", "room", "--gateway", &inner], 1),
        (&["--ip", "127.0.0.1"], 2),
        (&["--ip", "127.0.0.9"], 0),
        (&["--worker", "BusinessWorker:1"], 2),
        (&["--worker", "Other:1"], 0),
        (&["--slow"], 0),
        (&["--paused"], 0),
        (&["--limit", "1"], 1),
    ] {
        let (shown, code) = gwctl.json(&[&["clients"], flags].concat()).await;
        assert_eq!((shown["clients"].as_array().unwrap().len(), code), (expected, 0), "{flags:?}");
        assert_eq!(shown["more"], json!(flags == ["--limit", "1"]));
    }
    let (shown, _) = gwctl.json(&["clients", "--sort", "groups"]).await;
    let first = &shown["clients"][0];
    assert_eq!((&first["uid"], &first["groups"]), (&json!("ann"), &json!(["room", "hall"])));
    let table = gwctl.ok(&["clients", "--uid", "bob"]).await;
    assert!(table.lines().nth(1).unwrap().contains("  bob  127.0.0.1:"), "{table}");
    assert_eq!(gwctl.ok(&["clients", "--uid", "eve"]).await, "no client matches\n");

    let id = first["client"].as_str().unwrap();
    let one = gwctl.ok(&["client", id]).await;
    let has = |name: &str, value: &str| {
        let values = one.lines().filter_map(|line| line.strip_prefix(name));
        values.map(str::trim).any(|found| found == value)
    };
    for (name, value) in
        [("client", id), ("state", "open"), ("uid", "ann"), ("groups", "2 room, hall")]
    {
        assert!(has(name, value), "{name}: {one}");
    }
    drop(ann);
    let args = ["client", id];
    let is_gone = |it: &Value, code| code == 1 && it["connected"] == json!(false);
    assert_eq!(until(&gwctl, &args, is_gone).await["details"], Value::Null);
}

async fn worker_that_stands_still_is_found_with_the_next_step(threads: usize) {
    let mut suite = builder(threads).start().await;
    let mut browser = client(&suite, 0, "ann", "room").await;
    let gwctl = Gwctl::of(&suite);
    suite.workers[0].pause().await;
    browser.send("e it waits").await;
    let stands_still = |it: &Value, code| {
        code == 1 && problems(it).iter().any(|problem| problem.contains(" stands still: "))
    };
    let status = until(&gwctl, &["status"], stands_still).await;
    let finding = &status["findings"][0];
    assert_eq!((&finding["severity"], &finding["topic"]), (&json!("critical"), &json!("workers")));
    let next = finding["next"].as_str().unwrap();
    assert!(next.contains("(`systemctl restart business-worker@1` on 127.0.0.1)"), "{finding}");
    assert!(next.starts_with("its process is stopped"), "{finding}");
    assert!(problems(&status)[0].contains(" and sent nothing, "), "{finding}");
    let screen = gwctl.run(&["status"]).await;
    assert!(
        screen.out.starts_with("critical: worker 127.0.0.1:BusinessWorker:1 stands still"),
        "{screen:?}"
    );
    let (workers, _) = gwctl.json(&["workers"]).await;
    let worker = &workers["workers"][0];
    assert_eq!((&worker["state"], &worker["in_flight"]), (&json!("stands still"), &json!(1)));
    let check = gwctl.run(&["check", "workers"]).await;
    assert_eq!(check.code, 2);
    assert!(check.out.starts_with("CRITICAL: 1 of 1 checks\ncritical workers\n"), "{check:?}");
    suite.workers[0].resume();
    assert_eq!(browser.receive_text().await, "e it waits");
    until(&gwctl, &["status"], |it, code| code == 0 && problems(it).is_empty()).await;

    suite.workers[0].kill();
    let none = |it: &Value, code| {
        code == 2 && it["checks"][0]["findings"][0]["problem"].to_string().contains("no worker")
    };
    until(&gwctl, &["check", "workers"], none).await;
}

async fn client_that_does_not_read_is_found_and_kicked(threads: usize) {
    let suite = builder(threads).start().await;
    let _reader = client(&suite, 1, "ann", "room").await;
    let _slow = Raw::with_small_buffers(suite.gateways[0].clients).await;
    let (gwctl, cluster) = (Gwctl::of(&suite), suite.cluster().await);
    let slow = eventually("the slow client", async || {
        let all = cluster.all_clients().await.unwrap();
        all.into_iter().find(|client| client.gateway == suite.gateways[0].inner)
    })
    .await;
    let large = "x".repeat(256 * 1024);
    let found = eventually("a queue", async || {
        cluster.send_to_all(Recipients::Only(vec![slow]), large.as_str()).await.unwrap();
        let (shown, _) = gwctl.json(&["clients", "--slow"]).await;
        shown["clients"]
            .as_array()
            .unwrap()
            .first()
            .filter(|it| it["blocked"] == json!(true))
            .cloned()
    })
    .await;
    let id = slow.to_string();
    assert_eq!(found["client"], json!(id));
    let status = until(&gwctl, &["status"], |it, _| !problems(it).is_empty()).await;
    assert!(problems(&status)[0].starts_with("1 client does not read at gateway "), "{status}");
    assert_eq!(gwctl.run(&["check", "clients"]).await.code, 1, "a warning");
    let one = gwctl.ok(&["client", &id]).await;
    assert!(one.contains("its socket takes no more"), "{one}");
    assert!(one.ends_with(&format!("  next: `gwctl kick --client {id}` closes it\n")), "{one}");
    assert_eq!(gwctl.ok(&["kick", "--client", &id, "--yes"]).await, "closed 1 client\n");
}

#[tokio::test]
async fn gateway_and_register_that_are_away_are_named() {
    let mut suite = Suite::builder().registers(2).workers(1).start().await;
    let gwctl = Gwctl::of(&suite).with("GW_TIMEOUT", "1");
    suite.gateways[1].pause().await;
    let inner = suite.gateways[1].inner.to_string();
    let screen = gwctl.run(&["status"]).await;
    assert_eq!(screen.code, 1);
    assert!(screen.out.contains(&format!("critical: gateway {inner} ")), "{screen:?}");
    assert!(screen.out.contains(&format!("\n{inner}  no answer\n")), "{screen:?}");
    let shown = gwctl.run(&["gateways"]).await;
    assert!(shown.code == 1 && shown.out.contains(&format!("{inner}  no answer\n")), "{shown:?}");
    let clients = gwctl.run(&["clients"]).await;
    assert!(clients.code == 1 && clients.out.contains(&inner), "{clients:?}");
    assert_eq!(gwctl.run(&["check", "connection"]).await.code, 2);
    suite.gateways[1].resume();

    suite.registers[1].kill();
    let away = suite.register_addrs[1].to_string();
    let registers = gwctl.run(&["registers"]).await;
    assert_eq!(registers.code, 1);
    let row = registers.out.lines().find(|line| line.starts_with(&away)).unwrap();
    assert!(row.starts_with(&format!("{away}  no answer ")) && row.ends_with(" 0"), "{row}");
    assert!(registers.out.contains("  next: start the register"), "{registers:?}");
    let warning = until(&gwctl, &["check", "connection"], |_, code| code == 1).await;
    assert_eq!(warning["state"], json!("warning"));
    suite.registers[0].kill();
    let (checked, code) = gwctl.json(&["check"]).await;
    assert_eq!((&checked["state"], code), (&json!("critical"), 2), "{checked}");
    assert_eq!(checked["checks"][1]["state"], json!("unknown"));
    assert_eq!(gwctl.json(&["check", "workers"]).await.1, 3, "it is not known");
}

#[tokio::test]
async fn audit_has_everything_but_secrets() {
    let suite = builder(1).start().await;
    let gwctl = Gwctl::of(&suite);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.json").display().to_string();
    let written = gwctl.ok(&["audit", &file]).await;
    assert!(written.starts_with(&format!("{file}: ")), "{written}");
    let text = std::fs::read_to_string(&file).unwrap();
    let audit: Value = serde_json::from_str(&text).unwrap();
    let count = |name: &str| audit[name].as_array().unwrap().len();
    assert_eq!((count("registers"), count("gateways"), count("workers")), (1, 2, 1));
    assert!(audit["settings"].as_str().unwrap().contains("# secret_key is set, not shown"));
    assert!(!text.contains(std::str::from_utf8(suite.secret().expose()).unwrap()), "{text}");
    let again = gwctl.run(&["audit", &file]).await;
    assert!(again.code == 1 && again.err.contains("next: "), "{again:?}");
}

#[tokio::test]
async fn check_says_that_the_secret_is_wrong() {
    let suite = Suite::builder().plain().gateways(1).start().await;
    let check = Gwctl::of(&suite).with("GW_SECRET_KEY", "x").run(&["check", "connection"]).await;
    assert_eq!(check.code, 2);
    assert!(check.out.starts_with("CRITICAL: 1 of 1 checks\n"), "{check:?}");
    assert!(check.out.contains("does not accept the secret key"), "{check:?}");
    assert!(check.out.contains("next: set GW_SECRET_KEY"), "{check:?}");
}

#[tokio::test]
async fn gateway_with_another_secret_is_named_by_the_register_that_refuses_it() {
    let suite = Suite::builder().plain().registers(2).gateways(1).workers(1).start().await;
    let gwctl = Gwctl::of(&suite);
    until(&gwctl, &["status"], |it, code| code == 0 && problems(it).is_empty()).await;
    let wrong = Gwctl::of(&suite).with("GW_SECRET_KEY", "x").run(&["groups"]).await;
    assert_eq!(wrong.code, 1);
    let refused = |it: &Value, _| problems(it).iter().any(|it| it.contains(" a peer on 127.0.0.1"));
    let status = until(&gwctl, &["status"], refused).await;
    assert_eq!(status["findings"][0]["severity"], json!("warning"), "a tool, not a gateway");

    let (listen, inner) = (suite_tests::ports::free(), suite_tests::ports::free());
    let (listen, port) = (format!("ws://{listen}"), inner.port().to_string());
    let flags = ["--listen", &listen, "--lan-port", &port, "--secret-key", "other"];
    let mut other = suite.start_process("other", "gateway", &flags);
    let name = format!(" refuses gateway {inner} (from 127.0.0.1): it has another secret");
    let refused = |it: &Value, code| code == 1 && problems(it).iter().any(|it| it.contains(&name));
    let status = until(&gwctl, &["status"], refused).await;
    let of_gateway: Vec<&Value> = status["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["severity"] == json!("critical"))
        .collect();
    let [finding] = of_gateway[..] else { panic!("once for both registers: {status}") };
    assert!(finding["next"].as_str().unwrap().contains("and restart its gateway"), "{finding}");
    assert_eq!(status["gateways"].as_array().unwrap().len(), 1);

    let registers = gwctl.run(&["registers"]).await;
    assert_eq!(registers.code, 1);
    let row = format!("\ngateway {inner} (from 127.0.0.1)  ");
    assert_eq!(registers.out.matches(&row).count(), 2, "{registers:?}");
    assert_eq!(gwctl.run(&["check", "connection"]).await.code, 2);
    other.kill();
}

#[tokio::test]
async fn worker_whose_handlers_hang_is_told_from_one_that_is_stopped() {
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let url = receiver.local_addr().unwrap();
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let hook = format!("[[webhook]]\nurl = \"http://{url}/\"\nsecret = \"{secret}\"\n");
    std::fs::write(&file, format!("{hook}events = [\"message\"]\ntimeout = 600\n")).unwrap();
    let suite = Suite::builder()
        .app("webhook")
        .workers(1)
        .gateways(1)
        .worker_flag("--config", file.to_str().unwrap())
        .start()
        .await;
    let mut browser = suite.browser(0).await;
    browser.send("no answer").await;
    let gwctl = Gwctl::of(&suite);
    let hangs = |it: &Value, code| {
        let still = |problem: &&str| problem.ends_with("liveness probes, so its handlers hang");
        code == 1 && problems(it).iter().any(still)
    };
    let status = until(&gwctl, &["status"], hangs).await;
    let next = status["findings"][0]["next"].as_str().unwrap();
    assert!(next.starts_with("mend what its handlers wait for"), "{next}");
}
