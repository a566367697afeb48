//! Settings from artificial command lines, environments and files.

use std::io::Write as _;

use tempfile::NamedTempFile;

use super::*;

#[derive(Debug, Parser, Serialize)]
#[command(name = "sample", version)]
struct Args {
    /// Where to listen.
    #[arg(long, value_name = "URL", default_value = "ws://0.0.0.0:7272")]
    listen: Vec<String>,
    #[arg(long, default_value_t = 2900)]
    lan_port: u16,
    #[arg(long)]
    ping_data: Option<String>,
    #[arg(long)]
    no_web: bool,
    #[arg(long)]
    hosts: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

fn load(typed: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Result<Loaded<Args>, Refused> {
    let mut kept = None;
    let mut argv: Vec<String> = vec!["sample".to_owned()];
    if let Some(text) = file {
        let mut temp = NamedTempFile::new().unwrap();
        temp.write_all(text.as_bytes()).unwrap();
        argv.push(format!("--config={}", kept.insert(temp).path().display()));
    }
    argv.extend(typed.iter().map(|&arg| arg.to_owned()));
    load_from(argv, |name| {
        env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
    })
}

fn refusal(typed: &[&str], env: &[(&str, &str)], file: Option<&str>) -> String {
    load(typed, env, file).unwrap_err().to_string()
}

#[test]
fn settings_precedence_is_flag_then_environment_then_file_then_default() {
    let env = [("GW_LAN_PORT", "2")];
    let file = Some("lan_port = 3");
    let port =
        |typed: &[&str], env: &[(&str, &str)], file| load(typed, env, file).unwrap().args.lan_port;
    assert_eq!(port(&[], &[], None), 2900);
    assert_eq!(port(&[], &[], file), 3);
    assert_eq!(port(&[], &env, file), 2);
    assert_eq!(port(&["--lan-port=1"], &env, file), 1);
}

#[test]
fn list_in_a_layer_replaces_the_list_below_it() {
    let listen =
        |typed: &[&str], env: &[(&str, &str)], file| load(typed, env, file).unwrap().args.listen;
    let file = Some(r#"listen = ["ws://a", "text://b"]"#);
    assert_eq!(listen(&[], &[], file), ["ws://a", "text://b"]);
    assert_eq!(listen(&[], &[], Some(r#"listen = "ws://a""#)), ["ws://a"]);
    assert_eq!(listen(&[], &[("GW_LISTEN", "ws://c, tcp://d")], file), ["ws://c", "tcp://d"]);
    assert_eq!(
        listen(&["--listen", "ws://e", "--listen", "ws://f"], &[], file),
        ["ws://e", "ws://f"]
    );
}

#[test]
fn switches_are_read_from_every_layer() {
    let no_web =
        |typed: &[&str], env: &[(&str, &str)], file| load(typed, env, file).unwrap().args.no_web;
    assert!(!no_web(&[], &[], None));
    assert!(no_web(&["--no-web"], &[], Some("no_web = false")));
    assert!(no_web(&[], &[("GW_NO_WEB", "1")], None));
    assert!(no_web(&[], &[], Some("no_web = true")));
    assert!(!no_web(&[], &[("GW_NO_WEB", "off")], Some("no_web = true")));
}

#[test]
fn config_path_is_read_from_the_environment() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"grace = 4").unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(load(&[], &[("GW_CONFIG", path)], None).unwrap().args.common.grace, 4);
}

#[test]
fn empty_variable_is_unset_and_empty_key_is_empty() {
    let loaded = load(&[], &[("GW_PING_DATA", "")], Some(r#"ping_data = "x""#)).unwrap();
    assert_eq!(loaded.args.ping_data.as_deref(), Some("x"));
    let loaded = load(&[], &[], Some(r#"ping_data = """#)).unwrap();
    assert_eq!(loaded.args.ping_data.as_deref(), Some(""));
}

#[test]
fn values_that_look_like_flags_are_values() {
    let loaded = load(&[], &[("GW_PING_DATA", "--no-web")], None).unwrap();
    assert_eq!(loaded.args.ping_data.as_deref(), Some("--no-web"));
    assert!(!loaded.args.no_web);
}

#[test]
fn invalid_value_is_reported_with_its_origin() {
    let error = refusal(&["--lan-port", "x"], &[], None);
    assert!(error.contains("invalid value 'x' for '--lan-port"), "{error}");
    let error = refusal(&[], &[("GW_LAN_PORT", "70000")], None);
    assert!(error.starts_with("GW_LAN_PORT: invalid value '70000'"), "{error}");
    let error = refusal(&[], &[], Some("lan_port = \"x\""));
    assert!(error.starts_with("`lan_port` in /"), "{error}");
    assert!(error.contains("invalid value 'x'"), "{error}");
    let error = refusal(&[], &[], Some("lan_port = [1, 2]"));
    assert!(error.ends_with("takes one value, not a list"), "{error}");
    let error = refusal(&[], &[], Some("no_web = \"yes\""));
    assert!(error.ends_with("must be true or false"), "{error}");
    let error = refusal(&[], &[], Some("[listen]\na = 1"));
    assert!(error.ends_with("must be a plain value"), "{error}");
    let error = refusal(&["--grace", "100000"], &[], None);
    assert!(error.contains("--grace"), "{error}");
}

#[test]
fn unknown_key_is_rejected_by_name() {
    let error = refusal(&[], &[], Some("lan_prot = 3"));
    assert!(
        error.contains("unknown key `lan_prot`; known are listen, lan_port, ping_data"),
        "{error}"
    );
    let error = refusal(&[], &[], Some("lan-port = 3"));
    assert!(error.ends_with("unknown key `lan-port`; did you mean `lan_port`?"), "{error}");
    let error = refusal(&[], &[], Some("check = true"));
    assert!(error.contains("unknown key `check`"), "{error}");
}

#[test]
fn unreadable_or_malformed_file_is_rejected_without_showing_it() {
    let error = refusal(&["--config=/no/such/file"], &[], None);
    assert!(error.starts_with("--config /no/such/file: "), "{error}");
    let error = refusal(&[], &[], Some("grace = 1\nsecret_key = hunter2"));
    assert!(error.contains(", line 2: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn printed_settings_read_back_unchanged() {
    let typed = ["--listen=ws://a", "--listen=text://b", "--ping-data=say \"hi\"\n"];
    let env = [("GW_ADMIN_LISTEN", "127.0.0.1:9"), ("GW_NO_WEB", "true")];
    let text = load(&typed, &env, Some("grace = 4")).unwrap().sheet().to_toml(&[]);
    assert!(text.contains("listen = [\"ws://a\", \"text://b\"]  # --listen\n"), "{text}");
    assert!(text.contains("admin_listen = \"127.0.0.1:9\"  # GW_ADMIN_LISTEN\n"), "{text}");
    assert!(text.contains("grace = 4  # `grace` in /"), "{text}");
    assert!(text.contains("lan_port = 2900  # default\n"), "{text}");
    let again = load(&[], &[], Some(&text)).unwrap().args;
    assert_eq!(again.listen, ["ws://a", "text://b"]);
    assert_eq!(again.ping_data.as_deref(), Some("say \"hi\"\n"));
    assert!(again.no_web);
    assert_eq!(again.common.grace, 4);
    assert_eq!(again.common.admin().unwrap(), Some(([127, 0, 0, 1], 9).into()));
}

#[test]
fn printed_settings_hide_the_secret() {
    let loaded = load(&[], &[("GW_SECRET_KEY", "hunter2")], None).unwrap();
    assert!(loaded.args.common.secret_key.matches(b"hunter2"));
    let text = loaded.sheet().to_toml(&[]);
    assert!(text.contains("# secret_key is set, not shown  # GW_SECRET_KEY\n"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(
        load(&[], &[], None)
            .unwrap()
            .sheet()
            .to_toml(&[])
            .contains("secret_key = \"\"  # default\n")
    );
    assert!(load(&[], &[], Some(&text)).is_ok());
}

#[test]
fn help_shows_flags_without_values_of_the_environment() {
    let error = refusal(&["--help"], &[("GW_SECRET_KEY", "hunter2")], None);
    assert!(error.contains("--secret-key <SECRET>") && error.contains("GW_SOME_FLAG"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn non_loopback_address_requires_a_secret_or_allow_no_secret() {
    let local: &[SocketAddr] = &["127.0.0.1:1236".parse().unwrap(), "[::1]:1236".parse().unwrap()];
    let open: &[SocketAddr] = &["127.0.0.1:1236".parse().unwrap(), "0.0.0.0:1".parse().unwrap()];
    let common = |typed: &[&str]| load(typed, &[], None).unwrap().args.common;
    assert!(common(&[]).check_secret(local).is_ok());
    assert!(common(&["--secret-key=s"]).check_secret(open).is_ok());
    assert!(common(&["--allow-no-secret"]).check_secret(open).is_ok());
    let error = common(&[]).check_secret(open).unwrap_err().to_string();
    assert!(error.contains("--secret-key") && error.contains("0.0.0.0:1"), "{error}");
    let admin = common(&["--admin-listen=0.0.0.0:2"]).check_secret(local);
    assert!(admin.unwrap_err().to_string().contains("0.0.0.0:2"));
}

#[test]
fn derived_value_is_printed_as_a_setting() {
    let derived = [
        Derived::value("ping_data", "x", "set by the app"),
        Derived::note("lan_port", "never used"),
    ];
    let text = load(&[], &[], None).unwrap().sheet().to_toml(&derived);
    assert!(text.contains("ping_data = \"x\"  # default: set by the app\n"), "{text}");
    assert!(text.contains("lan_port = 2900  # default: never used\n"), "{text}");
    assert!(text.contains("# admin_listen is not set\n"), "{text}");
    let given = load(&["--ping-data=y"], &[], None).unwrap().sheet().to_toml(&derived);
    assert!(given.contains("ping_data = \"y\"  # --ping-data\n"), "{given}");
    assert_eq!(load(&[], &[], Some(&text)).unwrap().args.ping_data.as_deref(), Some("x"));
}

#[test]
fn value_that_differs_at_each_start_is_printed_as_a_comment() {
    let derived = [Derived::passing("ping_data", "7-8", "at random")];
    let text = load(&[], &[], None).unwrap().sheet().to_toml(&derived);
    assert!(text.contains("# ping_data = \"7-8\"  # default: at random\n"), "{text}");
    assert_eq!(load(&[], &[], Some(&text)).unwrap().args.ping_data, None);
}

#[test]
fn empty_list_does_not_become_its_default() {
    let error = refusal(&[], &[], Some("listen = []"));
    assert!(error.starts_with("`listen` in /") && error.ends_with("is an empty list"), "{error}");
    assert_eq!(refusal(&[], &[("GW_LISTEN", " , ")], None), "GW_LISTEN: is an empty list");
    // As if unset.
    assert_eq!(load(&[], &[("GW_LISTEN", "")], None).unwrap().args.listen.len(), 1);
    // Without a default, an empty list is accepted.
    assert!(load(&[], &[], Some("hosts = []")).unwrap().args.hosts.is_empty());
}
