//! Where lives of gateways were, and whether they ended in order: what logs say of them. A value.

use std::{collections::VecDeque, net::SocketAddr};

use protocol::Instance;

/// How many lives are remembered.
const REMEMBERED: usize = 256;

/// Lives of gateways that were linked, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Lives(VecDeque<Life>);

/// What is known of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    instance: Instance,
    /// Its inner address.
    pub(crate) gateway: SocketAddr,
    /// Whether it said that it goes down, before its link ended.
    pub(crate) drained: bool,
}

impl Lives {
    /// A life is linked.
    pub(crate) fn linked(&mut self, instance: &Instance, gateway: SocketAddr) {
        self.0.retain(|life| life.instance != *instance);
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Life { instance: instance.clone(), gateway, drained: false });
    }

    /// The link of a life has ended after that said that it goes down.
    pub(crate) fn drained(&mut self, instance: &Instance) {
        for life in self.0.iter_mut().filter(|life| life.instance == *instance) {
            life.drained = true;
        }
    }

    /// What is known of a life.
    pub(crate) fn find(&self, instance: &Instance) -> Option<&Life> {
        self.0.iter().find(|life| life.instance == *instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_beyond_the_limit_are_forgotten_oldest_first() {
        let mut lives = Lives::default();
        let gateway = SocketAddr::from(([10, 0, 0, 1], 2900));
        let instance = |number: usize| Instance::from_dice(number as u64);
        for number in 0..=REMEMBERED {
            lives.linked(&instance(number), gateway);
            lives.linked(&instance(number), gateway);
        }
        lives.drained(&instance(1));
        assert_eq!(lives.find(&instance(0)), None);
        assert!(lives.find(&instance(1)).unwrap().drained);
        assert!(!lives.find(&instance(2)).unwrap().drained);
    }
}
