//! Which messages a read returns, given those that a stream has.

use protocol::Position;

use crate::{
    Limit, Range,
    read::{Item, MAX_PAGE, MAX_PAGE_BYTES, Page, Reading, Reason, Refused},
};

/// The messages that a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The oldest kept, or the next one if none is kept.
    pub(crate) first: u64,
    pub(crate) top: Position,
}

impl Extent {
    const fn refused(self, reason: Reason) -> Reading {
        Reading::Refused(Refused { reason, first: self.first, top: self.top })
    }
}

/// The messages to fetch for a read. To be [given](Plan::take) one by one, in the order of
/// [`backwards`](Plan::backwards).
#[derive(Debug)]
pub(crate) struct Plan {
    /// The range of offsets; nothing if `to` is below `from`.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Whether the newest comes first.
    pub(crate) backwards: bool,
    is_whole: bool,
    extent: Extent,
    max_bytes: u64,
    bytes: u64,
    items: Vec<Item>,
    /// The limit of bytes was reached.
    is_full: bool,
}

/// The next message is not the expected one: the store has lost some in the middle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) expected: u64,
    pub(crate) found: Option<u64>,
}

/// The plan of a read.
///
/// # Errors
/// With the answer to a read that returns nothing.
pub(crate) fn plan(range: Range, limit: Limit, extent: Extent) -> Result<Plan, Reading> {
    let Extent { first, top } = extent;
    let most = u64::from(limit.items.clamp(1, MAX_PAGE));
    let same_epoch = |position: Position| match position.epoch == top.epoch {
        true => Ok(position.offset),
        false => Err(extent.refused(Reason::Epoch)),
    };
    let behind = |position: Position| {
        let offset = same_epoch(position)?;
        match () {
            () if top.offset < offset => Err(extent.refused(Reason::Ahead)),
            () if offset + 1 < first => Err(extent.refused(Reason::Trimmed)),
            () => Ok(offset + 1),
        }
    };
    let forwards = |from: u64| (from, top.offset.min(from.saturating_add(most - 1)), false);
    let backwards = |to: u64| (first.max((to + 1).saturating_sub(most)), to, true);
    let (from, to, backwards) = match range {
        Range::Top => (top.offset + 1, top.offset, false),
        Range::Missed(position) => {
            let from = behind(position)?;
            if from + most <= top.offset {
                return Err(extent.refused(Reason::Limit));
            }
            forwards(from)
        }
        Range::After(position) => forwards(behind(position)?),
        Range::Oldest => forwards(first),
        Range::Before(position) => match same_epoch(position)? {
            offset if top.offset + 1 < offset => return Err(extent.refused(Reason::Ahead)),
            offset => backwards(offset.saturating_sub(1)),
        },
        Range::Newest => backwards(top.offset),
    };
    let max_bytes = limit.bytes.min(MAX_PAGE_BYTES);
    let is_whole = matches!(range, Range::Missed(_));
    let (items, bytes, is_full) = (Vec::new(), 0, false);
    Ok(Plan { from, to, backwards, is_whole, extent, max_bytes, bytes, items, is_full })
}

impl Plan {
    /// Whether further messages are needed.
    pub(crate) const fn wants_more(&self) -> bool {
        !self.is_full && (self.items.len() as u64) < (self.to + 1).saturating_sub(self.from)
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// When it is not the next one.
    pub(crate) fn take(&mut self, item: Item) -> Result<(), Hole> {
        let taken = self.items.len() as u64;
        let expected = if self.backwards { self.to - taken } else { self.from + taken };
        if item.offset != expected {
            return Err(Hole { expected, found: Some(item.offset) });
        }
        self.bytes = self.bytes.saturating_add(item.weight());
        let is_first = self.items.is_empty();
        self.is_full = self.max_bytes < self.bytes && (self.is_whole || !is_first);
        if !self.is_full {
            self.items.push(item);
        }
        Ok(())
    }

    /// The answer, when the store has nothing further in the range.
    ///
    /// # Errors
    /// When messages are missing.
    pub(crate) fn finish(mut self) -> Result<Reading, Hole> {
        if self.wants_more() {
            let taken = self.items.len() as u64;
            let expected = if self.backwards { self.to - taken } else { self.from + taken };
            return Err(Hole { expected, found: None });
        }
        if self.is_full && self.is_whole {
            return Ok(self.extent.refused(Reason::Limit));
        }
        let Extent { first, top } = self.extent;
        if self.backwards {
            self.items.reverse();
        }
        let more = match (self.items.first(), self.items.last()) {
            (Some(oldest), _) if self.backwards => first < oldest.offset,
            (_, Some(newest)) => newest.offset < top.offset,
            _ => false,
        };
        Ok(Reading::Page(Page { items: self.items, more, first, top }))
    }
}

#[cfg(test)]
mod tests;
