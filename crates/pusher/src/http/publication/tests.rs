//! Bodies at and beyond each limit.

use serde_json::{Value, json};

use super::*;

const LIMIT: usize = 10_240;

fn read(body: &Value) -> Result<Publication, String> {
    event(body.to_string().as_bytes(), LIMIT).map_err(|error| error.to_string())
}

fn refused(body: &Value) -> String {
    read(body).unwrap_err()
}

fn names(publication: &Publication) -> Vec<&str> {
    publication.channels.iter().map(Channel::name).collect()
}

#[test]
fn event_has_its_data_unchanged_and_each_channel_once() {
    let body = br#"{"name":"e","data":"{\"a\": 1}","channels":["b","a","b"],"tags":{},
        "socket_id":"1.2","info":"user_count,subscription_count"}"#;
    let event = event(body, LIMIT).unwrap();
    assert_eq!((&event.name[..], &event.data[..]), ("e", r#"{"a": 1}"#));
    assert_eq!(names(&event), ["b", "a"]);
    assert_eq!(event.exclude.unwrap().as_str(), "1.2");
    assert_eq!(event.info, Attributes::parse("subscription_count,user_count").unwrap());
    let single = read(&json!({"name": "e", "data": "", "channel": "a"})).unwrap();
    assert_eq!((names(&single), &single.data[..], &single.exclude), (vec!["a"], "", &None));
}

#[test]
fn data_that_is_no_string_is_encoded_as_it_was_sent() {
    for (sent, data) in [
        (r#"{"b": 1.0, "a":[] }"#, r#"{"b": 1.0, "a":[] }"#),
        ("12", "12"),
        ("[1, 2]", "[1, 2]"),
        ("true", "true"),
    ] {
        let body = format!(r#"{{"name":"e","channel":"a","data":{sent}}}"#);
        assert_eq!(event(body.as_bytes(), LIMIT).unwrap().data, data);
    }
}

#[test]
fn limits_count_bytes_of_data_and_characters_of_names() {
    let with_data = |data: String| read(&json!({"name": "e", "data": data, "channel": "a"}));
    assert!(with_data("x".repeat(LIMIT)).is_ok());
    assert!(with_data("é".repeat(LIMIT / 2)).is_ok());
    let expected = "The data content of this event exceeds the allowed maximum (10240 bytes, \
                    max_event_size of the app): it has 10241";
    assert_eq!(with_data("x".repeat(LIMIT + 1)).unwrap_err(), expected);
    assert_eq!(with_data("é".repeat(LIMIT / 2) + "x").unwrap_err(), expected);
    let named = |name: String| read(&json!({"name": name, "data": "", "channel": "a"}));
    assert!(named("é".repeat(200)).is_ok());
    assert!(named("x".repeat(201)).unwrap_err().contains("200 characters"));
    let to = |count: usize| {
        let channels: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
        read(&json!({"name": "e", "data": "", "channels": channels}))
    };
    assert_eq!(to(100).unwrap().channels.len(), 100);
    for count in [0, 101] {
        assert!(to(count).unwrap_err().contains("between 1 and 100"));
    }
}

#[test]
fn batch_has_at_most_ten_events_and_names_the_faulty_one() {
    let of = |events: Vec<Value>| batch(json!({"batch": events}).to_string().as_bytes(), LIMIT);
    let good = json!({"name": "e", "data": "d", "channel": "a"});
    assert_eq!(of(vec![good.clone(); 10]).unwrap().len(), 10);
    assert!(of(Vec::new()).unwrap().is_empty());
    let error = of(vec![good.clone(); 11]).unwrap_err();
    assert!(error.to_string().starts_with("Batch too large"), "{error}");
    let error = of(vec![
        good.clone(),
        json!({"name": "e", "data": "x".repeat(LIMIT + 1),
        "channel": "a"}),
    ]);
    let error = error.unwrap_err();
    assert!(error.to_string().starts_with("Event 1 of the batch: The data content of this event"));
    assert!(error.is_too_large());
    let error = of(vec![good.clone(), json!({"name": "e", "data": "d"})]).unwrap_err();
    assert!(!error.is_too_large(), "{error}");
    let several = json!({"name": "e", "data": "d", "channels": ["a"]});
    let error = of(vec![good, several]).unwrap_err().to_string();
    assert_eq!(error, "Event 1 of the batch: An event of a batch has one channel, not channels");
}

#[test]
fn faulty_event_is_refused_with_its_fault() {
    let event = |change: &str, value: Value| {
        let mut body = json!({"name": "e", "data": "d", "channels": ["a"]});
        body[change] = value;
        refused(&body)
    };
    assert!(event("name", Value::Null).contains("Missing required parameter: name"));
    assert!(event("name", json!("")).contains("event name is empty"));
    assert!(event("name", json!("pusher:error")).contains("reserved"));
    assert!(event("name", json!("pusher_internal:member_added")).contains("reserved"));
    assert!(event("name", json!(1)).contains("not the expected JSON"));
    assert!(event("channels", json!("a")).contains("not the expected JSON"));
    assert!(event("channel", json!("a")).contains("not both"));
    assert!(event("socket_id", json!("1.2.3")).contains("Invalid socket_id"));
    assert!(event("info", json!("user_count,members")).contains("members"));
    for channel in ["", "a b", "#x", "é", "a\u{0}b", "a\nb", &"x".repeat(165)] {
        let error = event("channels", json!(["ok", channel]));
        assert!(error.starts_with("Invalid channel"), "{error}");
        assert!(!error.contains(['\n', '\u{0}']) && error.len() < 250, "{error}");
    }
    let error = event("channels", json!(["private-encrypted-a", "b"]));
    assert!(error.contains("encrypted"));
    assert!(refused(&json!({"name": "e", "channel": "a"})).contains("parameter: data"));
    assert!(refused(&json!({"name": "e", "data": "d"})).contains("parameter: channels"));
}

#[test]
fn malformed_json_is_refused_on_one_line() {
    let deep = "[".repeat(100_000);
    for body in ["", "{", "null", "[]", "\"\"", "{\"name\":\"\\ud800\"}", "\u{0}", &deep] {
        let error = event(body.as_bytes(), LIMIT).unwrap_err().to_string();
        assert!(error.starts_with("The body is not the expected JSON") && !error.contains('\n'));
        assert!(batch(body.as_bytes(), LIMIT).is_err());
    }
    assert!(event(b"\xff\xfe", LIMIT).is_err());
    let nested = format!(r#"{{"name":"e","channel":"a","data":{deep}}}"#);
    assert!(event(nested.as_bytes(), LIMIT).is_err());
}
