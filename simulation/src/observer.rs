//! A back end that queries which clients are connected once the run is quiet.

use std::{cell::RefCell, rc::Rc};

use push_suite_cluster::{Cluster, Config};

use crate::crowd;

/// Number of clients of all gateways, of each group, and of the crowd.
pub(crate) type Seen = Rc<RefCell<Option<(u64, Vec<u64>, u64)>>>;

/// Queries every gateway.
pub(crate) async fn run(
    registers: Vec<String>,
    groups: Vec<String>,
    seen: Seen,
) -> anyhow::Result<()> {
    let cluster = Cluster::start(Config::new(registers, "simulation-s3cret"));
    cluster.ready().await;
    let all = cluster.count().await?;
    let mut members = Vec::new();
    for group in groups {
        members.push(cluster.group_count(group).await?);
    }
    let crowd = cluster.clients_of_uid(crowd::uid()).await?.len() as u64;
    *seen.borrow_mut() = Some((all, members, crowd));
    cluster.close().await;
    Ok(())
}
