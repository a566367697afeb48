//! Answers the questions of gateways about streams: from the store, to the shard that asks.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt as _;
use protocol::{ClientId, Command, Message, Position, streaming::StreamGap};
use runtime::sync::Mutex;
use store::{Item, Limit, Page, Range, Read, Reading, Refused};
use tokio::sync::Notify;

use super::{NotRecovered, Streams};
use crate::{Error, link::Link, shared::Shared, targets::Exclude};

/// Maximum number of questions that wait. A gateway asks again what is dropped.
const QUEUED: usize = 16 * 1024;

/// Questions that are answered at the same time.
const AT_ONCE: usize = 16;

/// The most that one answer sends; the shard asks for the rest.
const PAGE: Limit = Limit { items: 256, bytes: 1 << 20 };

/// A question of a shard.
#[derive(Debug)]
pub(crate) struct Gap {
    pub(crate) link: Arc<Link>,
    pub(crate) shard: u16,
    pub(crate) gap: StreamGap,
}

/// Questions that are to be answered, in order.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    waiting: Mutex<VecDeque<Gap>>,
    pushed: Notify,
}

impl Gaps {
    /// Queues questions, as far as there is room.
    pub(crate) fn push(&self, gaps: impl IntoIterator<Item = Gap>) {
        let mut waiting = self.waiting.lock();
        for gap in gaps {
            if QUEUED <= waiting.len() {
                break;
            }
            waiting.push_back(gap);
        }
        drop(waiting);
        self.pushed.notify_one();
    }

    async fn next(&self) -> Gap {
        loop {
            let pushed = self.pushed.notified();
            let next = self.waiting.lock().pop_front();
            match next {
                Some(next) => return next,
                None => pushed.await,
            }
        }
    }
}

/// Answers questions, forever.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let Some(streams) = shared.streams.settings.as_ref() else { return };
    let gaps = futures_util::stream::unfold((), |()| async {
        Some((shared.streams.gaps.next().await, ()))
    });
    gaps.for_each_concurrent(AT_ONCE, |gap| answer(&shared, streams, gap)).await;
}

async fn answer(shared: &Shared, streams: &Streams, gap: Gap) {
    let filled = async {
        if let Err(error) = fill(shared, streams, &gap).await {
            tracing::debug!(%error, gateway = %gap.link.gateway(), "gap not filled");
        }
    };
    tokio::select! {
        // The shard asks another worker then.
        () = gap.link.gone() => {}
        () = filled => {}
    }
}

async fn fill(shared: &Shared, streams: &Streams, gap: &Gap) -> Result<(), Error> {
    let Gap { link, shard, gap: StreamGap { stream, after, known, is_last } } = gap;
    let read = Read { stream: stream.clone(), range: Range::After(*after), limit: PAGE };
    let reset = async |to: Position, reason: NotRecovered| {
        shared.metrics.streams.resets.inc();
        let message = streams.protocol.reset(stream, Some(to), reason);
        let (shard, stream, after) = (*shard, stream.clone(), *after);
        link.send(Command::ResetStream { shard, stream, after, to, message }).await
    };
    let Some(store) = &streams.store else { return Ok(()) };
    let reading = match store.read(read).await {
        Ok(reading) => reading,
        Err(error) => {
            shared.metrics.streams.failures.inc();
            tracing::debug!(%error, "stream not read for a gateway");
            if let (Some(known), true) = (known, is_last) {
                reset(*known, NotRecovered::Unavailable).await?;
            }
            return Ok(());
        }
    };
    let top = match reading {
        Reading::Page(Page { items, top, .. }) => {
            for item in &items {
                let position = Position::new(top.epoch, item.offset);
                link.send(publish(streams, gap, position, item)).await?;
                shared.metrics.streams.filled.inc();
            }
            if known.is_none() && items.is_empty() {
                return Ok(());
            }
            if items.is_empty() && *is_last && lacks(top, *known) {
                // A message was passed on that the store does not have.
                reset(known.unwrap_or(top), NotRecovered::Unavailable).await?;
                return Ok(());
            }
            top
        }
        Reading::Refused(Refused { reason, top, .. }) => match reason.into() {
            // The store may be behind, such as a replica of it.
            NotRecovered::Ahead if !is_last => top,
            NotRecovered::Ahead => match known {
                Some(known) => return reset(*known, NotRecovered::Ahead).await.map(drop),
                None => return Ok(()),
            },
            reason => return reset(top, reason).await.map(drop),
        },
    };
    let (shard, stream, known) = (*shard, stream.clone(), *known);
    link.send(Command::StreamRead { shard, stream, known, top }).await?;
    Ok(())
}

/// Whether the store has nothing at a position that a shard knows of.
fn lacks(top: Position, known: Option<Position>) -> bool {
    known.is_some_and(|known| known.epoch == top.epoch && top.offset < known.offset)
}

fn publish(streams: &Streams, gap: &Gap, position: Position, item: &Item) -> Command {
    let stream = gap.gap.stream.clone();
    let message: Message = streams.protocol.message(&stream, Some(position), &item.payload);
    let exclude = Exclude::from(excluded(&item.metadata)).on(gap.link.gateway());
    Command::Publish { stream, position, exclude, shard: Some(gap.shard), message }
}

/// The metadata of a message that some clients do not receive.
pub(crate) fn metadata(excluded: &[ClientId]) -> Bytes {
    let ids: Vec<String> = excluded.iter().map(ToString::to_string).collect();
    ids.join(",").into()
}

/// The clients that do not receive a message with this metadata.
pub(super) fn excluded(metadata: &[u8]) -> Vec<ClientId> {
    let text = std::str::from_utf8(metadata).unwrap_or_default();
    text.split(',').filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use protocol::{ConnectionId, Epoch};

    use super::*;

    #[test]
    fn exclusions_are_kept_with_the_message() {
        let id =
            |connection| ClientId::new("127.0.0.1:1".parse().unwrap(), ConnectionId(connection));
        for clients in [vec![], vec![id(1)], vec![id(1), id(2)]] {
            assert_eq!(excluded(&metadata(&clients)), clients);
        }
        assert!(excluded(b"\xff,garbage").is_empty());
    }

    #[test]
    fn store_lacks_what_is_known_in_its_epoch_only() {
        let at = |epoch, offset| Position::new(Epoch::from_bits(epoch), offset);
        assert!(lacks(at(1, 4), Some(at(1, 5))));
        assert!(!lacks(at(1, 5), Some(at(1, 5))));
        assert!(!lacks(at(1, 4), Some(at(2, 5))));
        assert!(!lacks(at(1, 4), None));
    }
}
