//! One event, from its method's first line to its last, whatever happens in between.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use client::link::Pushes;
use protocol::{Event, link::Delivery};
use service::{backoff::Backoff, clock, dice};
use tokio::time::sleep;

use super::{Dispatcher, Slot, warnings::Handler};
use crate::{Client, Worker};

/// The first wait before a method is called again is random and up to this long; each further one
/// may be twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What became of an event.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is dealt with, well or not; and what it pushed to other gateways, if anything.
    Over(Option<Arc<Pushes>>),
    /// It waited to be tried again and was given up here: another worker gets it.
    Left,
}

/// Runs the method for an event, and again if it fails and that is asked for.
pub(super) async fn take<W: Worker>(
    dispatcher: Arc<Dispatcher<W>>,
    slot: Arc<Slot>,
    delivery: Delivery,
) -> Outcome {
    let Delivery { number, redelivered, edits, context, event, .. } = delivery;
    slot.memory().told(edits, context.map(|context| context.session));
    if slot.drops(&event) {
        dispatcher.metrics.dropped.inc();
        return Outcome::Over(None);
    }
    let mut client = Client::new(slot, number, redelivered);
    let handler = Handler::of(&event);
    // Kept small, since it is kept for every method.
    let spare = (0 < dispatcher.retries).then(|| Box::new(event.clone()));
    if let Err(error) = call(&dispatcher.worker, &client, event).await {
        tell(&dispatcher, handler, &client, &error, dispatcher.retries);
        if let Some(event) = spare
            && Box::pin(again(&dispatcher, &mut client, &event)).await
        {
            return Outcome::Left;
        }
    }
    Outcome::Over(client.into_pushes())
}

/// Calls a method that has failed again, until it succeeds or has failed often enough. Says whether
/// the event is left to another worker.
async fn again<W: Worker>(dispatcher: &Dispatcher<W>, client: &mut Client, event: &Event) -> bool {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let handler = Handler::of(event);
    // What it did before it failed, it may do twice.
    client.mark_redelivered();
    for left in (0..dispatcher.retries).rev() {
        tokio::select! {
            biased;
            // The gateway gives it to somebody else, who must not be second to us.
            () = client.link_gone() => return true,
            () = dispatcher.draining.cancelled() => {
                let event = client.delivery().number;
                tracing::info!(client = %client.id(), event, "left to another worker");
                dispatcher.metrics.left.inc();
                return true;
            }
            () = sleep(backoff.next(dice::random())) => {}
        }
        dispatcher.metrics.retries.inc();
        match call(&dispatcher.worker, client, event.clone()).await {
            Ok(()) => return false,
            Err(error) => tell(dispatcher, handler, client, &error, left),
        }
    }
    false
}

async fn call(worker: &impl Worker, client: &Client, event: Event) -> anyhow::Result<()> {
    match event {
        // Called within what catches, since a method may panic before it returns a future.
        Event::Message(message) => caught(async { worker.on_message(client, message).await }).await,
        Event::Connect => caught(async { worker.on_connect(client).await }).await,
        Event::WebSocketConnect(handshake) => {
            caught(async { worker.on_websocket_connect(client, &handshake).await }).await
        }
        Event::Close(reason) => caught(async { worker.on_close(client, reason).await }).await,
        // The intake takes these itself.
        Event::Adopt => Ok(()),
    }
}

/// Counts and logs a failure, after which there are so many tries left. Clients may cause as many as they
/// like: metrics count all of them, and the log has one of a kind a second.
fn tell<W: Worker>(
    dispatcher: &Dispatcher<W>,
    handler: Handler,
    client: &Client,
    error: &anyhow::Error,
    tries_left: u32,
) {
    let given_up = tries_left == 0;
    dispatcher.metrics.failures.inc();
    if given_up {
        dispatcher.metrics.given_up.inc();
    }
    let admitted = dispatcher.warnings().failed(handler, given_up, clock::now());
    let (id, event, redelivered) = (client.id(), client.delivery().number, client.redelivered());
    let handler = handler.name();
    let Some(suppressed) = admitted else {
        let error = format_args!("{error:#}");
        tracing::debug!(client = %id, event, handler, redelivered, %error, tries_left, "handler failed");
        return;
    };
    let error = format!("{error:#}");
    if given_up {
        tracing::error!(
            client = %id, event, handler, redelivered, error, suppressed,
            "handler failed"
        );
    } else {
        tracing::warn!(
            client = %id, event, handler, redelivered, error, tries_left, suppressed,
            "handler failed"
        );
    }
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
