//! The commands of an answer: executed in order, in a bounded time for all of them.

use std::{future::Future, time::Duration};

use anyhow::bail;
use http_api::{
    Code, Failure, Operation,
    limits::{COMMANDS_TIME, LEAST_REPORT_TIME, REPORT_TIME, report_time},
};
use push_suite_worker::{CancellationToken, Client};
use runtime::clock;
use tokio::time::timeout;

use super::{Planned, Webhook};

impl Webhook {
    /// Executes the commands of an answer. One that fails is counted, and the next follow: the
    /// event is not handled again, or the client would receive its replies twice.
    ///
    /// # Errors
    /// When the event is redelivered, since the link to the client's gateway is lost.
    pub(super) async fn execute(
        &self,
        client: &Client,
        planned: &Planned,
        commands: Vec<Operation>,
    ) -> anyhow::Result<()> {
        let apply = |command: Operation, time| command.apply_within(client.cluster(), time);
        let executed = in_order(commands, &self.stop, apply, |failure| {
            self.command_failed(planned, &failure);
        });
        tokio::select! {
            biased;
            // They are executed again with the event.
            () = client.link_lost() => bail!("the link to the gateway is lost"),
            () = executed => Ok(()),
        }
    }
}

/// Executes commands in their order with `apply`, which gets the time to wait for gateways. Those
/// that do not answer delay all commands once, and not each of them; once `stop` is cancelled, they
/// delay no command for long.
async fn in_order<C, T, F>(
    commands: Vec<C>,
    stop: &CancellationToken,
    apply: impl Fn(C, Duration) -> F,
    failed: impl Fn(Failure),
) where
    F: Future<Output = Result<T, Failure>>,
{
    let start = clock::now();
    let (mut deadline, mut is_stopping) = (start + COMMANDS_TIME, false);
    for command in commands {
        let now = clock::now();
        if !is_stopping && stop.is_cancelled() {
            is_stopping = true;
            deadline = deadline.min(now + REPORT_TIME);
        }
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            let message = "the commands of the answer took too long";
            failed(Failure::unavailable(Code::NotExecuted, message));
            continue;
        }
        let wait = match is_stopping {
            true => LEAST_REPORT_TIME,
            false => report_time(now.saturating_duration_since(start)),
        };
        match timeout(left, apply(command, wait)).await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => failed(failure),
            Err(_) => failed(Failure::unavailable(Code::Timeout, "the command took too long")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use runtime::sync::Mutex;
    use tokio::time::sleep;

    use super::*;

    /// Executes 1,000 commands, each of which calls `apply`. Returns the time that it took, how
    /// long each was to wait, and the codes of the failures.
    async fn run<F>(
        stop: &CancellationToken,
        apply: impl Fn(usize, Duration) -> F,
    ) -> (Duration, Vec<Duration>, Vec<Code>)
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let (start, waits, codes) = (clock::now(), Mutex::default(), Mutex::default());
        let apply = |command, wait| {
            Mutex::<Vec<_>>::lock(&waits).push(wait);
            apply(command, wait)
        };
        let failed = |failure: Failure| Mutex::<Vec<_>>::lock(&codes).push(failure.code);
        in_order((0..1000).collect(), stop, apply, failed).await;
        let (waits, codes) = (waits.lock().clone(), codes.lock().clone());
        (clock::now() - start, waits, codes)
    }

    #[tokio::test(start_paused = true)]
    async fn gateways_that_do_not_answer_delay_all_commands_once() {
        let unreachable = |_, wait| async move {
            sleep(wait).await;
            Err(Failure::unreachable("127.0.0.1:2900"))
        };
        let (took, waits, codes) = run(&CancellationToken::new(), unreachable).await;
        assert!(took <= COMMANDS_TIME + LEAST_REPORT_TIME, "{took:?}");
        assert_eq!(waits[..3], [REPORT_TIME, LEAST_REPORT_TIME, LEAST_REPORT_TIME]);
        assert_eq!(codes.len(), 1000, "each has failed");
        assert_eq!((codes[0], codes[999]), (Code::GatewayUnreachable, Code::NotExecuted));
        assert!(waits.len() < 1000, "the last were not executed");
    }

    #[tokio::test(start_paused = true)]
    async fn command_that_does_not_end_is_ended_and_the_next_are_not_executed() {
        let stuck = |command, _| async move {
            match command {
                ..3 => Ok(()),
                _ => pending().await,
            }
        };
        let (took, waits, codes) = run(&CancellationToken::new(), stuck).await;
        assert!(took <= COMMANDS_TIME + LEAST_REPORT_TIME, "{took:?}");
        assert_eq!((waits.len(), codes.len()), (4, 997));
        assert_eq!((codes[0], codes[1]), (Code::Timeout, Code::NotExecuted));
    }

    #[tokio::test(start_paused = true)]
    async fn commands_end_soon_when_the_process_stops() {
        let stop = CancellationToken::new();
        let slow = |command, _| {
            if command == 1 {
                stop.cancel();
            }
            async {
                sleep(LEAST_REPORT_TIME).await;
                Ok(())
            }
        };
        let (took, waits, codes) = run(&stop, slow).await;
        assert!(took <= REPORT_TIME + 3 * LEAST_REPORT_TIME, "{took:?}");
        assert_eq!(waits[2], LEAST_REPORT_TIME);
        assert!(codes.iter().all(|code| *code == Code::NotExecuted) && !codes.is_empty());
        let (_, _, codes) = run(&stop, |_, _| async { Ok(()) }).await;
        assert!(codes.is_empty(), "what gateways answer is finished");
    }

    #[tokio::test(start_paused = true)]
    async fn commands_that_are_answered_in_time_are_all_executed() {
        let answered = |_, _| async {
            sleep(Duration::from_millis(10)).await;
            Ok(())
        };
        let (_, waits, codes) = run(&CancellationToken::new(), answered).await;
        assert_eq!((waits.len(), codes.len()), (1000, 0));
    }
}
