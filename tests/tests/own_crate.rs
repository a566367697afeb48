//! Programs as their users write them: new crates outside of the workspace, which depend on nothing
//! but the published crates and what their `Cargo.toml` names.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const BACK_END: &str = r#"
[dependencies]
push-suite-cluster = { path = "../push-suite/crates/cluster" }
tokio = { version = "1", features = ["macros", "rt"] }
"#;

/// Dependencies are compiled with the settings of this workspace, so that most of them already are.
const WORKSPACE: &str = r#"
[workspace]
resolver = "3"
members = ["back-end", "lobby", "workers"]

[profile.dev]
debug = "line-tables-only"
"#;

#[test]
fn programs_of_the_documents_compile_as_crates_of_their_own() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("own-crates");
    let target = folder.ancestors().nth(2).unwrap();
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    write(&folder.join("Cargo.toml"), WORKSPACE);
    fs::copy(format!("{ROOT}/Cargo.lock"), folder.join("Cargo.lock")).unwrap();

    write(&folder.join("lobby/Cargo.toml"), &block(&readme, "```toml\n[package]"));
    write(&folder.join("lobby/src/main.rs"), &block(&readme, "```rust\nuse push_suite_worker"));
    write(&folder.join("back-end/Cargo.toml"), &manifest("back-end", BACK_END));
    copy("cluster/examples/push.rs", &folder.join("back-end/src/main.rs"));
    let own_worker = fs::read_to_string(format!("{ROOT}/docs/own-worker.md")).unwrap();
    write(&folder.join("workers/Cargo.toml"), &block(&own_worker, "```toml\n[package]"));
    for name in ["echo", "login", "presence", "rooms", "session", "settings", "timer"] {
        let to = folder.join(format!("workers/src/bin/{name}.rs"));
        copy(&format!("worker/examples/{name}.rs"), &to);
    }

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--edges=normal", "--prefix=none", "--package=back-end"]);
    let tree = cargo.current_dir(&folder).output().unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("\npush-suite-cluster ") && tree.contains("\ntokio "), "{tree}");
    for library in ["axum", "clap", "toml", "tracing-subscriber", "tikv-jemallocator"] {
        assert!(!tree.contains(&format!("\n{library} ")), "a back end compiles {library}");
    }

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--offline", "--quiet", "--workspace"]).current_dir(&folder);
    let checked = cargo.env("CARGO_TARGET_DIR", target).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

fn manifest(name: &str, dependencies: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{dependencies}")
}

/// The code block of a document that begins with `start`.
fn block(document: &str, start: &str) -> String {
    let at = document.find(start).unwrap_or_else(|| panic!("the README has no {start:?}"));
    let (_, text) = document[at..].split_once('\n').unwrap();
    text.split_once("```").unwrap().0.to_owned()
}

fn copy(from: &str, to: &Path) {
    write(to, &fs::read_to_string(format!("{ROOT}/crates/{from}")).unwrap());
}

/// Writes a file, unless it has this content already: cargo goes by the time of the change.
fn write(to: &Path, text: &str) {
    let text = text.replace("../push-suite", ROOT);
    if fs::read_to_string(to).is_ok_and(|present| present == text) {
        return;
    }
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, text).unwrap();
}
