//! Loom models of the queue between gateway threads, which explore all thread interleavings.
//!
//! ```sh
//! RUSTFLAGS='--cfg loom' cargo test --release --manifest-path loom/Cargo.toml
//! ```
#![cfg(loom)]

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use inbox::{Lock, State};
    use loom::{future::block_on, sync::Arc, thread};

    /// The queue with loom's lock.
    type Inbox<T> = inbox::Inbox<T, Mutex<State<T>>>;

    /// A lock whose operations loom explores.
    struct Mutex<S>(loom::sync::Mutex<S>);

    impl<S> Lock<S> for Mutex<S> {
        fn new(state: S) -> Self {
            Self(loom::sync::Mutex::new(state))
        }

        fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
            f(&mut self.0.lock().unwrap())
        }
    }

    /// Explores all interleavings with at most three preemptions. More preemptions rarely find
    /// further bugs and take too long.
    fn model(run: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(run);
    }

    /// Takes items until there are `count`. Loom fails if this waits and no thread can wake it.
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

    /// Whether `first` comes before `second`.
    fn in_order(all: &[u32], first: u32, second: u32) -> bool {
        let position = |item| all.iter().position(|it| *it == item);
        position(first) < position(second)
    }

    #[test]
    fn no_item_is_lost_and_order_per_sender_is_kept() {
        model(|| {
            let inbox = Arc::new(Inbox::default());
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
    fn batch_is_received_whole_and_after_earlier_items() {
        model(|| {
            let inbox = Arc::new(Inbox::default());
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
    fn last_waker_is_woken() {
        model(|| {
            let inbox = Arc::new(Inbox::default());
            // Another task has waited before.
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
        });
    }
}
