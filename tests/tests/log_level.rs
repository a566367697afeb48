//! The log level is changed by SIGHUP, in every process, while clients stay connected.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path};

use suite_tests::{
    Conditions, Raw, eventually, ports,
    process::{Process, Signal},
};

/// A process with a settings file with this level, and without `RUST_LOG`.
fn start(binary: &'static str, folder: &Path, level: &str, args: &[String]) -> Process {
    fs::write(folder.join("settings.toml"), format!("log_level = \"{level}\"")).unwrap();
    let file = folder.join("settings.toml").display().to_string();
    let args = args.iter().cloned().chain(["--config".to_owned(), file]).collect();
    let env = vec![("RUST_LOG".to_owned(), String::new())];
    Process::start(binary, binary, args, env, folder, Conditions::default())
}

async fn change(process: &mut Process, folder: &Path, from: &str, to: &str) {
    fs::write(folder.join("settings.toml"), format!("log_level = \"{to}\"")).unwrap();
    process.signal(Signal::Hup);
    let (from, to) = (format!("from=\"{from}\""), format!("to=\"{to}\""));
    process.wait_for_log(&["INFO", "log level changed", &from, &to]).await;
    process.wait_for_log(&["what=\"log level\"", "reloaded; applies at once"]).await;
}

fn debug_lines(process: &Process) -> usize {
    process.log_lines(" DEBUG ").len()
}

fn flags(flags: &[(&str, &str)]) -> Vec<String> {
    flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
}

#[tokio::test]
async fn level_of_the_settings_file_is_changed_by_sighup_in_every_process() {
    let nowhere = ports::free().to_string();
    let (register, inner, client) = (ports::free(), ports::free(), ports::free());
    let listen = register.to_string();
    let (lan_port, ws) = (inner.port().to_string(), format!("ws://{client}"));
    for (binary, flags) in [
        ("register", flags(&[("--listen", &listen)])),
        (
            "gateway",
            flags(&[
                ("--register-address", &nowhere),
                ("--lan-ip", "127.0.0.1"),
                ("--lan-port", &lan_port),
                ("--listen", &ws),
            ]),
        ),
        ("business-worker", flags(&[("--register-address", &nowhere)])),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(binary, folder.path(), "info", &flags);
        process.wait_for_log(&["admin pages"]).await;
        assert_eq!(debug_lines(&process), 0, "{}", process.log());
        change(&mut process, folder.path(), "info", "debug").await;
        eventually(format!("{binary} to log at debug"), async || {
            // Processes without a register try again and again; the register refuses this.
            if binary == "register" {
                for _ in 0..3 {
                    let mut raw = Raw::plain(register).await;
                    raw.send(b"no JSON\n").await;
                }
            }
            (0 < debug_lines(&process)).then_some(())
        })
        .await;
        change(&mut process, folder.path(), "debug", "warn,push_suite_service=info").await;
        // An invalid level changes nothing.
        fs::write(folder.path().join("settings.toml"), "log_level = \"loud\"").unwrap();
        process.signal(Signal::Hup);
        process.wait_for_log(&["ERROR", "reload failed", "`log_level` in /", "loud"]).await;
        assert_eq!(process.stop().await.code(), Some(0), "{}", process.log());
    }
}

#[tokio::test]
async fn level_of_a_flag_takes_precedence_over_the_file_at_sighup_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let listen = ports::free().to_string();
    let flags = flags(&[("--listen", &listen), ("--log-level", "info,gateway=warn")]);
    let mut register = start("register", folder.path(), "debug", &flags);
    register.wait_for_log(&["admin pages"]).await;
    register.signal(Signal::Hup);
    register.wait_for_log(&["what=\"log level\"", "reloaded; applies at once"]).await;
    assert!(register.log_lines("log level changed").is_empty(), "{}", register.log());
    assert_eq!(debug_lines(&register), 0, "{}", register.log());
}
