//! Who takes the events that gateways send.

use std::{future::Future, pin::Pin, sync::Arc};

use protocol::link::Delivery;

use crate::link::Link;

/// Takes the events of every link. A worker is one; a back end that only pushes has none.
pub trait Consumer: Send + Sync + 'static {
    /// A link stands. Its events go into what this returns, which is dropped when the link is
    /// gone; the next link to the same gateway is only made after that.
    fn linked(&self, link: &Arc<Link>) -> Box<dyn Intake>;
}

/// Takes the events of one link, on that link's own task: what takes long here, holds it up.
pub trait Intake: Send {
    /// Takes one event. Once it is dealt with, [`Link::finish`] or [`Link::finished`] must be
    /// called, or the gateway will stop sending.
    fn take(&mut self, delivery: Delivery);

    /// Everything that one read brought was taken; what was sent meanwhile is written next. The
    /// link is not read again until what this returns, if anything, is ready: this is how a
    /// consumer that has enough in hand says so. Answers are not read then either.
    fn end_batch(&mut self) -> Option<Room>;
}

/// Ready when a consumer wants more.
pub type Room = Pin<Box<dyn Future<Output = ()> + Send>>;
