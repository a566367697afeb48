//! Invokes the handler of one event, with retries, and catches panics.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use protocol::{CloseInfo, Event, link::Delivery};
use push_suite_cluster::internal::HandlerScope;
use runtime::{backoff::Backoff, clock, random};
use tokio::time::sleep;

use super::{ClientState, Dispatcher, warnings::Handler};
use crate::{Client, Worker};

/// Upper bound of the first retry delay, which is random; the bound doubles with each retry.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Maximum retry delay.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The outcome of an event.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is handled, successfully or not; with the commands it sent to other gateways, if any.
    Done(Option<Arc<HandlerScope>>),
    /// It awaited a retry, or its turn, and is left to another worker, or to redelivery. It is
    /// included if its handler has started, marked as redelivered.
    Left(Option<Box<Delivery>>),
}

/// Runs the handler of an event, with retries if configured.
pub(super) async fn handle<W: Worker>(
    dispatcher: Arc<Dispatcher<W>>,
    state: Arc<ClientState>,
    delivery: Delivery,
) -> Outcome {
    let Delivery { client: id, shard, seq, number, redelivered, edits, context, event } = delivery;
    state.session_cache().synchronize(edits, context.map(|context| context.session));
    if state.drops(&event) {
        dispatcher.metrics.dropped.inc();
        return Outcome::Done(None);
    }
    let mut client = Client::new(state, number, redelivered).of_event(&event);
    let handler = Handler::of(&event);
    // Boxed, since every handler's future contains it.
    let spare = (0 < dispatcher.retries).then(|| {
        let (redelivered, context, event) = (true, None, event.clone());
        Box::new(Delivery { client: id, shard, seq, number, redelivered, edits, context, event })
    });
    let mut has_failed = false;
    if let Err(error) = call(&dispatcher.worker, &client, event).await {
        report_failure(&dispatcher, handler, &client, &error, dispatcher.retries);
        has_failed = match spare {
            None => true,
            Some(spare) => match Box::pin(retry(&dispatcher, &mut client, &spare.event)).await {
                Retried::Left => return Outcome::Left(Some(spare)),
                Retried::Succeeded => false,
                Retried::Failed => true,
            },
        };
    }
    if client.awaits_answer() {
        // Boxed, since it is rare, and every handler's future contains it.
        Box::pin(client.answer_for_handler(has_failed)).await;
    }
    Outcome::Done(client.into_scope())
}

/// The outcome of the retries of a handler.
enum Retried {
    Succeeded,
    /// No attempt is left.
    Failed,
    /// The event is left to another worker.
    Left,
}

/// Retries a failed handler until it succeeds or no attempt is left.
async fn retry<W: Worker>(
    dispatcher: &Dispatcher<W>,
    client: &mut Client,
    event: &Event,
) -> Retried {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let handler = Handler::of(event);
    // The failed attempt may have had effects.
    for left in (0..dispatcher.retries).rev() {
        // If the gateway is dead, no other worker receives the event.
        let may_leave = !client.is_orphaned();
        tokio::select! {
            biased;
            // The gateway redelivers the event; handling it here as well would break the order.
            () = client.link_lost(), if may_leave => return Retried::Left,
            () = dispatcher.draining.cancelled(), if may_leave => {
                let event = client.delivery().number;
                tracing::info!(client = %client.id(), event, "left to another worker");
                dispatcher.metrics.left.inc();
                return Retried::Left;
            }
            () = sleep(backoff.next(random::random())) => {}
        }
        dispatcher.metrics.retries.inc();
        client.mark_redelivered();
        match call(&dispatcher.worker, client, event.clone()).await {
            Ok(()) => return Retried::Succeeded,
            Err(error) => report_failure(dispatcher, handler, client, &error, left),
        }
    }
    Retried::Failed
}

async fn call(worker: &impl Worker, client: &Client, event: Event) -> anyhow::Result<()> {
    match event {
        // Called inside `catch_panic`, since a handler may panic before it returns a future.
        Event::Message(message) => {
            catch_panic(async { worker.on_message(client, message).await }).await
        }
        Event::Connect => catch_panic(async { worker.on_connect(client).await }).await,
        Event::WebSocketConnect(handshake) | Event::WebSocketRequest(handshake) => {
            catch_panic(async { worker.on_websocket_connect(client, &handshake).await }).await
        }
        Event::Close(reason) | Event::Closed(CloseInfo { reason, .. }) => {
            catch_panic(async { worker.on_close(client, reason).await }).await
        }
        Event::Expiring { expires_at } => {
            catch_panic(async { worker.on_expiring(client, expires_at).await }).await
        }
        // Handled by the event receiver.
        Event::Reassigned => Ok(()),
    }
}

/// Counts and logs a failure. Clients can cause any number of failures: metrics count all of them,
/// and the log is limited to one line per kind and second.
fn report_failure<W: Worker>(
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
        tracing::debug!(
            client = %id, event, handler, redelivered, %error, tries_left,
            "handler failed"
        );
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

/// Converts a panic into an error.
pub(crate) async fn catch_panic(
    handler: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut handler = pin!(handler);
    poll_fn(|cx| {
        // Unwind safe: a handler can leave only the application's state inconsistent, not ours.
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(anyhow::anyhow!("panicked: {}", panic_message(&*panic)))),
        }
    })
    .await
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown cause")
}
