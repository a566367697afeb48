//! Webhooks over real sockets, to receivers that follow a script.

use serde_json::{Value, json};
use test_support::receiver::{Received, Receiver, Reply};

use super::*;
use crate::{SocketId, UserId, app::tests::apps};

/// An app with a webhook for each of these, behind its URL.
fn app(receiver: &Receiver, webhooks: &[&str]) -> Arc<App> {
    let webhooks: String = webhooks
        .iter()
        .map(|more| format!("[[app.webhook]]\nurl = '{}'\n{more}\n", receiver.url("/hook")))
        .collect();
    let entry = format!(
        "id = '1'\nkey = 'new'\nsecret = 's1'\nother_keys = [{{key = 'old', secret = 's2'}}]\n\
         {webhooks}"
    );
    Arc::clone(apps(&[&entry]).unwrap().by_id("1").unwrap())
}

fn webhooks() -> Webhooks {
    Webhooks::new(Engine::new(hooks::engine::QUEUE))
}

fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

/// The events of a request, checked.
fn events(received: &Received) -> Vec<Value> {
    let key = Key::new("new", "s1");
    assert_eq!(received.method, "POST");
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.header("x-pusher-key"), "new");
    let signature = received.header("x-pusher-signature");
    assert!(key.verifies(&[&received.body], signature), "{signature}");
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    let now = clock::unix_seconds() * 1000;
    assert!(body["time_ms"].as_u64().unwrap().abs_diff(now) < 600_000, "{body}");
    body["events"].as_array().unwrap().clone()
}

/// The events of the first requests, which are all that are sent in the end.
async fn all_events(receiver: &Receiver, webhooks: &Webhooks) -> Vec<Vec<Value>> {
    webhooks.close(Duration::from_secs(60)).await;
    receiver.received().iter().map(events).collect()
}

#[tokio::test]
async fn event_is_one_signed_request_in_the_order_of_its_channel() {
    let receiver = Receiver::start(|_| Reply::status(200)).await;
    let (app, webhooks) = (app(&receiver, &[""]), webhooks());
    for number in 0..20 {
        webhooks.send(&app, &WebhookEvent::subscription_count(&channel("a"), number));
    }
    let expected: Vec<Vec<Value>> = (0..20)
        .map(|number| {
            vec![json!({"name": "subscription_count", "channel": "a",
                "subscription_count": number})]
        })
        .collect();
    assert_eq!(all_events(&receiver, &webhooks).await, expected);
}

#[tokio::test]
async fn refused_event_is_sent_again_before_later_ones_of_its_channel() {
    let receiver = Receiver::start(|request| match request.number {
        0 => Reply::status(500),
        1 => Reply::status(404),
        2 => Reply::Answer(302, "location: http://127.0.0.1:1/\r\n".to_owned(), Vec::new()),
        _ => Reply::status(200),
    })
    .await;
    let (app, webhooks) = (app(&receiver, &[""]), webhooks());
    webhooks.send(&app, &WebhookEvent::occupancy(&channel("a"), true));
    webhooks.send(&app, &WebhookEvent::occupancy(&channel("a"), false));
    let sent = all_events(&receiver, &webhooks).await;
    let names: Vec<&str> = sent.iter().map(|events| events[0]["name"].as_str().unwrap()).collect();
    let occupied = "channel_occupied";
    assert_eq!(names, [occupied, occupied, occupied, occupied, "channel_vacated"]);
}

#[tokio::test]
async fn batched_events_are_sent_together_with_each_webhook_its_own() {
    let receiver = Receiver::start(|_| Reply::status(200)).await;
    let batched = "batch = true\nevents = ['channel_occupied', 'channel_vacated']";
    let only_b = "batch = true\nchannel_prefix = 'b'\nheaders = {X-Token = 'abc'}";
    let (app, webhooks) = (app(&receiver, &[batched, only_b]), webhooks());
    for number in 0..250 {
        webhooks.send(&app, &WebhookEvent::occupancy(&channel("a"), number % 2 == 0));
    }
    webhooks.send(&app, &WebhookEvent::subscription_count(&channel("b"), 7));
    let sent = all_events(&receiver, &webhooks).await;
    let (of_b, of_a): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|events| events[0]["channel"] == "b");
    assert_eq!(of_a.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    let names: Vec<&Value> = of_a.iter().flatten().map(|event| &event["name"]).collect();
    assert!(names.chunks(2).all(|pair| pair == ["channel_occupied", "channel_vacated"]));
    assert_eq!(
        of_b,
        [[json!({"name": "subscription_count", "channel": "b",
        "subscription_count": 7})]]
    );
    let tokens = receiver.received();
    let with_token = tokens.iter().filter(|request| request.header("x-token") == "abc");
    assert_eq!(with_token.count(), 1);
}

