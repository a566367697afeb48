//! A WebSocket client in a process of its own: it answers pings as long as the process runs, and
//! sends nothing else. Its argument is the address of a gateway.

use std::{env, error::Error};

use futures_util::StreamExt as _;
use tokio_tungstenite::connect_async;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let gateway = env::args().nth(1).ok_or("the address of a gateway")?;
    let (mut socket, _) = connect_async(format!("ws://{gateway}/")).await?;
    while let Some(message) = socket.next().await {
        message?;
    }
    Ok(())
}
