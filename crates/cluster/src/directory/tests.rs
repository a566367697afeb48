//! The directory without real links.

use super::*;

fn plain(address: &str) -> discovery::Gateway {
    discovery::Gateway::plain(address.to_owned())
}

fn native(address: &str) -> discovery::Gateway {
    discovery::Gateway { native: true, ..plain(address) }
}

fn gateway(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn names(list: &[Arc<str>]) -> Vec<&str> {
    list.iter().map(|name| &**name).collect()
}

#[test]
fn gateway_is_new_once_and_settled_after_the_first_attempt() {
    let mut directory = Directory::<()>::default();
    assert!(!directory.is_settled(), "no register has sent a list");
    assert_eq!(names(&directory.list(&[native("a:1"), native("b:2")]).new), ["a:1", "b:2"]);
    assert_eq!(directory.list(&[native("b:2"), native("a:1")]), Changes::default());
    directory.up("a:1", gateway(1), ());
    assert!(!directory.is_settled());
    directory.down("b:2");
    assert!(directory.is_settled());
    assert_eq!(directory.links().count(), 1);
    assert_eq!(directory.missing().map(|name| &**name).collect::<Vec<_>>(), ["b:2"]);
}

#[test]
fn unlisted_gateway_is_kept_while_its_link_is_open() {
    let mut directory = Directory::<()>::default();
    directory.list(&[native("a:1")]);
    directory.up("a:1", gateway(1), ());
    directory.list(&[]);
    assert!(directory.keep("a:1"));
    assert!(directory.link(gateway(1)).is_some());
    directory.down("a:1");
    assert_eq!(directory.missing().count(), 0, "it is not awaited");
    assert!(directory.keep("a:1"), "something waits for it");
    assert_eq!(directory.give_up(|address, ()| address == "a:1"), [()]);
    assert!(!directory.keep("a:1"));
    assert!(directory.link(gateway(1)).is_none());
    assert_eq!(names(&directory.list(&[native("a:1")]).new), ["a:1"]);
}

#[test]
fn unlisted_gateway_is_awaited_until_it_is_given_up() {
    let mut directory = Directory::<()>::default();
    directory.list(&[native("a:1"), native("b:2")]);
    directory.up("a:1", gateway(1), ());
    directory.down("b:2");
    assert_eq!(directory.awaited().count(), 0, "it was never linked");
    directory.list(&[]);
    directory.down("a:1");
    assert_eq!((directory.required().count(), directory.awaited().count()), (0, 1));
    directory.leave_out("a:1");
    assert_eq!(directory.awaited().count(), 0);
    directory.up("a:1", gateway(1), ());
    directory.down("a:1");
    assert_eq!(directory.awaited().count(), 1);
    directory.give_up(|_, ()| true);
    assert_eq!(directory.awaited().count(), 0);
}

#[test]
fn lost_gateway_queues_commands_until_it_is_linked_again_or_given_up() {
    let mut directory = Directory::<u8>::default();
    directory.list(&[native("a:1"), native("b:2")]);
    assert_eq!((directory.place(gateway(1)), directory.out_of_reach()), (None, 2));
    directory.up("a:1", gateway(1), 1);
    directory.down("b:2");
    assert_eq!((directory.parked().count(), directory.out_of_reach()), (0, 1), "never linked");
    directory.down("a:1");
    directory.down("a:1");
    assert_eq!((directory.place(gateway(1)), directory.link(gateway(1))), (Some(&1), None));
    assert_eq!((directory.parked_at("a:1"), directory.parked_at("b:2")), (Some(&1), None));
    assert_eq!(directory.missing().map(|name| &**name).collect::<Vec<_>>(), ["a:1", "b:2"]);
    directory.up("a:1", gateway(1), 2);
    assert_eq!((directory.place(gateway(1)), directory.parked().count()), (Some(&2), 0));
    assert_eq!(directory.give_up(|_, _| true), [0_u8; 0], "it is linked");
    directory.down("a:1");
    assert!(directory.wants("a:1") && directory.wants("b:2"));
    directory.list(&[]);
    assert!(directory.wants("a:1") && !directory.wants("b:2"));
    assert_eq!(directory.give_up(|_, link| *link == 1), [0_u8; 0]);
    assert_eq!(directory.give_up(|_, link| *link == 2), [2]);
    assert!(!directory.wants("a:1"));
    assert_eq!(directory.place(gateway(1)), None);
}

#[test]
fn never_linked_gateway_is_awaited_if_its_instance_is_known() {
    let mut directory = Directory::<InstanceId>::default();
    let id = |name: &str| InstanceId::new(name).unwrap();
    let alive =
        |address: &str, name| discovery::Gateway { instance: Some(id(name)), ..native(address) };
    directory.list(&[alive("10.0.0.1:1", "one"), native("10.0.0.1:2")]);
    directory.expect(|_, _, instance| Some(instance.clone()));
    assert!(!directory.is_settled(), "the first attempt is in progress");
    assert_eq!(directory.place(gateway(1)), Some(&id("one")));
    assert_eq!((directory.parked().count(), directory.out_of_reach()), (1, 1));
    directory.down("10.0.0.1:1");
    directory.down("10.0.0.1:2");
    assert!(directory.is_settled());
    directory.list(&[alive("10.0.0.1:1", "two"), native("10.0.0.1:2")]);
    directory.expect(|_, _, _| panic!("commands wait for it"));
    assert_eq!(directory.give_up(|_, instance| *instance == id("one")), [id("one")]);
    directory.expect(|_, _, _| None);
    assert_eq!(directory.place(gateway(1)), None);
    directory.expect(|_, _, instance| Some(instance.clone()));
    assert_eq!(directory.parked_at("10.0.0.1:1"), Some(&id("two")));
    directory.list(&[]);
    assert!(directory.keep("10.0.0.1:1") && !directory.keep("10.0.0.1:2"));
}

#[test]
fn instance_listed_alone_supersedes_the_awaited_one() {
    let mut directory = Directory::<InstanceId>::default();
    let id = |name: &str| InstanceId::new(name).unwrap();
    let alive = |name| discovery::Gateway { instance: Some(id(name)), ..native("a:1") };
    let supersede = |directory: &mut Directory<InstanceId>, old: &str| {
        directory.supersede(|link| link, |named| *named != id(old))
    };
    directory.list(&[alive("one")]);
    directory.up("a:1", gateway(1), id("one"));
    directory.list(&[alive("two")]);
    assert_eq!(supersede(&mut directory, "none"), [], "it is linked");
    directory.down("a:1");
    directory.list(&[alive("one"), alive("two")]);
    assert_eq!(directory.instances_at("a:1"), [id("one"), id("two")]);
    assert_eq!(supersede(&mut directory, "none"), [], "a register still lists it");
    directory.list(&[alive("two")]);
    assert_eq!(supersede(&mut directory, "two"), [], "it is not newer");
    directory.list(&[]);
    assert_eq!(supersede(&mut directory, "none"), [], "no other instance is listed");
    directory.list(&[alive("two")]);
    assert_eq!(supersede(&mut directory, "none"), [id("one")]);
    assert_eq!(directory.parked_at("a:1"), None);
}

#[test]
fn listed_instance_that_may_be_alive_is_awaited() {
    let mut directory = Directory::<InstanceId>::default();
    let id = |name: &str| InstanceId::new(name).unwrap();
    let alive = |name| discovery::Gateway { instance: Some(id(name)), ..native("10.0.0.1:1") };
    let lists = [Some(vec![alive("over")]), Some(vec![plain("10.0.0.1:1")]), None];
    let lists = [&lists[..], &[Some(vec![alive("next")])]].concat();
    let changes = directory.list(&union(&lists));
    assert_eq!((changes.new.len(), changes.foreign.len()), (1, 0), "one gateway, and native");
    directory.expect(|_, _, named| (*named != id("over")).then(|| named.clone()));
    assert_eq!(directory.parked_at("10.0.0.1:1"), Some(&id("next")));
}

#[test]
fn non_native_gateway_beside_native_ones_is_not_dialled() {
    let mut directory = Directory::<()>::default();
    let changes = directory.list(&[native("a:1"), plain("php:1")]);
    assert_eq!((names(&changes.new), names(&changes.foreign)), (vec!["a:1"], vec!["php:1"]));
    assert_eq!(directory.list(&[native("a:1"), plain("php:1")]), Changes::default());
    let changes = directory.list(&[native("a:1"), native("php:1")]);
    assert_eq!(names(&changes.new), ["php:1"], "replaced by a native one");
}

#[test]
fn php_register_leads_to_dialling_every_gateway() {
    let mut directory = Directory::<()>::default();
    assert_eq!(names(&directory.list(&[plain("a:1"), plain("b:2")]).new), ["a:1", "b:2"]);
}

#[test]
fn register_with_a_shorter_list_removes_no_gateway() {
    let lists = [Some(vec![native("a:1"), native("b:2")]), None, Some(vec![plain("b:2")])];
    assert_eq!(union(&lists), [native("a:1"), native("b:2")]);
    assert_eq!(union(&[Some(vec![]), Some(vec![plain("b:2")])]), [plain("b:2")]);
}

#[test]
fn never_linked_gateway_can_be_skipped_until_it_is_linked() {
    let mut directory = Directory::<()>::default();
    directory.list(&[native("a:1"), native("b:2")]);
    directory.up("a:1", gateway(1), ());
    directory.down("b:2");
    assert_eq!(directory.required().map(|name| &**name).collect::<Vec<_>>(), ["b:2"]);
    directory.leave_out("b:2");
    directory.leave_out("a:1");
    assert_eq!((directory.required().count(), directory.left_out()), (0, 1), "the other is linked");
    assert_eq!(directory.missing().count(), 1, "it is still missing");
    directory.list(&[native("a:1")]);
    assert_eq!(directory.left_out(), 0, "no register lists it");
    directory.list(&[native("a:1"), native("b:2")]);
    directory.up("b:2", gateway(2), ());
    directory.down("b:2");
    directory.down("a:1");
    assert_eq!((directory.required().count(), directory.left_out()), (2, 0), "it was linked once");
}
