//! The store in Redis does what every store does.

use crate::{
    redis_server::Server,
    suite::{Store, suite},
};

async fn open() -> Option<(Store, Server)> {
    let server = Server::start(&[])?;
    Some((server.store().await, server))
}

suite!(open);
