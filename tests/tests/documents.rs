//! Settings and commands of docs/pusher.md and docs/webhooks.md work as they are written.
//!
//! The other blocks: `tests/pusher/laravel/run.sh` runs those of docs/laravel.md,
//! `tests/pusher/javascript/run.sh` those of docs/javascript.md, and `push_api_document.rs` those
//! of docs/push-api.md.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use pusher::signature::Key;
use serde_json::json;
use suite_tests::{Browser, Received, Suite, binaries, eventually, ports, pusher_http::PusherApi};
use tempfile::TempDir;
use test_support::receiver::{Receiver, Reply};

/// A document of the folder `docs`.
fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join("docs").join(name)).unwrap()
}

/// The blocks of a document in a language, in their order.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    document.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// A folder in which a command runs, and the suite that it joins.
struct Scene {
    suite: Suite,
    folder: TempDir,
}

/// A process, ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Scene {
    async fn start() -> Self {
        let suite = Suite::builder().gateways(1).start().await;
        Self { suite, folder: TempDir::with_prefix("push-suite-document.").unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("worker.toml")
    }

    /// A command of a document in a shell, which finds the binaries and the register.
    fn shell(&self, command: &str) -> Command {
        let bin = binaries::path("business-worker").parent().unwrap().display().to_string();
        let secret = self.suite.env().into_iter().find(|(name, _)| name == "GW_SECRET_KEY");
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(self.folder.path())
            .envs(self.suite.env())
            .env("PATH", format!("{bin}:{}", env::var("PATH").unwrap()))
            .env("SECRET", secret.unwrap().1)
            .env("GW_REGISTER_ADDRESS", self.suite.register_addrs[0].to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        shell
    }

    /// Starts the only command of a block.
    fn run(&self, block: &str) -> Running {
        Running(self.shell(&format!("exec {block}")).spawn().unwrap())
    }

    /// Whether `--check` accepts the settings file with an app.
    fn accepts(&self, app: &str) -> bool {
        let check = format!("business-worker --app {app} --config worker.toml --check");
        self.shell(&check).status().unwrap().success()
    }
}

#[tokio::test]
async fn commands_of_pusher_serve_a_client_and_a_back_end() {
    let document = document("pusher.md");
    let (settings, commands) = (blocks(&document, "toml"), blocks(&document, "sh"));
    let [app, webhook] = settings[..] else { panic!("{settings:?}") };
    let [plain, with_http] = commands[..] else { panic!("{commands:?}") };
    let scene = Scene::start().await;
    fs::write(scene.file(), format!("{app}{webhook}")).unwrap();
    assert!(scene.accepts("pusher"));
    fs::write(scene.file(), app).unwrap();

    let addr = ports::free();
    assert!(with_http.contains("127.0.0.1:8080"));
    let with_http = with_http.replace("127.0.0.1:8080", &addr.to_string());
    for command in [plain, &with_http] {
        let running = scene.run(command);
        let mut browser = eventually("an established connection", async || {
            let gateway = scene.suite.gateways[0].clients;
            let mut browser = Browser::open(gateway, "/app/app-key?protocol=7").await;
            match browser.receive().await {
                Received::Text(text) => {
                    assert!(text.contains("connection_established"), "{text}");
                    Some(browser)
                }
                _ => None,
            }
        })
        .await;
        if command == with_http {
            browser.send(r#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#).await;
            browser.receive_text().await;
            let mut api =
                eventually("the HTTP API", async || PusherApi::connect(addr).await.ok()).await;
            api.key = Key::new("app-key", "app-secret");
            let event = json!({"name": "e", "data": "x", "channel": "a"});
            assert_eq!(api.post("events", &event).await, (200, "{}".to_owned()));
            let expected = r#"{"event":"e","channel":"a","data":"x"}"#;
            assert_eq!(browser.receive_text().await, expected);
        }
        drop(running);
    }
}

#[tokio::test]
async fn command_of_webhooks_sends_events_to_its_receiver() {
    let document = document("webhooks.md");
    let (settings, commands) = (blocks(&document, "toml"), blocks(&document, "sh"));
    let ([start, two], [command]) = (&settings[..], &commands[..]) else {
        panic!("{settings:?} {commands:?}")
    };
    let receiver = Receiver::start(|_| Reply::status(204)).await;
    let scene = Scene::start().await;
    fs::write(scene.file(), two).unwrap();
    assert!(scene.accepts("webhook"), "{two}");
    let secret = scene.suite.env().into_iter().find(|(name, _)| name == "GW_SECRET_KEY").unwrap();
    assert!(start.contains("\"…\"") && start.contains("http://127.0.0.1:9000/hook"));
    let file =
        start.replace('…', &secret.1).replace("http://127.0.0.1:9000/hook", &receiver.url("/hook"));
    fs::write(scene.file(), &file).unwrap();
    let _running = scene.run(command);
    let mut browser = scene.suite.browser(0).await;
    browser.send("hello").await;
    let received = receiver.wait_for(2).await;
    let kinds: Vec<&str> = received.iter().map(|it| it.header("ce-type")).collect();
    assert_eq!(kinds[..2], ["gw.connect", "gw.message"]);
    // `envelope` of the block.
    let body: serde_json::Value = serde_json::from_slice(&received[1].body).unwrap();
    assert_eq!(body["text"], "hello");

    // The line that makes a secret.
    let (_, rest) = document.split_once("`printf ").unwrap();
    let make = format!("printf {}", rest.split('`').next().unwrap());
    let made = scene.shell(&make).stdout(Stdio::piped()).output().unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let old = file.lines().find(|line| line.starts_with("secret = ")).unwrap();
    let new = format!("secret = \"{}\"", made.trim());
    assert!(made.starts_with("whsec_") && old != new, "{made}");
    fs::write(scene.file(), file.replace(old, &new)).unwrap();
    assert!(scene.accepts("webhook"), "{made}");
}