#[tokio::test]
async fn batch_is_sent_by_itself_after_a_second() {
    let receiver = Receiver::start(|_| Reply::status(200)).await;
    let (app, webhooks) = (app(&receiver, &["batch = true"]), webhooks());
    webhooks.send(&app, &WebhookEvent::occupancy(&channel("a"), true));
    webhooks.send(&app, &WebhookEvent::occupancy(&channel("a"), false));
    assert_eq!(events(&receiver.wait_for(1).await[0]).len(), 2);
}

#[tokio::test]
async fn client_event_has_its_data_as_text_and_a_cache_miss_is_sent_once() {
    let receiver = Receiver::start(|_| Reply::status(200)).await;
    let (app, webhooks) = (app(&receiver, &["batch = true"]), webhooks());
    let (private, presence) = (channel("private-a"), channel("private-a"));
    let (socket_id, user) = ("1.2".parse::<SocketId>().unwrap(), UserId::parse("7").unwrap());
    for (channel, data, user) in
        [(&private, r#"{ "x": 1.0 }"#, None), (&presence, r#""a\"b""#, Some(&user))]
    {
        webhooks.client_event(SentClientEvent {
            app: &app,
            channel,
            name: "client-e",
            data,
            socket_id: &socket_id,
            user,
        });
    }
    let user_channel = channel("#server-to-user-7");
    Observer::channel_changed(&webhooks, &app, &user_channel, ChannelChange::Occupied);
    for _ in 0..3 {
        Observer::cache_miss(&webhooks, &app, &channel("cache-a"));
    }
    let mut sent: Vec<Value> =
        all_events(&receiver, &webhooks).await.into_iter().flatten().collect();
    sent.sort_by_key(|event| event["channel"] == "cache-a");
    let of_client = |data: &str| {
        json!({"name": "client_event", "channel": "private-a", "event": "client-e",
            "data": data, "socket_id": "1.2"})
    };
    let mut of_member = of_client("a\"b");
    of_member["user_id"] = json!("7");
    let miss = json!({"name": "cache_miss", "channel": "cache-a"});
    assert_eq!(sent, [of_client(r#"{ "x": 1.0 }"#), of_member, miss]);
}

#[tokio::test]
async fn each_change_of_a_channel_is_an_event() {
    let receiver = Receiver::start(|_| Reply::status(200)).await;
    let (app, webhooks) = (app(&receiver, &[""]), webhooks());
    let channel = channel("presence-a");
    for change in [
        ChannelChange::Occupied,
        ChannelChange::MemberAdded("7"),
        ChannelChange::MemberRemoved("7"),
        ChannelChange::SubscriptionCount(2),
        ChannelChange::Vacated,
    ] {
        webhooks.channel_changed(&app, &channel, change);
    }
    let sent = all_events(&receiver, &webhooks).await;
    let names: Vec<&str> = sent.iter().map(|events| events[0]["name"].as_str().unwrap()).collect();
    let expected = [
        "channel_occupied",
        "member_added",
        "member_removed",
        "subscription_count",
        "channel_vacated",
    ];
    assert_eq!(names, expected);
    assert_eq!(sent[1][0]["user_id"], "7");
}

#[tokio::test]
async fn receiver_that_hangs_delays_no_other() {
    let hangs = Receiver::start(|_| Reply::Hang).await;
    let answers = Receiver::start(|_| Reply::status(204)).await;
    let webhooks = webhooks();
    for number in 0..100 {
        let event = WebhookEvent::occupancy(&channel(&format!("c{number}")), true);
        webhooks.send(&app(&hangs, &[""]), &event);
        webhooks.send(&app(&answers, &[""]), &event);
    }
    let received = answers.wait_for(100).await;
    received.iter().for_each(|request| assert_eq!(events(request).len(), 1));
    assert_eq!(hangs.received().len(), 16, "max_in_flight");
    webhooks.close(Duration::ZERO).await;
}
