//! One event, from its method's first line to its last, whatever happens in between.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use client::link::Pushes;
use protocol::{Event, link::Delivery};

use super::{Dispatcher, Slot};
use crate::{Client, Worker};

/// Runs the method for an event. Gives back what it pushed to other gateways, if anything.
pub(super) async fn take<W: Worker>(
    dispatcher: Arc<Dispatcher<W>>,
    slot: Arc<Slot>,
    delivery: Delivery,
) -> Option<Arc<Pushes>> {
    let Delivery { number, redelivered, edits, context, event, .. } = delivery;
    slot.memory().told(edits, context.map(|context| context.session));
    let client = Client::new(slot, number, redelivered);
    let worker = &dispatcher.worker;
    let ended = match event {
        Event::Message(message) => caught(worker.on_message(&client, message)).await,
        Event::Connect => caught(worker.on_connect(&client)).await,
        Event::WebSocketConnect(handshake) => {
            caught(worker.on_websocket_connect(&client, &handshake)).await
        }
        Event::Close(reason) => caught(worker.on_close(&client, reason)).await,
    };
    if let Err(error) = ended {
        dispatcher.metrics.failures.inc();
        let (client, event) = (client.id(), client.delivery().number);
        tracing::error!(%client, event, redelivered, error = format!("{error:#}"), "handler failed");
    }
    client.into_pushes()
}

/// A panic is one more way to fail.
pub(crate) async fn caught(method: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut method = pin!(method);
    poll_fn(|cx| {
        // What the method has left behind is the application's; ours is untouched.
        match catch_unwind(AssertUnwindSafe(|| method.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(anyhow::anyhow!("panicked: {}", said(&*panic)))),
        }
    })
    .await
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}
