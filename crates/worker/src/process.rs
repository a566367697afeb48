//! A worker process, as its application sees it.

use push_suite_cluster::Cluster;

/// This process: its cluster, and the name by which gateways know it.
#[derive(Clone, Debug)]
pub struct Process {
    cluster: Cluster,
    name: String,
    id: String,
}

impl Process {
    pub(crate) const fn new(cluster: Cluster, name: String, id: String) -> Self {
        Self { cluster, name, id }
    }

    /// The cluster. Clone it to send outside of events, for example from a timer.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The name, `--name`: shared by all workers of one kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id, `--id`: unique per name on this host. The unit `business-worker@3` sets 3; without
    /// the flag it is chosen at random. Gateways log a worker as `host:name:id`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id as a number; `None` if it is none, such as a random one. Workers of several hosts may
    /// have the same: for work that one worker of the whole cluster is to do, see
    /// [`Cluster::is_first_worker`].
    pub fn index(&self) -> Option<u32> {
        self.id.parse().ok()
    }
}
