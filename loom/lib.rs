//! Every order in which threads may meet, for what they hand each other work with.
//!
//! ```sh
//! RUSTFLAGS='--cfg loom' cargo test --release --manifest-path loom/Cargo.toml
//! ```
#![cfg(loom)]

// As it stands in the gateway, but with loom's lock.
#[path = "../crates/gateway/src/inbox.rs"]
mod inbox;

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, mem};

    use loom::{future::block_on, sync::Arc, thread};

    use super::inbox::Inbox;

    /// Every order with at most three switches that no thread asked for: those with more find
    /// hardly anything, and take for ever.
    fn model(run: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(run);
    }

    /// Takes until there are `count`. Loom fails if this waits and nobody is left to wake it.
    fn take(inbox: &Inbox<u32>, count: usize) -> Vec<u32> {
        let (mut all, mut batch) = (Vec::new(), Vec::new());
        block_on(async {
            while all.len() < count {
                poll_fn(|cx| inbox.poll_take(cx, &mut batch)).await;
                assert!(!batch.is_empty(), "ready with nothing");
                all.append(&mut batch);
            }
        });
        all
    }

    /// Of two in order, the positions.
    fn in_order(all: &[u32], first: u32, second: u32) -> bool {
        let position = |item| all.iter().position(|it| *it == item);
        position(first) < position(second)
    }

    #[test]
    fn nothing_is_left_behind_and_each_senders_order_is_kept() {
        model(|| {
            let inbox = Arc::new(Inbox::new());
            let senders: Vec<_> = [&[1, 2][..], &[11]]
                .into_iter()
                .map(|items| {
                    let inbox = Arc::clone(&inbox);
                    thread::spawn(move || items.iter().for_each(|item| inbox.push(*item)))
                })
                .collect();
            let mut all = take(&inbox, 3);
            assert!(in_order(&all, 1, 2), "{all:?}");
            all.sort_unstable();
            assert_eq!(all, [1, 2, 11]);
            senders.into_iter().for_each(|sender| sender.join().unwrap());
        });
    }

    #[test]
    fn a_batch_arrives_whole_and_behind_what_was_there() {
        model(|| {
            let inbox = Arc::new(Inbox::new());
            let sender = {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || {
                    inbox.push(1);
                    let mut batch = vec![2, 3];
                    inbox.push_all(&mut batch);
                    assert!(batch.is_empty());
                    inbox.push_all(&mut batch);
                })
            };
            assert_eq!(take(&inbox, 3), [1, 2, 3]);
            sender.join().unwrap();
        });
    }

    #[test]
    fn whoever_waits_last_is_woken() {
        model(|| {
            let inbox = Arc::new(Inbox::new());
            // Somebody has waited there before, in another task.
            let mut nothing = Vec::new();
            let waker = std::task::Waker::noop();
            let mut cx = std::task::Context::from_waker(waker);
            assert!(inbox.poll_take(&mut cx, &mut nothing).is_pending());
            let sender = {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || inbox.push(1))
            };
            assert_eq!(take(&inbox, 1), [1]);
            sender.join().unwrap();
            assert!(mem::take(&mut nothing).is_empty());
        });
    }
}
