//! A back end that pushes a text to every client of a user:
//!
//! ```sh
//! SECRET=s3cret cargo run --example push 127.0.0.1:1236 42 "your order is on its way"
//! ```
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error};

use push_suite_cluster::{Cluster, Config, serde_json::json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [register, uid, text] = arguments.as_slice() else {
        return Err("usage: push REGISTER UID TEXT".into());
    };
    let secret = env::var("SECRET").unwrap_or_default();

    // One cluster for the whole life of a program; its clones are for the tasks that push.
    let cluster = Cluster::start(Config::new([register], secret));
    // `.await` alone waits for no gateway.
    let sent = cluster.send_to_uid(uid, json!({"event": "order", "text": text})).report().await;
    match sent {
        Ok(report) if report.matched == 0 && report.is_complete() => println!("user is offline"),
        Ok(report) => println!("sent: {report}"),
        // Such as `NoGateway` while everything restarts: keep the message and try again later.
        Err(error) if error.is_retryable() => println!("not sent yet: {error}"),
        // Such as `WrongSecret`: it stays so until the settings change.
        Err(error) => return Err(error.into()),
    }
    cluster.close().await;
    Ok(())
}
