//! Tests of apps, from the text of their entries.

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
struct File {
    app: Vec<AppEntry>,
}

/// The apps of a file with these entries, each without its heading.
pub(crate) fn apps(entries: &[&str]) -> Result<Apps, String> {
    let text: String = entries.iter().map(|entry| format!("[[app]]\n{entry}\n")).collect();
    let file: File = toml::from_str(&text).map_err(|error| error.to_string())?;
    Apps::new(file.app).map_err(|error| format!("{} {error}", error.index))
}

/// The app of an entry.
pub(crate) fn app(entry: &str) -> Arc<App> {
    let apps = apps(&[entry]).unwrap();
    let app = apps.iter().next().unwrap();
    Arc::clone(app)
}

const LEAST: &str = "id = '1'\nkey = 'k'\nsecret = 's'\n";

fn with(more: &str) -> Result<Apps, String> {
    apps(&[&format!("{LEAST}{more}")])
}

#[test]
fn least_entry_has_the_defaults() {
    let app = app(LEAST);
    assert_eq!((app.id(), app.keys()), ("1", &[Key::new("k", "s")][..]));
    assert!(app.is_enabled() && !app.takes_client_events() && !app.shares_uids());
    assert_eq!((app.client_events_per_second(), app.max_event_size()), (10, 10_240));
    assert_eq!((app.max_user_info_size(), app.max_channels()), (1024, 100));
    assert_eq!((app.max_connections(), app.authorization_timeout()), (None, None));
    assert_eq!((app.activity_timeout(), app.allows_origin(Some("http://a"))), (120, true));
}

#[test]
fn app_is_found_by_its_id_and_by_each_key() {
    let two = "id = '2'\nkey = 'new'\nsecret = 's'\nother_keys = [{key = 'old', secret = 't'}]";
    let apps = apps(&[LEAST, two]).unwrap();
    assert_eq!(apps.by_id("2").unwrap().keys().len(), 2);
    for key in ["new", "old"] {
        assert_eq!(apps.by_key(key).unwrap().id(), "2");
    }
    assert!(apps.by_key("2").is_none() && apps.by_id("old").is_none());
    assert_eq!(apps.iter().count(), 2);
}

#[test]
fn invalid_entry_is_named_by_position_and_field() {
    for (more, fault) in [
        ("activity_timeout = 9", "0 activity_timeout: is not one of 10 to 300 seconds"),
        ("activity_timeout = 301", "0 activity_timeout"),
        ("max_event_size = 0", "0 max_event_size: 0 is not one of 1 to 1048576"),
        ("max_channels = 1001", "0 max_channels"),
        ("max_user_info_size = 9000", "0 max_user_info_size"),
        ("client_messages_per_second = 0", "0 client_messages_per_second"),
        ("authorization_timeout = 3601", "0 authorization_timeout"),
        ("allowed_origins = ['']", "0 allowed_origins"),
        ("other_keys = [{key = 'k', secret = 't'}]", "0 key: \"k\" is given twice"),
        ("other_keys = [{key = 'l', secret = ''}]", "0 secret: that of key \"l\" is empty"),
        ("unknown = 1", "unknown field `unknown`"),
        ("other_keys = [{key = 'l', secret = '', more = 1}]", "unknown field `more`"),
        ("max_connections = -1", "invalid value"),
    ] {
        let error = with(more).unwrap_err();
        assert!(error.contains(fault), "{more}: {error}");
    }
    for id in ["", "a b", "a:b", "é", &"x".repeat(65)] {
        let entry = format!("id = '{id}'\nkey = 'k'\nsecret = 's'");
        assert!(apps(&[&entry]).unwrap_err().starts_with("0 id: "), "{id}");
        let entry = format!("id = '1'\nkey = '{id}'\nsecret = 's'");
        assert!(apps(&[&entry]).unwrap_err().starts_with("0 key: "), "{id}");
    }
}

#[test]
fn second_app_with_an_id_or_key_of_the_first_is_refused() {
    let same_id = apps(&[LEAST, "id = '1'\nkey = 'l'\nsecret = 's'"]).unwrap_err();
    assert_eq!(same_id, "1 id: \"1\" is given twice");
    let same_key = apps(&[LEAST, "id = '2'\nkey = 'k'\nsecret = 's'"]).unwrap_err();
    assert_eq!(same_key, "1 key: \"k\" is given twice");
}

#[test]
fn secrets_are_shown_nowhere() {
    let entry = "id = '1'\nkey = 'k'\nsecret = 'sesame'\n\
                 other_keys = [{key = 'l', secret = 'sesame2'}]";
    let file: File = toml::from_str(&format!("[[app]]\n{entry}")).unwrap();
    let shown = serde_json::to_string(&file.app[0]).unwrap();
    assert!(shown.contains(r#""key":"l","secret":"#), "{shown}");
    let app = app(entry);
    for shown in [shown, format!("{file:?}"), format!("{app:?}")] {
        assert!(!shown.contains("sesame"), "{shown}");
    }
}

#[test]
fn origin_is_allowed_as_a_whole_by_host_or_by_parent_domain() {
    let app = with("allowed_origins = ['https://a.com', 'b.com', '*.c.com', 'd.com:8080']");
    let app = Arc::clone(app.unwrap().by_id("1").unwrap());
    for origin in [
        "https://a.com",
        "HTTPS://A.com",
        "http://b.com",
        "https://b.com:8443",
        "https://www.c.com",
        "https://x.y.c.com:1",
        "http://d.com:8080",
    ] {
        assert!(app.allows_origin(Some(origin)), "{origin}");
    }
    for origin in [
        "http://a.com",
        "https://a.com:8443",
        "https://a.com.evil.com",
        "https://evilb.com",
        "https://b.com.evil.com",
        "https://c.com",
        "https://.c.com",
        "https://evilc.com",
        "http://d.com",
        "null",
        "",
        "é",
    ] {
        assert!(!app.allows_origin(Some(origin)), "{origin}");
    }
    assert!(app.allows_origin(None), "no browser");
    assert!(with("allowed_origins = ['*']").unwrap().by_id("1").unwrap().allows_origin(Some("x")));
}
