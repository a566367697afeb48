//! Who takes the events that gateways send.

use std::{future::Future, pin::Pin, sync::Arc};

use protocol::{ConnectionId, Context, Instance, link::Delivery};

use crate::link::Link;

pub use crate::oversight::Settlement;

/// Takes the events of every link. A worker is one; a back end that only pushes has none. One that
/// keeps nothing of clients between their events need only take those.
pub trait Consumer: Send + Sync + 'static {
    /// A link stands. Its events go into what this returns, which is dropped when the link is
    /// gone; the next link to the same gateway is only made after that.
    fn linked(&self, link: &Arc<Link>) -> Box<dyn Intake>;

    /// This life of a gateway is gone, and so are its clients: those that are ours are to be closed
    /// on its behalf, marked if it is in doubt whether they still were ours. `settlement` is to be
    /// dropped once that is done. Says whose clients we witness there.
    fn over(&self, _gateway: &Instance, _in_doubt: bool, _settlement: Settlement) -> Vec<Instance> {
        Vec::new()
    }

    /// The `owner` is gone as well: those of its clients that we witness are to be closed, marked,
    /// since it may have begun.
    fn inherit(&self, _gateway: &Instance, _owner: &Instance, _settlement: Settlement) {}

    /// The `owner` has closed its clients there: we witness them no more.
    fn forget(&self, _gateway: &Instance, _owner: &Instance) {}

    /// This life of a gateway is linked again, and everything that it said since has come: what an
    /// earlier link told us of its clients counts no more.
    fn confirmed(&self, _gateway: &Instance) {}
}

/// Takes the events of one link, on that link's own task: what takes long here, holds it up.
pub trait Intake: Send {
    /// Takes one event. Once it is dealt with, [`Link::finish`] or [`Link::finished`] must be
    /// called, or the gateway will stop sending.
    fn take(&mut self, delivery: Delivery);

    /// Takes one event whose handler is to run alone in this process, as far as that can be: worker
    /// processes have ended while they handled it. [`Link::trying`] must be called when it starts.
    fn trial(&mut self, delivery: Delivery) {
        self.take(delivery);
    }

    /// Reports with [`Link::finished`] what was finished in this batch so far: it is written before the
    /// next event is taken.
    fn report(&mut self) {}

    /// The client of another worker is ours to witness.
    fn witness(&mut self, _client: ConnectionId, _owner: Instance, _context: Context) {}

    /// These are not ours to witness any more.
    fn release(&mut self, _clients: Vec<ConnectionId>) {}

    /// Everything that one read brought was taken; what was sent meanwhile is written next. The
    /// link is not read again until what this returns, if anything, is ready: this is how a
    /// consumer that has enough in hand says so. Answers are not read then either.
    fn end_batch(&mut self) -> Option<Room>;
}

/// Ready when a consumer wants more.
pub type Room = Pin<Box<dyn Future<Output = ()> + Send>>;
