//! The PHP back end of docs/webhooks.md serves the chat.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env, fs,
    io::{Write as _, stderr},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use suite_tests::{
    Browser, eventually, ports,
    webhooks::{HookFile, SECRET},
};
use tempfile::TempDir;

/// The server of PHP, ended when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program in the document, as it is printed.
fn program() -> &'static str {
    let document = include_str!("../../docs/webhooks.md");
    let (_, rest) = document.split_once("```php\n").unwrap();
    rest.split_once("```\n").unwrap().0
}

/// Whether PHP is installed; with `SUITE_PHP` set, it has to be.
fn has_php() -> bool {
    let found = Command::new("php").arg("--version").output().is_ok();
    assert!(found || env::var_os("SUITE_PHP").is_none(), "php is not installed");
    found
}

async fn receive(browser: &mut Browser, kind: &str) -> Value {
    let message: Value = serde_json::from_str(&browser.receive_text().await).unwrap();
    assert_eq!(message["type"], kind, "{message}");
    message
}

async fn enter(browser: &mut Browser, name: &str) -> (String, Value) {
    let login = json!({"type": "login", "client_name": name, "room_id": 1});
    browser.send(login.to_string()).await;
    let login = receive(browser, "login").await;
    (login["client_id"].as_str().unwrap().to_owned(), login)
}

#[tokio::test]
async fn php_program_of_the_document_serves_the_chat() {
    if !has_php() {
        stderr().write_all(b"not run here: php is not installed\n").unwrap();
        return;
    }
    assert!(program().lines().count() <= 45, "forty lines or so");
    let (folder, addr) = (TempDir::with_prefix("push-suite-php.").unwrap(), ports::free());
    fs::write(folder.path().join("chat.php"), program()).unwrap();
    let server = Command::new("php")
        .args(["-S", &addr.to_string(), "chat.php"])
        .current_dir(folder.path())
        .env("WEBHOOK_SECRET", SECRET)
        .env("CHAT_ROOMS", folder.path().join("rooms.json"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Server(server.unwrap());
    eventually("php", async || tokio::net::TcpStream::connect(addr).await.ok().map(drop)).await;
    let file = HookFile::new(&[(format!("http://{addr}/hook"), "envelope = true")]);
    let suite = file.suite().workers(2).start().await;

    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(1).await);
    let (ann_id, login) = enter(&mut ann, "Ann").await;
    assert_eq!(login["client_list"], json!({ann_id.clone(): "Ann"}));
    let (bob_id, login) = enter(&mut bob, "<b>").await;
    let members = json!({ann_id.clone(): "Ann", bob_id.clone(): "&lt;b&gt;"});
    assert_eq!((&login["client_list"], &login["room_id"]), (&members, &json!("1")));
    assert_eq!(receive(&mut ann, "login").await["client_name"], "&lt;b&gt;");

    let say = |to: &str, text: &str| json!({"type": "say", "to_client_id": to, "content": text});
    bob.send(say("all", "a < b\nc").to_string()).await;
    for browser in [&mut ann, &mut bob] {
        let said = receive(browser, "say").await;
        assert_eq!(said["content"], "a &lt; b<br />\nc");
        assert_eq!(said["from_client_id"], *bob_id);
    }
    let mut eve = suite.browser(0).await;
    enter(&mut eve, "Eve").await;
    for browser in [&mut ann, &mut bob] {
        receive(browser, "login").await;
    }
    ann.send(say(&bob_id, "psst").to_string()).await;
    for browser in [&mut ann, &mut bob] {
        assert_eq!(receive(browser, "say").await["content"], "psst");
    }
    bob.close().await;
    for browser in [&mut ann, &mut eve] {
        assert_eq!(receive(browser, "logout").await["from_client_id"], *bob_id);
    }
}

#[tokio::test]
async fn php_program_of_the_document_refuses_a_wrong_signature() {
    if !has_php() {
        return;
    }
    let run = |secret: &str| {
        let code = format!(
            "$_SERVER['HTTP_WEBHOOK_ID'] = 'a'; $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] = (string) time();
             $_SERVER['HTTP_WEBHOOK_SIGNATURE'] = 'v1,' . base64_encode(hash_hmac('sha256',
                 'a.' . time() . '.', base64_decode(substr('{secret}', 6)), true));
             register_shutdown_function(fn () => fwrite(STDERR, (string) http_response_code()));"
        );
        let text = format!("<?php {code}\n{}", program().trim_start_matches("<?php"));
        let (folder, mut php) = (TempDir::new().unwrap(), Command::new("php"));
        let path = folder.path().join("once.php");
        fs::write(&path, text).unwrap();
        php.arg(path).env("WEBHOOK_SECRET", SECRET);
        php.env("CHAT_ROOMS", folder.path().join("rooms.json"));
        String::from_utf8_lossy(&php.output().unwrap().stderr).into_owned()
    };
    assert!(run("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").ends_with("401"));
    assert!(!run(SECRET).ends_with("401"));
}
