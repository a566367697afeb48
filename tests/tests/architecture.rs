//! Checks the rules of ARCHITECTURE.md: dependencies, ownership of libraries, pure files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use suite_tests::imports::{has_word, paths};
use suite_tests::pure_files::PURE;

/// Our packages have this prefix, which is left out below.
const PREFIX: &str = "push-suite-";

/// Each crate with its allowed dependencies in this workspace. Test crates may use everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("inbox", &[]),
    ("protocol", &[]),
    ("runtime", &[]),
    ("auth", &["protocol"]),
    ("framing", &["protocol"]),
    ("service", &["protocol", "runtime"]),
    ("store", &["protocol", "runtime"]),
    ("cluster", &["protocol", "runtime", "store"]),
    ("worker", &["cluster", "protocol", "runtime", "service"]),
    ("register", &["protocol", "runtime", "service"]),
    ("gateway", &["auth", "framing", "inbox", "protocol", "runtime", "service"]),
    ("http-api", &["cluster", "protocol", "runtime", "service"]),
    ("hooks", &["cluster", "http-api", "protocol", "runtime", "service", "worker"]),
    ("pusher", &["cluster", "hooks", "http-api", "protocol", "runtime", "service", "worker"]),
    (
        "business-worker",
        &["cluster", "hooks", "http-api", "pusher", "runtime", "service", "worker"],
    ),
    ("gwctl", &["auth", "cluster", "protocol", "runtime", "service"]),
    ("loadgen", &[]),
];

/// May use every crate; only [`RUNS`] may use it.
const HARNESS: &str = "suite-tests";

const CHAOS: &str = "chaos";

/// May use every crate; no crate may use them.
const RUNS: [&str; 2] = [CHAOS, "attacks"];

/// May use the crates of the suite; only [`RUNS`] and tests may use it.
const SUPPORT: &str = "test-support";

/// Libraries that only their owners may use, so that replacing one changes few crates.
const OWNED: &[(&str, &[&str])] = &[
    ("bincode", &["protocol"]),
    ("tokio-tungstenite", &["framing", "loadgen", HARNESS, CHAOS]),
    ("flate2", &["framing", "loadgen", HARNESS]),
    ("tungstenite", &[HARNESS]),
    ("rustls", &["runtime"]),
    ("tokio-rustls", &[]),
    ("jsonwebtoken", &["auth", HARNESS]),
    ("rusqlite", &["store"]),
    ("rcgen", &["auth", "runtime", HARNESS]),
    ("tikv-jemallocator", &["business-worker", "gateway", "register"]),
];

/// Names and paths that must not occur in a pure file, except in its tests.
const IMPURE: &[&str] = &[
    "async",
    "await",
    "tokio",
    "tracing",
    "Mutex",
    "RwLock",
    "Instant::now",
    "SystemTime::now",
    "std::env",
];

/// Files whose functions run to completion on the shard's thread. They may log.
const NEVER_WAIT: &[&str] = &[
    "crates/gateway/src/shard/clients/admission.rs",
    "crates/gateway/src/shard/clients/closing.rs",
    "crates/gateway/src/shard/clients/heartbeat_sweep.rs",
    "crates/gateway/src/shard/clients/limits.rs",
    "crates/gateway/src/shard/clients/output.rs",
    "crates/gateway/src/shard/clients/proxy_header.rs",
    "crates/gateway/src/shard/clients/tick.rs",
    "crates/gateway/src/shard/clients/tokens.rs",
    "crates/gateway/src/shard/commands/apply.rs",
    "crates/gateway/src/shard/commands/presence.rs",
    "crates/gateway/src/shard/connections/mod.rs",
    "crates/gateway/src/shard/delivery",
    "crates/gateway/src/shard/events",
    "crates/gateway/src/shard/pressure",
    "crates/gateway/src/shard/standby",
];

/// Names that must not occur in a file of [`NEVER_WAIT`].
const WAITING: &[&str] = &["async", "await", "tokio", "Mutex", "RwLock"];

/// Crates that must use `runtime` for everything that a simulation replaces.
const CONTROLLED: &[&str] = &["cluster", "gateway", "register", "worker"];

/// Names and paths that must not occur in them, except in tests.
const UNCONTROLLED: &[&str] = &[
    "tokio::net",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "socket2",
    "rand::random",
    "rand::random_range",
    "rand::rng",
    "SystemTime",
    "std::thread::spawn",
    "thread::Builder",
    "RandomState",
];

/// Crates that run in the processes of the suite.
const PROCESSES: &[&str] = &[
    "business-worker",
    "cluster",
    "gateway",
    "hooks",
    "register",
    "runtime",
    "service",
    "store",
    "worker",
];

/// Calls that spawn a task or thread whose panic would go unnoticed; forbidden except in tests.
const UNSUPERVISED: &[&str] =
    &[".spawn(", ".spawn_local(", ".spawn_blocking(", ".spawn_on(", ".spawn_scoped("];

/// Modules whose functions named `spawn…` do the same.
const SPAWNING: &[&str] = &["std::thread", "tokio"];

