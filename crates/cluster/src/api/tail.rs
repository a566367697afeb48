//! Tails: live messages of clients.

use protocol::{inspect::OpenTail, link::ToGateway};
use tokio::sync::mpsc;

use crate::{
    Cluster, Error,
    inspect::{Tail, TailTarget},
};

/// Batches of messages that wait to be read. Further ones are dropped and counted.
const WAITING: usize = 64;

/// Live messages.
impl Cluster {
    /// Follows the messages from and to some clients, on the gateways that are linked now: direction,
    /// size and time of each, and the first `payload` bytes of its content (0 for none, at most 64
    /// KiB). Gateways drop and count what is too much; clients are not delayed by it.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the gateway of the client is not linked; when no gateway is
    /// linked, [`Error::NoGateway`], [`Error::NoRegister`] or [`Error::WrongSecret`];
    /// [`Error::Closed`].
    pub async fn tail(&self, target: TailTarget, payload: u32) -> Result<Tail, Error> {
        let directory = self.settled().await;
        let number = runtime::random::random();
        let (sender, batches) = mpsc::channel(WAITING);
        let (mut links, mut unreachable) = (Vec::new(), Vec::new());
        for link in directory.links() {
            let Some(target) = target.on(link.gateway()) else { continue };
            link.tails().add(number, sender.clone());
            let open = Box::new(OpenTail { tail: number, target, payload });
            match link.send_message(&mut ToGateway::Tail(open)).await {
                Ok(_) => links.push(std::sync::Arc::clone(link)),
                Err(_) => {
                    link.tails().remove(number);
                    unreachable.push(link.gateway().to_string());
                }
            }
        }
        let missing = directory
            .missing()
            .filter(|address| address.parse().is_ok_and(|gateway| target.on(gateway).is_some()));
        unreachable.extend(missing.map(ToString::to_string));
        if links.is_empty() {
            return Err(match (target, unreachable.into_iter().next()) {
                (TailTarget::Client(client), _) => {
                    Error::Unreachable { gateway: client.gateway.to_string() }
                }
                (_, Some(gateway)) => Error::Unreachable { gateway },
                (_, None) => self.shared.no_gateway(),
            });
        }
        Ok(Tail::new(number, batches, links, unreachable))
    }
}
