//! The store in a file of SQLite when something is wrong: its file, its disk, its processes.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use push_suite_store::{Append, ErrorKind, Range, Reading, SqliteOptions, SqliteStore, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::suite::{self, Store, append, group, message, offsets, page, read, say, wide};

/// The role of this test program when it runs as a child, and the file.
const ROLE: &str = "STORE_TEST_ROLE";
const FILE: &str = "STORE_TEST_FILE";

/// The appends of a child; one that is killed would go on for longer.
const APPENDS: &str = "STORE_TEST_APPENDS";

async fn open(path: &Path) -> Result<Store, StoreError> {
    let store = SqliteStore::open(path, SqliteOptions::default()).await?;
    Ok(Arc::new(store))
}

async fn error_of(path: &Path) -> StoreError {
    let error = open(path).await.map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "names the file: {text}");
    error
}

/// Runs this program as a child.
fn child(role: &str, path: &Path) -> Command {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "sqlite_failures::child_appends_and_reports", "--nocapture"]);
    child.env(ROLE, role).env(FILE, path).stdout(Stdio::piped()).stderr(Stdio::inherit());
    child
}

/// Does nothing, unless it is the child: then it appends, and prints each position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_appends_and_reports() {
    let Ok(role) = env::var(ROLE) else { return };
    let store = open(Path::new(&env::var(FILE).unwrap())).await.unwrap();
    let from: u64 = role.parse().unwrap();
    let mut tasks = JoinSet::new();
    let count: u64 = env::var(APPENDS).map_or(1000, |count| count.parse().unwrap());
    for number in from..from + count {
        let (store, append) = (Arc::clone(&store), message(&group("room"), number));
        tasks.spawn(async move { (number, store.append(append).await.unwrap().position) });
        if 16 <= tasks.len() {
            let (number, position) = tasks.join_next().await.unwrap().unwrap();
            // In one write, so that a line is whole.
            std::io::stdout().write_all(format!("{number} {position}\n").as_bytes()).unwrap();
        }
    }
    for (number, position) in tasks.join_all().await {
        std::io::stdout().write_all(format!("{number} {position}\n").as_bytes()).unwrap();
    }
}

/// The positions that a child reports.
fn positions(child: &mut Child) -> impl Iterator<Item = (u64, protocol::Position)> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    lines.filter_map(|line| {
        let (number, position) = line.split_once(' ')?;
        Some((number.parse().ok()?, position.parse().ok()?))
    })
}

/// All messages, which may be more than one page has.
async fn all_of(store: &Store) -> push_suite_store::Page {
    let mut all = page(read(store, &group("room"), Range::Oldest).await);
    while all.more {
        let last = protocol::Position { offset: all.items.len() as u64, ..all.top };
        let next = page(read(store, &group("room"), Range::After(last)).await);
        all.items.extend(next.items);
        all.more = next.more;
    }
    all
}

