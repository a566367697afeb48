//! docs/push-api.md: its commands run as they are written, and it has every path and code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, process::Command};

use suite_tests::{PushApi, Suite, ports};

fn document() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/push-api.md")).unwrap()
}

/// The shell commands of the document, in their order.
fn commands(document: &str) -> Vec<&str> {
    document.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[tokio::test]
async fn commands_of_the_document_work_as_they_are_written() {
    let suite = Suite::builder().start().await;
    let mut clients = [suite.browser(0).await, suite.browser(1).await];
    let document = document();
    let commands = commands(&document);
    let (first, rest) = commands.split_first().unwrap();

    // The first makes a key and a settings file; the process runs with that.
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("{first}\nprintf %s \"$KEY\"")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = String::from_utf8(made.stdout).unwrap();
    let addr = ports::free().to_string();
    let file = folder.path().join("api.toml").display().to_string();
    let flags = ["--app", "none", "--http-listen", &addr, "--config", &file];
    assert!(document.contains("--app none --http-listen 127.0.0.1:7373 --config api.toml"));
    let mut process = suite.start_process("api", "business-worker", &flags);
    process.ready().await;

    for command in rest {
        let mut shell = Command::new("timeout");
        shell.args(["30", "bash", "-euo", "pipefail", "-c", command]).env("KEY", &key);
        shell.env("API", format!("http://{addr}"));
        let output = shell.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}\n{text}{error}");
    }
    for client in &mut clients {
        assert_eq!(client.receive_text().await, "{\"event\":\"news\",\"text\":\"hello\"}");
    }
    assert!(!process.log().contains(&key));
}

#[tokio::test]
async fn document_has_every_path_and_code_of_the_api() {
    let suite = Suite::builder().start().await;
    let api = PushApi::start(&suite).await;
    let document = document();
    let (_, table) = document.split_once("\n## Every path\n").unwrap();
    for (path, methods) in api.document()["paths"].as_object().unwrap() {
        let row = table.lines().find(|line| line.contains(&format!("`{path}`")));
        let row = row.unwrap_or_else(|| panic!("{path}"));
        for method in methods.as_object().unwrap().keys() {
            assert!(row.contains(&method.to_uppercase()), "{method} {path}: {row}");
        }
    }
    let codes = &api.document()["components"]["schemas"]["Code"];
    let forms = codes["enum"].as_array().or(codes["oneOf"].as_array()).unwrap();
    assert!(15 < forms.len(), "{codes}");
    for form in forms {
        let code = form.as_str().or(form["const"].as_str()).or(form["enum"][0].as_str()).unwrap();
        assert!(document.contains(&format!("`{code}`")), "{code}");
    }
    // The operations of a batch.
    let operation = api.document()["components"]["schemas"]["Operation"].to_string();
    for row in document.lines().filter(|line| line.starts_with("| `") && line.contains("`client`"))
    {
        let names = row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2);
        for name in names.filter(|name| !name.starts_with('/')) {
            assert!(operation.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
