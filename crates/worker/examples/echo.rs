//! The smallest worker: sends every message back to its sender. Start a register and a gateway, then
//! `cargo run --example echo`.

use std::process::ExitCode;

use push_suite_worker::{Client, Message, Worker, anyhow};

struct Echo;

impl Worker for Echo {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        Ok(client.send(message).await?)
    }
}

fn main() -> ExitCode {
    push_suite_worker::main(Echo)
}