#[tokio::test]
async fn acknowledged_appends_of_a_killed_process_are_there_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("streams.db");
    for kill_after in [1, 300] {
        let first = 1 + 100_000 * kill_after;
        let mut process = child(&first.to_string(), &path);
        let mut process = process.env(APPENDS, "100000").spawn().unwrap();
        let mut reports = positions(&mut process);
        let mut acknowledged: Vec<_> = reports.by_ref().take(kill_after as usize).collect();
        process.kill().unwrap();
        process.wait().unwrap();
        acknowledged.extend(reports);
        assert!((kill_after as usize..100_000).contains(&acknowledged.len()));
        let store = open(&path).await.unwrap();
        let all = all_of(&store).await;
        for (number, position) in acknowledged {
            assert_eq!(position.epoch, all.top.epoch, "the kernel had all that was written");
            let item = &all.items[position.offset as usize - 1];
            assert_eq!(item.offset, position.offset);
            assert_eq!(item.payload, format!("message {number}"));
            let again = store.append(message(&group("room"), number)).await.unwrap();
            assert!(again.repeated && again.position == position, "{number}: {again:?}");
        }
        let mut payloads: Vec<_> = all.items.iter().map(|item| &item.payload).collect();
        payloads.sort();
        payloads.dedup();
        assert_eq!(payloads.len(), all.items.len(), "none is there twice");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn several_processes_share_a_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("streams.db");
    // Two of them append the same messages.
    let roles = ["1", "501", "5001"];
    let children: Vec<Child> =
        roles.iter().map(|role| child(role, &path).spawn().unwrap()).collect();
    let store = open(&path).await.unwrap();
    append(&store, message(&group("room"), 9999)).await;
    let mut reported = std::collections::BTreeMap::new();
    for mut child in children {
        for (number, position) in positions(&mut child) {
            let earlier = reported.insert(number, position);
            assert!(earlier.is_none_or(|earlier| earlier == position), "{number}");
        }
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(reported.len(), 2500);
    let all = page(read(&store, &group("room"), Range::Oldest).await);
    assert!(offsets(&all).into_iter().eq(1..=2501));
    for (number, position) in reported {
        let item = &all.items[position.offset as usize - 1];
        assert_eq!(item.payload, format!("message {number}"));
    }
}

#[tokio::test]
async fn positions_keys_and_epochs_survive_a_restart() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("streams.db");
    let store = open(&path).await.unwrap();
    let stream = group("room");
    let epoch = suite::fill(&store, &stream, 5, wide()).await;
    let unused = store.tops(vec![group("unused")]).await.unwrap();
    store.close().await.unwrap();
    let refused = store.append(message(&stream, 6)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Closed);
    drop(store);
    let store = open(&path).await.unwrap();
    let all = page(read(&store, &stream, Range::Oldest).await);
    assert_eq!((offsets(&all), all.top.epoch), (vec![1, 2, 3, 4, 5], epoch));
    assert!(store.append(message(&stream, 3)).await.unwrap().repeated);
    assert_eq!(store.tops(vec![group("unused")]).await.unwrap(), unused);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "messages are for the owner of the file alone");
}

#[tokio::test]
async fn path_that_cannot_be_used_is_an_error_with_the_next_step() {
    let folder = TempDir::new().unwrap();
    let error = error_of(&folder.path().join("missing/streams.db")).await;
    assert!(error.kind == ErrorKind::Unavailable && error.cause.contains("create its folder"));
    assert_eq!(error_of(folder.path()).await.kind, ErrorKind::Unavailable);
    let text = folder.path().join("text.db");
    fs::write(&text, "a text that is long enough to be looked at as a database ".repeat(20))
        .unwrap();
    let error = error_of(&text).await;
    assert!(error.kind == ErrorKind::Corrupt && error.cause.contains("remove the file"), "{error}");
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE users (id)").unwrap();
    let error = error_of(&foreign).await;
    assert!(error.kind == ErrorKind::Incompatible && error.cause.contains("another program"));
    let newer = folder.path().join("newer.db");
    drop(open(&newer).await.unwrap());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let error = error_of(&newer).await;
    assert!(error.kind == ErrorKind::Incompatible && error.cause.contains("version is 2"));
}

#[tokio::test]
async fn damaged_file_is_an_error_until_it_is_removed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("streams.db");
    let store = open(&path).await.unwrap();
    let stream = group("room");
    let large = |number| Append { payload: vec![b'x'; 1000].into(), ..message(&stream, number) };
    let mut epoch = None;
    for number in 1..=100 {
        epoch = Some(append(&store, large(number)).await.epoch);
    }
    // All of it is in the file once the last connection is closed.
    drop(store);
    while fs::metadata(path.with_extension("db-wal")).is_ok_and(|log| log.len() != 0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let whole = fs::read(&path).unwrap();
    let damage = |from: usize| {
        let mut bytes = whole.clone();
        bytes[from..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
    };
    damage(4096);
    assert_eq!(error_of(&path).await.kind, ErrorKind::Corrupt);
    // Only messages.
    damage(16 * 4096);
    let store = open(&path).await.unwrap();
    let error = store.append(message(&stream, 101)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("streams.db") && error.cause.contains("remove the file"));
    let whole = push_suite_store::Read {
        stream: stream.clone(),
        range: Range::Oldest,
        limit: push_suite_store::Limit::default(),
    };
    assert_eq!(store.read(whole).await.unwrap_err().kind, ErrorKind::Corrupt);
    for suffix in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(path.with_extension(suffix));
    }
    let anew = append(&store, message(&stream, 101)).await;
    assert_eq!(anew.offset, 1);
    assert_ne!(Some(anew.epoch), epoch, "a new file has new epochs");
    assert_eq!(offsets(&page(read(&store, &stream, Range::Oldest).await)), [1]);
}

