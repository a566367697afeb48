//! The life of a token behind the handshake (`--handshake-auth jwt`): expiry, renewal, revocation.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use protocol::{CloseReason, Renewal, Revocation, TokenError, TokenId};
use push_suite_cluster::Error;
use push_suite_worker::ClientId;
use serde_json::json;
use suite_tests::{
    Browser, Issuer, Raw, Suite, TestWorker, eventually,
    names::uid,
    on_one_and_three_threads, ports,
    process::Signal,
    raw::{Answer, handshake},
    suite::Builder,
    tokens::now,
    worker::Call,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

on_one_and_three_threads!(
    expired_connection_is_closed_unless_it_was_renewed,
    worker_is_notified_before_a_connection_expires_and_prolongs_it,
    renewal_needs_a_valid_token_of_the_same_user,
    revocation_closes_clients_and_refuses_tokens_on_every_gateway,
    file_of_revocations_outlives_the_gateway,
    revocations_are_bounded_and_none_is_forgotten_for_another,
);

fn accepting(threads: usize, issuer: &Issuer) -> Builder {
    let builder = Suite::builder().gateways(1).threads(threads);
    let builder = builder.gateway_flag("--handshake-auth", "jwt");
    builder.gateway_flag("--jwt-keys", issuer.file().to_str().unwrap())
}

async fn browser(gateway: SocketAddr, token: &str) -> Browser {
    let request = format!("ws://{gateway}/?token={token}").into_client_request().unwrap();
    Browser::open_with(gateway, request).await.unwrap()
}

/// The error code of a handshake that is refused, or an empty text.
async fn refusal(gateway: SocketAddr, token: &str) -> String {
    let mut raw = Raw::connect(gateway).await;
    raw.send(handshake(&format!("Authorization: Bearer {token}\r\n")).as_bytes()).await;
    let head = raw.head().await;
    if head.starts_with("HTTP/1.1 101 ") {
        return String::new();
    }
    let whole = [head.into_bytes(), raw.read_to_end().await].concat();
    let body: serde_json::Value =
        serde_json::from_str(&Answer::parse(&whole).unwrap().body).unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

async fn close_reason(worker: &mut TestWorker) -> CloseReason {
    loop {
        if let Call::Close(reason) = worker.next_report().await.call {
            return reason;
        }
    }
}

async fn expired_connection_is_closed_unless_it_was_renewed(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let suite = accepting(threads, &issuer).start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = TestWorker::start(&suite, "1").await;
    // Expired, and within the tolerance for clocks that differ; closed 25 seconds after.
    let expired = |uid: &str| issuer.token(json!({ "sub": uid, "exp": now() - 21 }));
    let mut ann = browser(gateway, &expired("ann")).await;
    let mut bob = browser(gateway, &expired("bob")).await;
    let never = json!({ "sub": "eve", "exp": now() - 21, "gw": { "expire_at": 0 } });
    let mut eve = browser(gateway, &issuer.token(never)).await;
    let expires_at = now() + 50;
    let token = issuer.token(json!({ "sub": "bob", "exp": expires_at }));
    bob.send(format!("renew {token}")).await;
    let renewed = Renewal::Renewed { expires_at: Some(expires_at) };
    assert_eq!(bob.receive_text().await, format!("{renewed:?}"));
    assert_eq!(ann.receive_close().await, Some((4401, "token expired".into())));
    assert_eq!(close_reason(&mut worker).await, CloseReason::Token);
    bob.exchange("echo here", "here").await;
    eve.exchange("echo here", "here").await;
}

async fn expiring(worker: &mut TestWorker) -> (ClientId, u64) {
    loop {
        let report = worker.next_report().await;
        if let Call::Expiring(expires_at) = report.call {
            return (report.client, expires_at);
        }
    }
}

async fn worker_is_notified_before_a_connection_expires_and_prolongs_it(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let suite = accepting(threads, &issuer).gateway_flag("--expiry-notice", "10").start().await;
    let gateway = suite.gateways[0].clients;
    let cluster = suite.cluster().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let first = now() + 14;
    let mut ann = browser(gateway, &issuer.token(json!({ "sub": "ann", "exp": first }))).await;
    let (client, expires_at) = expiring(&mut worker).await;
    assert_eq!(expires_at, first);
    assert!((first - 10..first).contains(&now()), "10 seconds before, or halfway to it");
    // Prolonged without a token; it has a notice again.
    let second = now() + 4;
    cluster.set_expiry(client, Some(second)).await.unwrap();
    assert_eq!(expiring(&mut worker).await, (client, second));
    assert!(now() < second + 25);
    // Each only once, and none for a time that has passed, nor for one that was replaced.
    cluster.set_expiry(client, Some(now() + 4)).await.unwrap();
    cluster.set_expiry(client, None).await.unwrap();
    cluster.set_expiry(client, Some(now() - 5)).await.unwrap();
    let last = now() + 3;
    let mut bob = browser(gateway, &issuer.token(json!({ "sub": "bob", "exp": last }))).await;
    let (of_bob, expires_at) = expiring(&mut worker).await;
    assert!(of_bob != client && expires_at == last, "{expires_at}");
    // It keeps its token: that of another user is not accepted, and it can be revoked.
    let other = issuer.token_of("eve");
    bob.exchange("echo here", "here").await;
    cluster.set_expiry(of_bob, None).await.unwrap();
    let revoked = cluster.revoke(Revocation::uids([uid("bob")])).await.unwrap();
    assert_eq!((revoked, bob.receive_close().await), (1, Some((4403, "token revoked".into()))));
    ann.exchange("echo here", "here").await;
    assert_eq!(cluster.renew_token(client, other).await.unwrap(), Renewal::OtherUser);
}

/// Also without `--handshake-auth jwt`, and on a listener without handshakes.
#[tokio::test]
async fn connection_without_a_token_expires_as_its_worker_says() {
    let listener = ports::free();
    let builder = Suite::builder().gateways(1);
    let suite = builder.gateway_flag("--listen", &format!("text://{listener}")).start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let cluster = suite.cluster().await;
    let mut text = Raw::connect(listener).await;
    let client = worker.next_report().await.client;
    let expires_at = now() + 4;
    cluster.set_expiry(client, Some(expires_at)).await.unwrap();
    assert_eq!(expiring(&mut worker).await, (client, expires_at));
    cluster.set_expiry(client, Some(now() - 26)).await.unwrap();
    assert_eq!(close_reason(&mut worker).await, CloseReason::Token);
    assert!(text.read_to_end().await.is_empty());
    cluster.set_expiry(client, Some(expires_at)).await.unwrap();
    // Without notices.
    let suite = Suite::builder().gateways(1).gateway_flag("--expiry-notice", "0").start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    let client = worker.next_report().await.client;
    let cluster = suite.cluster().await;
    cluster.set_expiry(client, Some(now() - 23)).await.unwrap();
    assert_eq!(ann.receive_close().await, Some((4401, "token expired".into())));
    loop {
        match worker.next_report().await.call {
            Call::Expiring(at) => panic!("a notice of {at}"),
            Call::Close(reason) => break assert_eq!(reason, CloseReason::Token),
            _ => {}
        }
    }
}

async fn renewal_needs_a_valid_token_of_the_same_user(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let listener = ports::free();
    let builder = accepting(threads, &issuer);
    let suite = builder.gateway_flag("--listen", &format!("text://{listener}")).start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut ann = browser(gateway, &issuer.token_of("ann")).await;
    let client = worker.next_report().await.client;
    let cluster = suite.cluster().await;
    let renewal = async |token: &str| cluster.renew_token(client, token).await.unwrap();
    let invalid = Renewal::Refused(TokenError::Invalid);
    let other = Issuer::hs256("a", 2);
    assert_eq!(renewal("garbage").await, invalid);
    assert_eq!(renewal(&other.token_of("ann")).await, invalid);
    let expired = issuer.token(json!({ "sub": "ann", "exp": now() - 60 }));
    assert_eq!(renewal(&expired).await, Renewal::Refused(TokenError::Expired));
    for token in ["", &"x".repeat(8193)] {
        let refused = cluster.renew_token(client, token).await;
        assert!(matches!(refused, Err(Error::Token(_))), "{refused:?}");
    }
    let never = issuer.token(json!({ "sub": "ann", "gw": { "expire_at": 0 } }));
    assert_eq!(renewal(&never).await, Renewal::Renewed { expires_at: None });
    ann.exchange("echo here", "here").await;
    assert_eq!(renewal(&issuer.token_of("bob")).await, Renewal::OtherUser);
    assert_eq!(ann.receive_close().await, Some((4403, "token of another user".into())));
    assert_eq!(close_reason(&mut worker).await, CloseReason::Token);
    assert_eq!(renewal(&never).await, Renewal::NotConnected);
    // A client of a listener without handshakes has no token.
    let _text = Raw::connect(listener).await;
    let client = worker.next_report().await.client;
    let renewal = cluster.renew_token(client, issuer.token_of("ann")).await.unwrap();
    assert_eq!(renewal, Renewal::WithoutToken);
}

async fn revocation_closes_clients_and_refuses_tokens_on_every_gateway(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let suite = accepting(threads, &issuer).gateways(2).start().await;
    let gateways = [suite.gateways[0].clients, suite.gateways[1].clients];
    let mut worker = TestWorker::start(&suite, "1").await;
    let cluster = suite.cluster().await;
    let (ann, bob) = (issuer.token_of("ann"), issuer.token_of("bob"));
    let mut of_ann = Vec::new();
    let mut of_bob = Vec::new();
    for gateway in gateways {
        for _ in 0..2 {
            of_ann.push(browser(gateway, &ann).await);
        }
        of_bob.push(browser(gateway, &bob).await);
    }
    let revocation = Revocation::uids([uid("ann"), uid("eve")]);
    assert_eq!(cluster.revoke(revocation).await.unwrap(), 4);
    for client in &mut of_ann {
        assert_eq!(client.receive_close().await, Some((4403, "token revoked".into())));
        assert_eq!(close_reason(&mut worker).await, CloseReason::Token);
    }
    for (gateway, client) in gateways.into_iter().zip(&mut of_bob) {
        assert_eq!(refusal(gateway, &ann).await, "token_revoked");
        assert_eq!(refusal(gateway, &issuer.token_of("eve")).await, "token_revoked");
        client.exchange("echo here", "here").await;
    }
    // By id, and without closing clients.
    let with_id = |id: &str| issuer.token(json!({ "sub": "ida", "jti": id, "iat": now() }));
    let mut ida = browser(gateways[1], &with_id("t1")).await;
    let revocation = Revocation::ids([TokenId::new("t1").unwrap()]);
    assert_eq!(cluster.revoke(revocation.clone().keep_connected()).await.unwrap(), 0);
    ida.exchange("echo here", "here").await;
    for gateway in gateways {
        assert_eq!(refusal(gateway, &with_id("t1")).await, "token_revoked");
        assert_eq!(refusal(gateway, &with_id("t2")).await, "");
    }
    ida.send(format!("renew {}", with_id("t1"))).await;
    let revoked = Renewal::Refused(TokenError::Revoked);
    assert_eq!(ida.receive_text().await, format!("{revoked:?}"));
    assert_eq!(cluster.revoke(revocation).await.unwrap(), 1);
    assert_eq!(ida.receive_close().await, Some((4403, "token revoked".into())));
    // Everything issued before a time: tokens without a time of issue count as earlier.
    assert_eq!(cluster.revoke(Revocation::all(now() - 5)).await.unwrap(), 2);
    for client in &mut of_bob {
        assert_eq!(client.receive_close().await, Some((4403, "token revoked".into())));
    }
    assert_eq!(refusal(gateways[0], &bob).await, "token_revoked");
    assert_eq!(refusal(gateways[0], &with_id("t3")).await, "");
    let refused = cluster.revoke(Revocation::uids(vec![uid("x"); 10_001])).await;
    assert!(matches!(refused, Err(Error::TooMany { count: 10_001, .. })), "{refused:?}");
}

async fn file_of_revocations_outlives_the_gateway(threads: usize) {
    let (issuer, list) = (Issuer::hs256("a", 1), Issuer::hs256("list", 1));
    let of = |uid: &str| json!({ "uids": [uid], "until": now() + 3600 });
    list.write(&json!({ "revocations": [of("ann")] }).to_string());
    let builder = accepting(threads, &issuer).logs("info");
    let file = list.file().display().to_string();
    let mut suite = builder.gateway_flag("--jwt-revocations", &file).start().await;
    let gateway = suite.gateways[0].clients;
    let cluster = suite.cluster().await;
    let refused = async |uid: &str| refusal(gateway, &issuer.token_of(uid)).await;
    assert_eq!((refused("ann").await, refused("bob").await), ("token_revoked".into(), "".into()));
    cluster.revoke(Revocation::uids([uid("eve")])).await.unwrap();
    assert_eq!(refused("eve").await, "token_revoked");
    // SIGHUP replaces the list of the file, if it is valid, and keeps what back ends have revoked.
    list.write("{");
    suite.gateways[0].signal(Signal::Hup);
    suite.gateways[0].wait_for_log(&["ERROR", "reload failed", &file]).await;
    assert_eq!(refused("ann").await, "token_revoked");
    list.write(&json!({ "revocations": [of("bob")] }).to_string());
    suite.gateways[0].signal(Signal::Hup);
    eventually("the new list to be in use", async || {
        let refusals = (refused("ann").await, refused("bob").await);
        (refusals == (String::new(), "token_revoked".into())).then_some(())
    })
    .await;
    assert_eq!(refused("eve").await, "token_revoked");
    // A revocation by a back end alone ends with the gateway.
    suite.gateways[0].restart().await;
    assert_eq!(refused("bob").await, "token_revoked");
    assert_eq!(refused("eve").await, "");
}

async fn revocations_are_bounded_and_none_is_forgotten_for_another(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let suite = accepting(threads, &issuer).start().await;
    let gateway = suite.gateways[0].clients;
    let cluster = suite.cluster().await;
    for hundred in 0..10 {
        let ids = (0..10_000).map(|id| TokenId::new(format!("{hundred}-{id}")).unwrap());
        let revocation = Revocation::ids(ids.collect::<Vec<_>>());
        assert_eq!(cluster.revoke(revocation).await.unwrap(), 0);
    }
    let _ann = browser(gateway, &issuer.token_of("ann")).await;
    let refused = cluster.revoke(Revocation::uids([uid("ann")])).await.unwrap_err();
    assert!(matches!(refused, Error::RevocationsFull { .. }), "{refused}");
    assert!(!refused.is_retryable());
    // It is not in effect, as the error says, and the first one still is.
    assert_eq!(cluster.uid_client_count("ann").await.unwrap(), 1, "it stays connected");
    assert_eq!(refusal(gateway, &issuer.token_of("ann")).await, "");
    let first = issuer.token(json!({ "sub": "ann", "jti": "0-0" }));
    assert_eq!(refusal(gateway, &first).await, "token_revoked");
}
