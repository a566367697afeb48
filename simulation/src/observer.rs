//! A back end that queries which clients are connected once the run is quiet.

use std::{cell::RefCell, rc::Rc};

use push_suite_cluster::{Cluster, Config};

/// Number of clients of all gateways, and of each group.
pub(crate) type Seen = Rc<RefCell<Option<(u64, Vec<u64>)>>>;

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
    *seen.borrow_mut() = Some((all, members));
    cluster.close().await;
    Ok(())
}
