//! Who takes the events that gateways send.

use std::{future::Future, pin::Pin, sync::Arc};

use protocol::{
    ConnectionId, Instance, Session,
    link::Delivery,
    standby::{HandedOver, Handover, StandbyClient},
};

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
    /// dropped once that is done. Returns the holders of the clients there that we stand by for, each
    /// list once.
    fn over(
        &self,
        _gateway: &Instance,
        _in_doubt: bool,
        _settlement: Settlement,
    ) -> Vec<Vec<Instance>> {
        Vec::new()
    }

    /// The [digest](protocol::standby::digest) of the clients there that we stand by for and that have
    /// these holders.
    fn digest(&self, _gateway: &Instance, _holders: &[Instance]) -> u64 {
        0
    }

    /// The holders before us are gone as well: those clients are to be closed, marked, since they may
    /// have begun. `settlement` is to be dropped once that is done.
    fn take_over(&self, _gateway: &Instance, _holders: &[Instance], _settlement: Settlement) {}

    /// The owner has closed the clients that it knows of: of those that have these holders, the ones
    /// that it may not know of are to be closed, marked; the others are forgotten.
    fn owner_done(&self, _gateway: &Instance, _holders: &[Instance], _settlement: Settlement) {}

    /// Another standby has closed the clients that have these holders: they are forgotten.
    fn forget(&self, _gateway: &Instance, _holders: &[Instance]) {}

    /// What is known of the clients there, ours and those that we stand by for, to be handed over to
    /// another worker: by their holders, of which this worker is one. May be many.
    fn hand_over(
        &self,
        _gateway: &Instance,
        _us: &Instance,
    ) -> Vec<(Vec<Instance>, Vec<HandedOver>)> {
        Vec::new()
    }

    /// Clients of a gateway that is out of reach were handed over to us: we stand by for them from here
    /// on. `link` is one to that gateway that is gone. Returns the holders of all clients there that we
    /// stand by for, each list once.
    fn handed_over(&self, _link: &Arc<Link>, _handover: Handover) -> Vec<Vec<Instance>> {
        Vec::new()
    }

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

    /// We stand by for these clients; their session, if we know it, stays. See
    /// [`ToPeer::Standby`](protocol::link::ToPeer::Standby).
    fn standby(&mut self, _holders: Vec<Instance>, _confirmed: bool, _clients: Vec<StandbyClient>) {
    }

    /// The session of a client that we stand by for.
    fn standby_session(&mut self, _client: ConnectionId, _session: Session) {}

    /// We do not stand by for these any more.
    fn release(&mut self, _clients: Vec<ConnectionId>) {}

    /// Everything that one read brought was taken; what was sent meanwhile is written next. The
    /// link is not read again until what this returns, if anything, is ready: this is how a
    /// consumer that has enough in hand says so. Answers are not read then either.
    fn end_batch(&mut self) -> Option<Room>;
}

/// Ready when a consumer wants more.
pub type Room = Pin<Box<dyn Future<Output = ()> + Send>>;
