//! Rendezvous hashing: which of several instances is responsible for a name.

use crate::InstanceId;

/// The instance that is responsible for `name` among `candidates`: the same one for each process
/// that knows these candidates, whatever their order. When one ends, only its names move. `None`
/// if there is no candidate.
pub fn rendezvous<'a, T>(
    name: &[u8],
    candidates: impl Iterator<Item = (&'a InstanceId, T)>,
) -> Option<T> {
    let weight = |instance: &InstanceId| {
        // FNV-1a: the same in all processes.
        name.iter()
            .chain(instance.as_str().as_bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            })
    };
    candidates.max_by_key(|(instance, _)| (weight(instance), *instance)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choice_depends_on_the_name_and_the_instances_alone() {
        let instances: Vec<_> = (0..4).map(InstanceId::from_random).collect();
        let choose = |name: u32, among: &mut dyn Iterator<Item = &InstanceId>| {
            rendezvous(&name.to_be_bytes(), among.map(|instance| (instance, instance.clone())))
        };
        let mut names = [0; 4];
        for name in 0..400 {
            let chosen = choose(name, &mut instances.iter()).unwrap();
            assert_eq!(choose(name, &mut instances.iter().rev()).unwrap(), chosen);
            let at = instances.iter().position(|instance| *instance == chosen).unwrap();
            names[at] += 1;
            // The names of the others stay where they are.
            let gone = (at + 1) % 4;
            let mut rest = instances.iter().enumerate().filter(|(at, _)| *at != gone);
            assert_eq!(choose(name, &mut rest.by_ref().map(|(_, it)| it)).unwrap(), chosen);
        }
        assert!(names.iter().all(|count| 40 < *count), "{names:?}");
        assert_eq!(choose(1, &mut [].iter()), None);
    }
}