/// Files that spawn supervised tasks and threads, through `runtime::supervise`.
const SUPERVISORS: &[&str] = &[
    "crates/gateway/src/lib.rs",
    "crates/service/src/logging/writer.rs",
    "crates/service/src/shutdown.rs",
    "crates/runtime/src/supervise.rs",
    "crates/runtime/src/thread.rs",
];

/// Files that write to standard output or error: before the process serves, or in the log writer
/// thread. Anywhere else, a stalled reader would block the process.
const PRINTERS: &[&str] = &[
    "crates/service/src/logging/mod.rs",
    "crates/service/src/manual.rs",
    "crates/service/src/process.rs",
    "crates/service/src/settings/refused.rs",
];

const PRINTING: &[&str] = &["stdout", "stderr", "print", "println", "eprint", "eprintln"];

const LONGEST_FILE: usize = 500;

#[test]
fn crates_depend_only_on_allowed_crates() {
    let crates = workspace();
    let listed: Vec<&str> =
        ARROWS.iter().map(|(name, _)| *name).chain([HARNESS, SUPPORT]).chain(RUNS).collect();
    for name in crates.keys() {
        assert!(
            listed.contains(&name.as_str()),
            "{name} is not in ARROWS: add its allowed dependencies"
        );
    }
    for (name, allowed) in ARROWS {
        let used =
            crates.get(*name).unwrap_or_else(|| panic!("{name} is in ARROWS but does not exist"));
        for Dependency { name: other, in_tests } in used {
            let is_allowed = allowed.contains(&other.as_str()) || *in_tests && other == SUPPORT;
            assert!(is_allowed || !crates.contains_key(other), "{name} must not depend on {other}");
        }
    }
}

#[test]
fn owned_libraries_are_used_by_their_owners_only() {
    for (name, used) in workspace() {
        for (library, owners) in OWNED {
            let owner = owners.contains(&name.as_str());
            let uses = used.iter().any(|other| other.name == *library);
            assert!(
                owner || !uses,
                "only {} may depend on {library}, not {name}",
                owners.join(", ")
            );
        }
    }
}

#[test]
fn pure_files_use_no_runtime_lock_log_or_clock() {
    for entry in PURE {
        avoid(entry, IMPURE);
    }
}

#[test]
fn shard_code_never_awaits_or_locks() {
    for entry in NEVER_WAIT {
        avoid(entry, WAITING);
    }
}

#[test]
fn simulated_resources_are_used_through_runtime_only() {
    for name in CONTROLLED {
        for file in production_files(&root().join("crates").join(name).join("src")) {
            avoid(&shown(&file), UNCONTROLLED);
        }
    }
}

#[test]
fn tasks_and_threads_are_spawned_by_supervisors_only() {
    for file in code_of_processes() {
        let code = code(&read(&file));
        let method = UNSUPERVISED.iter().find(|call| code.contains(**call));
        let function = paths(&code).into_iter().find(|named| {
            let (module, function) = named.path.rsplit_once("::").unwrap_or_default();
            let spawns =
                |parent: &&str| module == *parent || module.starts_with(&format!("{parent}::"));
            function.starts_with("spawn") && SPAWNING.iter().any(spawns)
        });
        let shown = shown(&file);
        if SUPERVISORS.contains(&shown.as_str()) {
            assert!(code.contains("supervise") || code.contains("supervised"), "{shown}");
            continue;
        }
        assert_eq!((method, function), (None, None), "{shown}: spawn it with `runtime::supervise`");
    }
}

#[test]
fn serving_code_does_not_print() {
    for file in code_of_processes() {
        if !PRINTERS.contains(&shown(&file).as_str()) {
            let code = code(&read(&file));
            let prints = PRINTING.iter().find(|word| has_word(&code, word));
            assert_eq!(prints, None, "{}: log it", shown(&file));
        }
    }
}

/// Source files of [`PROCESSES`], without tests.
fn code_of_processes() -> impl Iterator<Item = PathBuf> {
    let folders = PROCESSES.iter().map(|name| root().join("crates").join(name).join("src"));
    folders.flat_map(|folder| production_files(&folder))
}

/// The `.rs` files below `folder`, without modules that are compiled for tests only.
fn production_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = rust_files(folder);
    let modules: Vec<PathBuf> = files.iter().flat_map(|file| test_modules(file)).collect();
    files.retain(|file| !modules.iter().any(|module| file.with_extension("").starts_with(module)));
    files
}

/// The modules that a file declares for tests only, each as the path of its file without `.rs`.
fn test_modules(file: &Path) -> Vec<PathBuf> {
    let text = read(file);
    let mut lines = text.lines();
    let mut modules = Vec::new();
    while lines.any(|line| line == "#[cfg(test)]") {
        let declaration = lines.by_ref().find(|line| !line.starts_with('#'));
        let name = declaration.and_then(|line| line.rsplit_once("mod ")?.1.strip_suffix(';'));
        let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some("lib" | "main" | "mod") | None => file.with_file_name(""),
            Some(_) => file.with_extension(""),
        };
        modules.extend(name.map(|name| folder.join(name)));
    }
    modules
}

