//! Locates the binaries under test, next to the running test or in the folder of `SUITE_PROFILE`,
//! and builds them when missing or out of date.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

const BINARIES: [&str; 4] = ["register", "gateway", "business-worker", "gwctl"];

/// Path of a binary. `cargo test` does not build binaries of other packages, so the first call may
/// take as long as a build.
///
/// # Panics
/// If the build fails; it is not retried for the next test.
pub fn path(name: &str) -> PathBuf {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(up_to_date).as_ref().expect("the binaries build").join(name)
}

fn up_to_date() -> Option<PathBuf> {
    let program = env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    // Tests are in target/PROFILE/deps, programs in target/PROFILE.
    let is_test = folder.file_name().is_some_and(|name| name == "deps");
    let folder = if is_test { folder.parent().unwrap() } else { folder };
    let folder = match env::var_os("SUITE_PROFILE") {
        Some(profile) => folder.parent().unwrap().join(profile),
        None => folder.to_owned(),
    };
    let lock = fs::File::create(folder.join(".suite-tests.lock")).unwrap();
    lock.lock().unwrap();
    let stale = BINARIES.iter().any(|name| is_stale(&folder.join(name)));
    (!stale || build(&folder)).then_some(folder)
}

/// Whether a binary is missing or older than one of its sources, which cargo lists in a `.d` file
/// next to it.
fn is_stale(binary: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let list = fs::read_to_string(binary.with_extension("d")).unwrap_or_default();
    let sources = list.split_once(": ").map(|(_, sources)| sources.replace("\\ ", "\0"));
    let (Some(built), Some(sources)) = (changed(binary), sources) else {
        return true;
    };
    let newer = |source: &str| -> bool {
        let source: Option<SystemTime> = changed(Path::new(&source.replace('\0', " ")));
        source.is_none_or(|changed| built < changed)
    };
    sources.split_whitespace().any(newer)
}

fn build(folder: &Path) -> bool {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--bins", "--profile", profile, "--target-dir"]);
    cargo.arg(folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    for name in BINARIES {
        cargo.args(["--package", &format!("push-suite-{name}")]);
    }
    cargo.status().expect("cargo runs, since it runs this test").success()
}
