//! Connections of the Pusher protocol over real sockets: refusals, exact bytes, workers that end,
//! apps that change.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use suite_tests::{
    Browser, PusherClient, PusherSettings, Received, eventually, on_one_and_three_threads,
    process::Signal,
};

on_one_and_three_threads!(
    refusals_are_close_codes_behind_the_response,
    connection_survives_the_death_of_its_worker,
    gateway_closes_clients_with_the_codes_of_the_protocol,
);

const OTHERS: &str = "max_connections = 3\n\
    [[pusher.app]]\nid = '2'\nkey = 'off'\nsecret = 's'\nenabled = false\n\
    [[pusher.app]]\nid = '3'\nkey = 'page'\nsecret = 's'\nallowed_origins = ['https://a.com']\n";

async fn refusals_are_close_codes_behind_the_response(threads: usize) {
    let settings = PusherSettings::new(OTHERS);
    let suite = settings.suite(1).gateways(1).threads(threads).start().await;
    let gateway = suite.gateways[0].clients;
    for (target, code) in [
        ("/app/unknown?protocol=7", 4001),
        ("/app/off?protocol=7", 4003),
        ("/", 4005),
        ("/app/k1/more?protocol=7", 4005),
        ("/app/k1?protocol=seven", 4006),
        ("/app/k1?protocol=8", 4007),
    ] {
        let mut browser = Browser::open(gateway, target).await;
        let (received, reason) = browser.receive_close().await.unwrap();
        assert_eq!(received, code, "{target}");
        assert!(!reason.is_empty() && !reason.contains("retry-after"), "{reason}");
    }
    let mut browser = Browser::open(gateway, "/app/unknown?protocol=5&client=java-client").await;
    let error = r#"{"event":"pusher:error","data":{"code":4001,"message":"No app has this key"}}"#;
    assert_eq!(browser.receive_text().await, error);
    assert_eq!(browser.receive_close().await.unwrap().0, 4001);

    let mut clients = Vec::new();
    for target in ["/app/k1", "/prefix/app/k1?protocol=4", "/app/k1?protocol=7&flash=false&x"] {
        let mut browser = Browser::open(gateway, target).await;
        let message = browser.receive_text().await;
        let id = message.split(r#"\""#).nth(3).unwrap();
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
        assert!(id.split('.').count() == 2 && id.split('.').all(digits), "{message}");
        let expected = format!(
            r#"{{"event":"pusher:connection_established","data":"{{\"socket_id\":\"{id}\",\"activity_timeout\":120}}"}}"#
        );
        assert_eq!(message, expected);
        clients.push(browser);
    }
    let mut over = Browser::open(gateway, "/app/k1").await;
    assert_eq!(over.receive_close().await.unwrap().0, 4004);
    clients.pop().unwrap().close().await;
    eventually("a place", async || {
        let mut browser = Browser::open(gateway, "/app/k1").await;
        matches!(browser.receive().await, Received::Text(_)).then_some(())
    })
    .await;
    suite.workers[0].wait_for_metric("pushsuite_pusher_closed_total{code=\"4001\"}", 2.0).await;
}

async fn connection_survives_the_death_of_its_worker(threads: usize) {
    let settings = PusherSettings::new("");
    let mut suite = settings.suite(2).threads(threads).start().await;
    let mut clients = Vec::new();
    for at in 0..6 {
        let mut client = PusherClient::connect(suite.gateways[at % 2].clients).await;
        client.subscribed("private-a").await;
        client.sign_in(r#"{"id":"ann"}"#).await;
        clients.push(client);
    }
    suite.workers[0].kill();
    for client in &mut clients {
        client.ping().await;
        client.subscribed("private-b").await;
        client.subscribed("#server-to-user-ann").await;
    }
    let event = r#"{"event":"client-e","channel":"private-a","data":{"n":1.0}}"#;
    clients[0].browser.send(event).await;
    assert!(clients[0].received().await.is_empty());
    for client in &mut clients[1..] {
        assert_eq!(client.browser.receive_text().await, event);
    }
}

async fn gateway_closes_clients_with_the_codes_of_the_protocol(threads: usize) {
    let settings = PusherSettings::new("");
    let builder = settings.suite(1).threads(threads).gateway_flag("--no-worker-timeout", "1");
    let mut suite = builder.start().await;
    let mut drained = PusherClient::connect(suite.gateways[0].clients).await;
    let mut orphan = PusherClient::connect(suite.gateways[1].clients).await;
    suite.gateways[0].signal(Signal::Term);
    assert_eq!(drained.browser.closed().await, Some(4200));
    suite.workers[0].kill();
    orphan.browser.send(r#"{"event":"pusher:ping"}"#).await;
    assert_eq!(orphan.browser.closed().await, Some(4100));
}

#[tokio::test]
async fn clients_of_an_app_that_is_disabled_are_closed_on_sighup() {
    let settings = PusherSettings::new(
        "[[pusher.app]]\nid = '2'\nkey = 'k2'\nsecret = 's2'\n\
         [[pusher.app]]\nid = '3'\nkey = 'k3'\nsecret = 's3'\n",
    );
    let mut suite = settings.suite(1).start().await;
    let open = async |key: &str, gateway: usize| {
        let target = format!("/app/{key}?protocol=7");
        let mut browser = Browser::open(suite.gateways[gateway].clients, &target).await;
        assert!(matches!(browser.receive().await, Received::Text(_)));
        browser
    };
    let mut disabled = [open("k2", 0).await, open("k2", 1).await];
    let mut removed = open("k3", 0).await;
    let target = "/app/k3?protocol=5&client=java-client";
    let mut old = Browser::open(suite.gateways[1].clients, target).await;
    assert!(matches!(old.receive().await, Received::Text(_)));
    let mut other = PusherClient::connect(suite.gateways[0].clients).await;
    // A file with a fault changes nothing.
    settings.write("[[pusher.app]]\nid = '1'\n");
    suite.workers[0].signal(Signal::Hup);
    suite.workers[0].wait_for_log(&["reload failed"]).await;
    other.ping().await;
    // Nor does a file without apps, which would close all clients for good.
    settings.write("");
    suite.workers[0].signal(Signal::Hup);
    suite.workers[0].wait_for_log(&["reload failed", "has no [[pusher.app]]"]).await;
    other.ping().await;
    settings.write(
        "[[pusher.app]]\nid = '1'\nkey = 'new'\nsecret = 'new'\n\
         other_keys = [{key = 'k1', secret = 's1'}]\n\
         [[pusher.app]]\nid = '2'\nkey = 'k2'\nsecret = 's2'\nenabled = false\n",
    );
    suite.workers[0].signal(Signal::Hup);
    for browser in disabled.iter_mut().chain([&mut removed]) {
        assert_eq!(browser.receive_close().await.unwrap().0, 4003);
    }
    let error = r#"{"event":"pusher:error","data":{"code":4003,"message":"The app is disabled"}}"#;
    assert_eq!(old.receive_text().await, error);
    assert_eq!(old.receive_close().await.unwrap().0, 4003);
    other.subscribed("private-a").await;
    let mut browser = Browser::open(suite.gateways[0].clients, "/app/new").await;
    assert!(matches!(browser.receive().await, Received::Text(_)));
}

#[test]
fn wrong_settings_are_named_before_a_port_is_bound() {
    let settings = PusherSettings::new("");
    let run = |flags: &[&str]| {
        let binary = suite_tests::binaries::path("business-worker");
        let path = settings.path().display().to_string();
        let output = Command::new(binary).args(["--config", &path]).args(flags).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, shown) = run(&["--app", "pusher", "--check"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("k1") && !shown.contains("s1"), "{shown}");
    for (text, fault) in [
        ("", "has no [[pusher.app]]"),
        ("[[pusher.app]]\nid = '1'\nkey = 'k'\n", "[[pusher.app]] number 1"),
        ("[[pusher.app]]\nid = '1'\nkey = 'k'\nsecret = 's'\nmore = 1\n", "more"),
        ("[[pusher.app]]\nid = 'a:b'\nkey = 'k'\nsecret = 's'\n", "`id`"),
        ("[[pusher.app]]\nid = '1'\nkey = 'k'\nsecret = 's'\nactivity_timeout = 1\n", "10 to 300"),
    ] {
        settings.write(text);
        let (code, shown) = run(&["--app", "pusher"]);
        assert_eq!(code, Some(2), "{text}: {shown}");
        assert!(shown.contains(fault), "{text}: {shown}");
    }
}
