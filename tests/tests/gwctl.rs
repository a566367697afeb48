//! `gwctl` against a real cluster: commands that send, close and change, and lists of names.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use suite_tests::{Gwctl, Issuer, Received, Scene, Suite, on_one_and_three_threads};

on_one_and_three_threads!(
    message_is_sent_and_the_report_says_whom_it_reached,
    kick_says_how_many_it_would_close_and_closes_them,
    uid_and_groups_are_changed_and_shown,
    lists_of_names_are_sorted_filtered_and_limited,
);

/// A scene, in which the first two clients are of `ann`, and the last two are in `room`.
async fn scene(threads: usize) -> (Scene, Gwctl) {
    let scene = Scene::start(threads).await;
    let [a, b, c, d] = scene.ids;
    for client in [a, b] {
        scene.cluster.bind_uid(client, "ann").report().await.unwrap();
    }
    for client in [c, d] {
        scene.cluster.join_group(client, "room").report().await.unwrap();
    }
    let gwctl = Gwctl::of(&scene.suite);
    (scene, gwctl)
}

async fn message_is_sent_and_the_report_says_whom_it_reached(threads: usize) {
    let (mut scene, gwctl) = scene(threads).await;
    let [a, _, c, _] = scene.ids.map(|id| id.to_string());
    assert_eq!(gwctl.ok(&["send", "--uid", "ann", "1"]).await, "sent to 2 clients\n");
    assert_eq!(gwctl.ok(&["send", "--client", &a, "2"]).await, "sent to 1 client\n");
    let (sent, code) =
        gwctl.json(&["send", "--group", "room", "--except", &c, "--json", "{}"]).await;
    assert_eq!((&sent["to"], code), (&json!({ "group": "room" }), 0));
    assert_eq!(
        (&sent["matched"], &sent["reached"], &sent["bytes"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert_eq!(gwctl.ok(&["send", "--all", "4"]).await, "sent to 4 clients\n");
    let piped = gwctl.run_with_input(&["send", "--all", "--except", &a, "-"], "5").await;
    assert_eq!((piped.out.as_str(), piped.code), ("sent to 3 clients\n", 0));
    let received = scene.received().await;
    let expected: [&[&str]; 4] =
        [&["1", "2", "4"], &["1", "4", "5"], &["4", "5"], &["{}", "4", "5"]];
    assert_eq!(received, expected);

    let absent = gwctl.run(&["send", "--uid", "bob", "x"]).await;
    assert_eq!(absent.code, 1, "reached no client");
    assert!(absent.out.starts_with("sent to 0 clients\n  next: no client matches"), "{absent:?}");
    let invalid = gwctl.run(&["send", "--all", "--json", "{oops"]).await;
    assert_eq!(invalid.code, 2);
    assert!(invalid.err.contains("the message is not JSON"), "{invalid:?}");
    let unclear = gwctl.run(&["send", "--all", "--uid", "ann", "x"]).await;
    assert_eq!(unclear.code, 2, "{unclear:?}");
}

async fn kick_says_how_many_it_would_close_and_closes_them(threads: usize) {
    let (mut scene, gwctl) = scene(threads).await;
    let would = gwctl.ok(&["kick", "--uid", "ann", "--dry-run"]).await;
    assert_eq!(would, "would close 2 clients of uid ann with 4403 kicked\n");
    let refused = gwctl.run(&["kick", "--uid", "ann"]).await;
    assert_eq!(refused.code, 1, "not a terminal");
    assert!(refused.err.starts_with("error: close 2 clients of uid ann: not confirmed"));
    assert!(refused.err.contains("next: add --yes"), "{}", refused.err);
    let invalid = gwctl.run(&["kick", "--uid", "ann", "--code", "1001", "--yes"]).await;
    assert_eq!(invalid.code, 2);
    assert!(invalid.err.contains("close code 1001 is not 1000"), "{}", invalid.err);
    assert_eq!(scene.cluster.count().await.unwrap(), 4, "none is closed so far");

    assert_eq!(gwctl.ok(&["kick", "--uid", "ann", "--yes"]).await, "closed 2 clients\n");
    let flags = ["--code", "4001", "--reason", "bye", "--message", "last", "--yes"];
    let (kicked, code) = gwctl.json(&[&["kick", "--group", "room"][..], &flags].concat()).await;
    assert_eq!((&kicked["found"], &kicked["reached"], code), (&json!(2), &json!(2), 0));
    for (browser, at) in scene.browsers.iter_mut().zip(0..) {
        let (last, close) = if at < 2 { (None, 4403) } else { (Some("last"), 4001) };
        if let Some(last) = last {
            assert_eq!(browser.receive_text().await, last);
        }
        assert_eq!(browser.receive().await, Received::Closed(Some(close)));
    }
    let gone = gwctl.run(&["kick", "--uid", "ann", "--yes"]).await;
    assert_eq!((gone.out.as_str(), gone.code), ("no client of uid ann is connected\n", 1));
}

async fn uid_and_groups_are_changed_and_shown(threads: usize) {
    let (scene, gwctl) = scene(threads).await;
    let [a, b, c, d] = scene.ids.map(|id| id.to_string());
    assert_eq!(gwctl.ok(&["bind", &c, "小明"]).await, "bound 1 client\n");
    assert_eq!(gwctl.ok(&["unbind", &b]).await, "unbound 1 client\n");
    assert_eq!(gwctl.ok(&["join", "hall", "--client", &c]).await, "joined by 1 client\n");
    assert_eq!(gwctl.ok(&["join", "hall", "--uid", "ann"]).await, "joined by 1 client\n");
    assert_eq!(gwctl.ok(&["leave", "room", "--client", &d]).await, "left by 1 client\n");

    let (ann, _) = gwctl.json(&["uid", "ann"]).await;
    let gateway = scene.ids[0].gateway.to_string();
    let client = json!({ "client": a, "gateway": gateway, "groups": ["hall"] });
    assert_eq!(ann, json!({ "uid": "ann", "clients": [client], "unanswered": [] }));
    let shown = gwctl.ok(&["who", "小明"]).await;
    let row = format!("{c}  {}  room, hall", scene.ids[2].gateway);
    assert_eq!(shown.lines().nth(1), Some(row.as_str()), "{shown}");
    assert_eq!(gwctl.ok(&["uid", "bob"]).await, "uid bob has no clients: it is offline\n");

    let (hall, _) = gwctl.json(&["group", "hall"]).await;
    assert_eq!((&hall["clients"], &hall["gateways"][&gateway]), (&json!(2), &json!(2)));
    let uids: Vec<&Value> =
        hall["members"].as_array().unwrap().iter().map(|it| &it["uid"]).collect();
    assert_eq!(uids, ["小明", "ann"], "in the order of joining");
    let shown = gwctl.ok(&["group", "room"]).await;
    assert!(shown.starts_with("group        room\nclients      1\n"), "{shown}");
    assert!(shown.contains(&format!("\n{c}  小明  ")), "{shown}");
}

async fn lists_of_names_are_sorted_filtered_and_limited(threads: usize) {
    let (scene, gwctl) = scene(threads).await;
    let cluster = &scene.cluster;
    for (client, groups) in scene.ids.into_iter().zip([&["a", "zz"][..], &["zz"], &["zz"], &["b"]])
    {
        for group in groups {
            cluster.join_group(client, *group).report().await.unwrap();
        }
    }
    cluster.bind_uid(scene.ids[3], "evil\u{1b}[31m").report().await.unwrap();
    let groups = gwctl.ok(&["groups"]).await;
    assert_eq!(
        groups,
        "GROUP  CLIENTS\nzz           3\nroom         2\na            1\nb            1\n"
    );
    let groups = gwctl.ok(&["groups", "--sort", "name", "--limit", "2"]).await;
    assert_eq!(
        groups,
        "GROUP  CLIENTS\na            1\nb            1\n2 of 4; --limit 0 shows all\n"
    );
    let (groups, _) = gwctl.json(&["groups", "--filter", "oo"]).await;
    assert_eq!(groups["names"], json!([{ "name": "room", "clients": 2 }]));
    assert_eq!((&groups["total"], &groups["matching"]), (&json!(4), &json!(1)));
    let uids = gwctl.ok(&["uids", "--color", "always"]).await;
    let expected = "\u{1b}[1mUID\u{1b}[0m             \u{1b}[1mCLIENTS\u{1b}[0m\n\
                    ann                   2\nevil\\u{1b}[31m        1\n";
    assert_eq!(uids, expected, "bytes of a client have no effect on the terminal");
}

#[tokio::test]
async fn partial_answer_names_the_gateway_that_does_not_answer() {
    let (mut scene, gwctl) = scene(1).await;
    let gwctl = gwctl.with("GW_TIMEOUT", "1");
    scene.suite.gateways[1].pause().await;
    let inner = scene.suite.gateways[1].inner.to_string();
    let (uids, code) = gwctl.json(&["uids"]).await;
    assert_eq!(uids["names"], json!([{ "name": "ann", "clients": 1 }]), "of the other gateway");
    assert_eq!((&uids["unanswered"][0]["gateway"], code), (&json!(inner), 1));
    let shown = gwctl.run(&["groups"]).await;
    assert!(shown.out.starts_with(&format!("incomplete: gateway {inner} ")), "{shown:?}");
    assert!(shown.out.contains("\n  next: "), "{shown:?}");
    let sent = gwctl.run(&["send", "--uid", "ann", "x"]).await;
    let missing = format!("incomplete: gateway {inner} did not answer");
    assert!(sent.out.starts_with("sent to 1 client\n") && sent.out.contains(&missing), "{sent:?}");
    assert_eq!(sent.code, 1);
    scene.suite.gateways[1].resume();
}

#[tokio::test]
async fn failure_to_connect_says_what_to_do_next() {
    let mut suite = Suite::builder().plain().start().await;
    let gwctl = Gwctl::of(&suite);
    let wrong = gwctl.clone().with("GW_SECRET_KEY", "wrong").run(&["groups"]).await;
    assert_eq!((wrong.code, wrong.out.as_str()), (1, ""));
    assert!(wrong.err.contains("does not accept the secret key"), "{}", wrong.err);
    assert!(wrong.err.contains("next: set GW_SECRET_KEY"), "{}", wrong.err);
    suite.registers[0].kill();
    let away = gwctl.run(&["groups"]).await;
    assert_eq!(away.code, 1);
    assert!(away.err.starts_with("error: no register is reachable: "), "{}", away.err);
    assert!(away.err.contains("next: start the register"), "{}", away.err);
    let none = Gwctl::bare().run(&["groups", "--register-address", "nowhere"]).await;
    assert_eq!(none.code, 2, "{none:?}");
}

#[tokio::test]
async fn tokens_are_made_and_verified_as_a_gateway_does() {
    let (gwctl, issuer) = (Gwctl::bare(), Issuer::hs256("k", 7));
    let key = issuer.file().display().to_string();
    let flags = ["--uid", "ann", "--group", "room", "--session", r#"{"a":1}"#, "--id", "t1"];
    let token = gwctl.ok(&[&["token", "make", "--key", &key][..], &flags].concat()).await;
    let verify = ["token", "verify", "--key", &key];
    let verified = gwctl.run_with_input(&verify, &token).await;
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(
        verified.out.starts_with("valid\nuid      ann\nid       t1\ngroups   room\n"),
        "{verified:?}"
    );
    let (verified, _) = gwctl.json(&[&verify[..], &[token.trim()]].concat()).await;
    assert_eq!((&verified["valid"], &verified["groups"]), (&json!(true), &json!(["room"])));

    let other = Issuer::hs256("k", 8).token_of("ann");
    let refused = gwctl.run(&[&verify[..], &[&other]].concat()).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.starts_with("error: a gateway refuses this token: "), "{refused:?}");
    let old = issuer.token(json!({ "sub": "ann", "exp": 1 }));
    let refused = gwctl.run(&[&verify[..], &[&old]].concat()).await;
    assert!(refused.code == 1 && refused.err.contains("expired"), "{refused:?}");

    let suite = Suite::builder()
        .gateways(1)
        .gateway_flags(&[("--handshake-auth", "jwt"), ("--jwt-keys", &key)])
        .start()
        .await;
    let _worker = suite.worker_link(0, "w:1").await;
    let query = format!("/?token={}", token.trim());
    let _browser = suite_tests::Browser::open(suite.gateways[0].clients, &query).await;
    let shown = Gwctl::of(&suite).ok(&["uids"]).await;
    assert_eq!(shown, "UID  CLIENTS\nann        1\n", "the gateway accepts the token");
}

#[tokio::test]
async fn codes_are_explained_from_the_documents() {
    let gwctl = Gwctl::bare();
    let slow = gwctl.ok(&["explain", "send queue full"]).await;
    let expected = "1013 send queue full\nThe client reads too slowly, and has missed messages.";
    assert!(slow.starts_with(expected), "{slow}");
    let (found, _) = gwctl.json(&["explain", "4403"]).await;
    let causes: Vec<&Value> =
        found["meanings"].as_array().unwrap().iter().map(|meaning| &meaning["cause"]).collect();
    assert!(causes.contains(&&json!("token revoked")), "{causes:?}");
    assert!(gwctl.ok(&["explain"]).await.lines().count() > 40);
    let unknown = gwctl.run(&["explain", "1234"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("next: "), "{unknown:?}");
}

#[tokio::test]
async fn settings_come_from_flags_environment_and_file_and_secrets_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gwctl.toml");
    std::fs::write(&file, "secret_key = \"hidden\"\ntimeout = 3\noutput = \"wide\"\n").unwrap();
    let gwctl = Gwctl::bare().with("GW_CONFIG", &file.display().to_string());
    let gwctl = gwctl.with("GW_REGISTER_ADDRESS", "10.0.0.1:1,10.0.0.2:1").with("GW_TIMEOUT", "2");
    let shown = gwctl.ok(&["config", "-o", "table"]).await;
    assert!(
        shown
            .contains("register_address = [\"10.0.0.1:1\", \"10.0.0.2:1\"]  # GW_REGISTER_ADDRESS"),
        "{shown}"
    );
    assert!(shown.contains("timeout = 2  # GW_TIMEOUT") && shown.contains("# --output"), "{shown}");
    assert!(
        shown.contains("# secret_key is set, not shown") && !shown.contains("hidden"),
        "{shown}"
    );
    std::fs::write(&file, "app = \"chat\"\n").unwrap();
    let unknown = gwctl.run(&["config"]).await;
    assert!(unknown.code == 2 && unknown.err.contains("unknown key `app`"), "{unknown:?}");
}

#[test]
fn every_command_and_flag_is_documented() {
    let document = include_str!("../../docs/gwctl.md");
    for command in gwctl::command().get_subcommands() {
        let name = command.get_name();
        let is_there = [format!("`{name}`"), format!("`{name} ")];
        assert!(is_there.iter().any(|text| document.contains(text)), "{name} is not documented");
    }
    for flag in gwctl::command().get_arguments().filter_map(|arg| arg.get_long()) {
        let is_there = document.contains(&format!("--{flag}"));
        assert!(is_there || matches!(flag, "help" | "version"), "--{flag} is not documented");
    }
}

#[tokio::test]
async fn completions_and_manual_pages_have_every_command() {
    let (gwctl, folder) = (Gwctl::bare(), tempfile::tempdir().unwrap());
    gwctl.ok(&["man", &folder.path().display().to_string()]).await;
    let script = gwctl.ok(&["completions", "bash"]).await;
    for command in gwctl::command().get_subcommands() {
        let name = command.get_name();
        let page = std::fs::read_to_string(folder.path().join(format!("gwctl-{name}.1"))).unwrap();
        assert!(page.contains(name) && script.contains(name), "{name}");
    }
    let nowhere = gwctl.run(&["man", "/nowhere"]).await;
    assert!(nowhere.code == 1 && nowhere.err.starts_with("error: /nowhere: "), "{nowhere:?}");
}