/// Code of a file, with its tests and comments left blank.
fn code(text: &str) -> String {
    let (mut code, mut lines) = (Vec::new(), text.lines());
    while let Some(line) = lines.next() {
        // A comment; `://` is in a string.
        let comment = line.find("//").filter(|at| !line[..*at].ends_with(':'));
        code.push(comment.map_or(line, |at| &line[..at]));
        if line == "#[cfg(test)]" {
            // The item ends with the first line that is not indented and closes it.
            let closes = |line: &&str| !line.starts_with(' ') && line.ends_with(['}', ';']);
            let length =
                lines.clone().position(|line| closes(&line)).map_or(usize::MAX, |at| at + 1);
            code.extend(lines.by_ref().take(length).map(|_| ""));
        }
    }
    code.join("\n")
}

/// Fails if code at or below `entry` contains one of `words`.
fn avoid(entry: &str, words: &[&str]) {
    let path = root().join(entry);
    assert!(path.exists(), "{entry} is listed but does not exist");
    for file in rust_files(&path) {
        if let Some((line, word)) = first_of(&read(&file), words) {
            panic!("{}:{line}: contains `{word}`", shown(&file));
        }
    }
}

/// The first line, counted from 1, on which the code of a file contains one of `words`: in its
/// text, or in a path with nested imports flattened and imported names resolved.
fn first_of<'a>(text: &str, words: &[&'a str]) -> Option<(usize, &'a str)> {
    let code = code(text);
    let in_text = code.lines().zip(1..).find_map(|(line, number)| {
        words.iter().find(|word| has_word(line, word)).map(|word| (number, *word))
    });
    let in_paths = paths(&code).into_iter().find_map(|named| {
        words.iter().find(|word| named.names(word)).map(|word| (named.line, *word))
    });
    in_text.into_iter().chain(in_paths).min()
}

#[test]
fn every_file_starts_with_a_module_comment() {
    for file in sources() {
        let text = read(&file);
        assert!(text.starts_with("//! "), "{} does not start with a `//!` line", shown(&file));
    }
}

#[test]
fn modules_are_where_their_names_say() {
    for file in sources() {
        let text = read(&file);
        let attribute = text.lines().find(|line| line.trim_start().starts_with("#[path"));
        assert_eq!(attribute, None, "{}: name the file after the module", shown(&file));
    }
}

#[test]
fn files_stay_below_the_line_limit() {
    for file in sources() {
        let lines = read(&file).lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines: split it", shown(&file));
    }
}

/// A dependency in a manifest.
struct Dependency {
    name: String,
    in_tests: bool,
}

/// The crates of the workspace, each with the dependencies of its manifest.
fn workspace() -> BTreeMap<String, Vec<Dependency>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .expect("cargo is available, since it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| {
        let name = value["name"].as_str().expect("names are strings");
        name.strip_prefix(PREFIX).unwrap_or(name).to_owned()
    };
    let list = |value: &Value| value.as_array().expect("a list").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let dependency = |value: &Value| Dependency {
                name: text(value),
                in_tests: value["kind"].as_str() == Some("dev"),
            };
            (text(package), list(&package["dependencies"]).iter().map(dependency).collect())
        })
        .collect()
}

fn sources() -> Vec<PathBuf> {
    let files: Vec<PathBuf> = ["crates", "fuzz", "loom", "simulation", "tests"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .collect();
    assert!(!files.is_empty(), "no source files found");
    files
}

/// The `.rs` files at or below `path`, without generated folders.
fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return Vec::from([path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", shown(path))) {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "node_modules" && name != "target" {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", shown(file)))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

#[test]
fn forbidden_path_in_a_nested_import_is_found() {
    let nested = "//! A file.\n\nuse std::{\n    io,\n    net::{SocketAddr, TcpStream},\n};\n";
    assert_eq!(first_of(nested, UNCONTROLLED), Some((5, "std::net::TcpStream")));
    let by_module = "use std::{io, net};\n\nfn open() {\n    net::TcpStream::connect(HERE);\n}\n";
    assert_eq!(first_of(by_module, UNCONTROLLED), Some((4, "std::net::TcpStream")));
    let by_glob = "use std::{io, net::*};\n";
    assert_eq!(first_of(by_glob, UNCONTROLLED), Some((1, "std::net::TcpListener")));
    let of_service = "use std::{io, net::SocketAddr};\nuse runtime::net::{self, TcpStream};\n";
    assert_eq!(first_of(of_service, UNCONTROLLED), None);
    let in_tests = "#[cfg(test)]\nmod tests {\n    use std::{net::TcpStream};\n}\n";
    assert_eq!(first_of(in_tests, UNCONTROLLED), None);
    let behind_url =
        "use std::net;\nfn f() {\n    g(\"ws://\");\n    net::TcpStream::connect(H);\n}\n";
    assert_eq!(first_of(behind_url, UNCONTROLLED), Some((4, "std::net::TcpStream")));
    let behind = "#[cfg(test)]\nmod tests;\n\nuse std::{net::TcpStream};\n";
    assert_eq!(first_of(behind, UNCONTROLLED), Some((4, "std::net::TcpStream")));
}
