//! Addresses of gateway instances, and whether they drained, for logs. A value.

use std::{collections::VecDeque, net::SocketAddr};

use protocol::InstanceId;

/// How many instances are remembered.
const REMEMBERED: usize = 256;

/// Gateway instances that were linked, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Instances(VecDeque<InstanceRecord>);

/// One gateway instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstanceRecord {
    instance: InstanceId,
    /// Its inner address.
    pub(crate) gateway: SocketAddr,
    /// Whether it announced its shutdown before its link closed.
    pub(crate) drained: bool,
}

impl Instances {
    /// An instance has been linked.
    pub(crate) fn linked(&mut self, instance: &InstanceId, gateway: SocketAddr) {
        self.0.retain(|record| record.instance != *instance);
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(InstanceRecord { instance: instance.clone(), gateway, drained: false });
    }

    /// The link of an instance has closed after the instance announced its shutdown.
    pub(crate) fn drained(&mut self, instance: &InstanceId) {
        for record in self.0.iter_mut().filter(|record| record.instance == *instance) {
            record.drained = true;
        }
    }

    /// The record of an instance.
    pub(crate) fn find(&self, instance: &InstanceId) -> Option<&InstanceRecord> {
        self.0.iter().find(|record| record.instance == *instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_beyond_the_limit_are_evicted_oldest_first() {
        let mut instances = Instances::default();
        let gateway = SocketAddr::from(([10, 0, 0, 1], 2900));
        let instance = |number: usize| InstanceId::from_random(number as u64);
        for number in 0..=REMEMBERED {
            instances.linked(&instance(number), gateway);
            instances.linked(&instance(number), gateway);
        }
        instances.drained(&instance(1));
        assert_eq!(instances.find(&instance(0)), None);
        assert!(instances.find(&instance(1)).unwrap().drained);
        assert!(!instances.find(&instance(2)).unwrap().drained);
    }
}
