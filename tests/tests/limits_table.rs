//! The table of all limits in `docs/limits.md`: its flags, metrics and tests exist.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command};

use suite_tests::{Raw, Suite, binaries};

/// A limit of the table.
struct Row {
    flag: String,
    default: String,
    metric: String,
    test: String,
}

fn rows() -> Vec<Row> {
    let table = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md"));
    let table = table.unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `--"));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [flag, default, counts, reached, metric, test] = cells[..] else { panic!("{line}") };
        assert!(!counts.is_empty() && !reached.is_empty(), "{line}");
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        let [flag, default, metric, test] = [flag, default, metric, test].map(plain);
        Row { flag, default, metric, test }
    })
    .collect()
}

/// The Rust sources of the end-to-end tests.
fn tests() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

#[tokio::test]
async fn every_limit_of_the_table_has_a_flag_a_metric_and_a_test() {
    let help = Command::new(binaries::path("gateway")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let suite = Suite::builder().gateways(1).start().await;
    let metrics = Raw::get(suite.gateways[0].admin, "/metrics").await.unwrap().body;
    let tests = tests();
    for Row { flag, default, metric, test } in rows() {
        let shown = help.split_once(&format!("{flag} <")).map(|(_, rest)| rest);
        let shown = shown.unwrap_or_else(|| panic!("{flag} is not in --help"));
        let shown = shown.split("\n  -").next().unwrap();
        let digits = default.replace(',', "");
        let expected = match digits.strip_suffix(" MiB") {
            Some(mebibytes) => (mebibytes.parse::<usize>().unwrap() << 20).to_string(),
            None => digits,
        };
        if !default.starts_with("as ") && !default.ends_with(" a thread") {
            assert!(shown.contains(&format!("[default: {expected}]")), "{flag}: {shown}");
        }
        let (name, labels) = metric.split_at(metric.find('{').unwrap_or(metric.len()));
        let listed = ["_total", ""].map(|end| format!("\npushsuite_gateway_{name}{end}{labels} "));
        let is_listed = listed.iter().any(|sample| metrics.contains(sample));
        assert!(is_listed, "{flag}: no metric {metric}");
        let function = format!("async fn {test}(");
        let sets = |text: &String| text.contains(&function) && text.contains(&flag);
        assert!(tests.iter().any(sets), "{flag}: no test {test} in a file that sets it");
    }
}

/// Names in `--help` by which a flag is recognized as one of a limit.
const LIMITS: [&str; 4] = ["--max-", "-burst", "rate-policy", "-message-size"];

/// Flags with such a name that limit no client.
const OTHERS: [&str; 1] = ["--max-delivery-attempts"];

#[test]
fn every_flag_of_a_limit_is_in_the_table() {
    let help = Command::new(binaries::path("gateway")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed: Vec<_> = rows().into_iter().map(|row| row.flag).collect();
    let flags = help.lines().map(str::trim).filter(|line| line.starts_with("--"));
    for flag in flags.filter(|flag| LIMITS.iter().any(|name| flag.contains(name))) {
        let flag = flag.split(' ').next().unwrap().to_owned();
        let is_listed = listed.contains(&flag) || OTHERS.contains(&&*flag);
        assert!(is_listed, "{flag} is not in docs/limits.md");
    }
}