/// Fills a store until it refuses, and checks that it goes on.
async fn fill_to_the_end(store: &Store) {
    let stream = group("room");
    let large = |number| Append { payload: vec![7; 10_000].into(), ..message(&stream, number) };
    let mut appended = 0;
    let error = loop {
        match store.append(large(appended + 1)).await {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    assert!(error.cause.contains("free space"), "{error}");
    assert!(20 < appended, "{appended}");
    for _ in 0..20 {
        assert_eq!(store.append(large(appended + 1)).await.unwrap_err().kind, ErrorKind::Full);
    }
    let newest = page(read(store, &stream, Range::Newest).await);
    assert_eq!(newest.top.offset, appended);
    assert_eq!(newest.items.len() as u64, appended, "all that was acknowledged");
}

#[tokio::test]
async fn full_file_is_an_error_and_stays_readable() {
    let folder = TempDir::new().unwrap();
    let options = SqliteOptions { max_bytes: Some(1 << 20) };
    let store = SqliteStore::open(folder.path().join("streams.db"), options).await.unwrap();
    let store: Store = Arc::new(store);
    fill_to_the_end(&store).await;
    assert!(store.delete(group("room")).await.is_ok());
    append(&store, message(&group("room"), 1_000_000)).await;
}

/// Runs a case as a child on a file system of its own, with these options of its mount.
fn on_a_mount(options: &str, case: &str) {
    let folder = TempDir::new().unwrap();
    let program = env::current_exe().unwrap();
    let mount = format!(
        "mount -t tmpfs -o {options} store {0} || exit 99; exec {1} --exact sqlite_failures::{case} --nocapture",
        folder.path().display(),
        program.display()
    );
    let mut child = Command::new("unshare");
    child.args(["--mount", "sh", "-c", &mount]).env(ROLE, case);
    child.env(FILE, folder.path().join("streams.db"));
    match child.output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("1 passed"), "{text}");
        }
        // Without the rights to mount, or without the program.
        Ok(output) if !matches!(output.status.code(), Some(1 | 99)) => panic!("{output:?}"),
        other => say(&format!("left out, for want of a mount: {case}: {other:?}")),
    }
}

/// The file of a child that runs a case, if this is one.
fn file_of_child(case: &str) -> Option<std::path::PathBuf> {
    (env::var(ROLE).ok()? == case).then(|| env::var_os(FILE).unwrap().into())
}

#[tokio::test]
async fn full_disk_is_an_error_and_stays_readable() {
    let case = "full_disk_is_an_error_and_stays_readable";
    match file_of_child(case) {
        Some(path) => fill_to_the_end(&open(&path).await.unwrap()).await,
        None => on_a_mount("size=1m", case),
    }
}

#[tokio::test]
async fn read_only_folder_is_an_error() {
    let case = "read_only_folder_is_an_error";
    match file_of_child(case) {
        Some(path) => {
            let error = error_of(&path).await;
            assert_eq!(error.kind, ErrorKind::ReadOnly, "{error}");
            assert!(error.cause.contains("needs to write"), "{error}");
        }
        None => on_a_mount("ro", case),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_file_delays_no_read_and_fails_appends() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("streams.db");
    let store = open(&path).await.unwrap();
    let stream = group("room");
    append(&store, message(&stream, 1)).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Too many, and too many bytes.
    for (count, size) in [(6000, 1), (100, 1 << 20)] {
        let payload = Bytes::from(vec![b'x'; size]);
        let mut tasks = JoinSet::new();
        for number in 2..count {
            let append = Append { payload: payload.clone(), ..message(&stream, number) };
            let store = Arc::clone(&store);
            tasks.spawn(async move { store.append(append).await });
        }
        assert_eq!(offsets(&page(read(&store, &stream, Range::Oldest).await)), [1]);
        let errors: Vec<_> = tasks.join_all().await.into_iter().map(Result::unwrap_err).collect();
        assert!(errors.iter().all(|error| error.kind == ErrorKind::Busy));
        let has = |part| errors.iter().any(|error| error.cause.contains(part));
        assert!(has("too many requests"), "{count} of {size} bytes are more than the queue holds");
        assert!(has("another process holds its lock"));
    }
    other.execute_batch("ROLLBACK").unwrap();
    let reading = read(&store, &stream, Range::Top).await;
    let Reading::Page(before) = reading else { panic!("{reading:?}") };
    assert_eq!(append(&store, message(&stream, 10_000)).await, before.top.next());
}
