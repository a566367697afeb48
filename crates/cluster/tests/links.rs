//! Links: authentication, order, and how they end.

use protocol::{
    Answer, Command, Message, Secret,
    discovery::Gateway,
    link::{Role, ToGateway, ToPeer},
};
use push_suite_cluster::{
    Cluster, ClusterGuard, Config, Error, Recipients, Status, internal::OUTGOING_LIMIT,
};
use test_support::fakes::{self, FakeGateway, FakeRegister, SECRET, sent_to, soon};
use tokio::io::AsyncReadExt as _;

fn cluster(registers: &[&FakeRegister]) -> ClusterGuard {
    Cluster::start(Config::new(registers.iter().map(|it| it.address()), SECRET))
}

/// A cluster with one register and that many linked gateways.
async fn linked<const N: usize>()
-> (ClusterGuard, FakeRegister, fakes::Subscriber, [(FakeGateway, fakes::FakeLink); N]) {
    let register = FakeRegister::start().await;
    let mut gateways = Vec::new();
    for _ in 0..N {
        gateways.push(FakeGateway::start().await);
    }
    let cluster = cluster(&[&register]);
    let subscriber = register.serve(&gateways.iter().collect::<Vec<_>>()).await;
    let mut both = Vec::new();
    for gateway in gateways {
        let link = gateway.link().await;
        both.push((gateway, link));
    }
    soon(cluster.ready()).await;
    let both = both.try_into().map_err(drop).expect("`N` gateways");
    (cluster, register, subscriber, both)
}

async fn until(cluster: &Cluster, holds: impl Fn(&Status) -> bool) {
    soon(async {
        while !holds(&cluster.status()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn back_end_links_in_the_back_end_role() {
    let (_cluster, _register, _subscriber, [(_, link)]) = linked::<1>().await;
    assert!(matches!(link.role, Some(Role::Backend { .. })), "{:?}", link.role);
}

#[tokio::test]
async fn commands_arrive_in_order_and_numbered_from_one() {
    let (cluster, _register, _subscriber, [(gateway, mut link)]) = linked::<1>().await;
    for text in ["a", "b", "c"] {
        cluster.send_to_client(gateway.client(1), text).await.unwrap();
    }
    for (number, text) in [(1, "a"), (2, "b"), (3, "c")] {
        assert_eq!(link.numbered_command().await, (number, sent_to(1, text)));
    }
}

#[tokio::test]
async fn commands_go_to_every_gateway_or_only_to_those_of_the_recipients() {
    let (cluster, _register, _subscriber, [(one, mut to_one), (_, mut to_two)]) =
        linked::<2>().await;
    let only = Recipients::Only(vec![one.client(5)]);
    cluster.send_to_all(only, "only").await.unwrap();
    cluster.send_to_uid("alice", "uid").await.unwrap();
    assert!(matches!(to_one.command().await, Command::SendToAll { .. }));
    for link in [&mut to_one, &mut to_two] {
        assert!(matches!(link.command().await, Command::SendToUids { .. }));
    }
}

#[tokio::test]
async fn answers_in_any_order_are_summed() {
    let (cluster, _register, _subscriber, [(_, mut one), (_, mut two)]) = linked::<2>().await;
    let gateways = async {
        let (first, _) = one.query().await;
        let (second, _) = one.query().await;
        two.answer(|_| Answer::Count(1)).await;
        two.answer(|_| Answer::Count(10)).await;
        one.send(ToPeer::Answer { request: second, answer: Answer::Count(20) }).await;
        one.send(ToPeer::Answer { request: first, answer: Answer::Count(2) }).await;
    };
    let counts = async { tokio::join!(cluster.count(), cluster.group_count("room")) };
    let ((all, group), ()) = soon(async { tokio::join!(counts, gateways) }).await;
    assert_eq!((all.unwrap(), group.unwrap()), (3, 30));
}

#[tokio::test]
async fn unavailable_gateway_is_named_in_the_error() {
    let (cluster, _register, _subscriber, [(_, mut one), (bad, mut two)]) = linked::<2>().await;
    let gateways = async {
        one.answer(|_| Answer::Count(1)).await;
        two.answer(|_| Answer::Unavailable).await;
    };
    let (count, ()) = tokio::join!(cluster.count(), gateways);
    let Err(Error::Unavailable { gateway }) = count else { panic!("{count:?}") };
    assert_eq!(gateway, bad.address());
}

#[tokio::test]
async fn gateway_that_closes_during_a_query_is_named_in_the_error() {
    let (cluster, _register, _subscriber, [(gateway, mut link)]) = linked::<1>().await;
    let dies = async {
        link.query().await;
        drop(link);
    };
    let (count, ()) = soon(async { tokio::join!(cluster.count(), dies) }).await;
    let Err(Error::Unreachable { gateway: named }) = count else { panic!("{count:?}") };
    assert_eq!(named, gateway.address());
}

#[tokio::test]
async fn gateway_with_another_secret_refuses_and_stays_missing() {
    let register = FakeRegister::start().await;
    let mut gateway = FakeGateway::start().await;
    gateway.secret = Secret::from("other");
    let cluster = cluster(&[&register]);
    let _subscriber = register.serve(&[&gateway]).await;
    assert!(gateway.accept().await.is_err());
    soon(cluster.ready()).await;
    assert_eq!(cluster.status().missing, [gateway.address()]);
    let sent = cluster.send_to_client(gateway.client(1), "x").await;
    assert!(matches!(sent, Err(Error::Unreachable { .. })), "{sent:?}");
}

#[tokio::test]
async fn gateway_without_the_secret_is_not_linked() {
    let register = FakeRegister::start().await;
    let mut gateway = FakeGateway::start().await;
    // It admits any peer, and cannot prove the secret.
    gateway.secret = Secret::default();
    let cluster = cluster(&[&register]);
    let _subscriber = register.serve(&[&gateway]).await;
    let mut link = gateway.link().await;
    assert!(soon(link.try_next()).await.is_none(), "closed without a further message");
    soon(cluster.ready()).await;
    assert_eq!(cluster.status().linked, 0);
}

#[tokio::test]
async fn lost_link_is_reestablished() {
    let (cluster, _register, _subscriber, [(gateway, link)]) = linked::<1>().await;
    drop(link);
    let mut link = gateway.link().await;
    soon(async {
        while cluster.send_to_client(gateway.client(1), "again").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "again")), "sent once");
}

#[tokio::test]
async fn unlisted_gateway_keeps_its_link_but_is_not_dialled_again() {
    let register = FakeRegister::start().await;
    let (gateway, other) = (FakeGateway::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET);
    // With a longer grace period, it is dialled while commands wait for it.
    let cluster = Cluster::start(config.gateway_grace(std::time::Duration::ZERO));
    let mut subscriber = register.serve(&[&gateway, &other]).await;
    let (mut link, _other_link) = (gateway.link().await, other.link().await);
    soon(cluster.ready()).await;
    subscriber.list(&[&other]).await;
    cluster.send_to_client(gateway.client(1), "still").await.unwrap();
    assert_eq!(link.command().await, sent_to(1, "still"));
    // A later link proves that the list was read.
    let third = FakeGateway::start().await;
    subscriber.list(&[&other, &third]).await;
    let _third_link = third.link().await;
    until(&cluster, |status| status.linked == 3).await;
    drop(link);
    until(&cluster, |status| status.linked == 2).await;
    assert_eq!(cluster.status().missing, [""; 0]);
    let called =
        tokio::time::timeout(std::time::Duration::from_millis(300), gateway.listener.accept());
    assert!(called.await.is_err());
}

#[tokio::test]
async fn register_restart_does_not_affect_links() {
    let (cluster, register, subscriber, [(gateway, mut link)]) = linked::<1>().await;
    drop(subscriber);
    let (mut subscriber, hello) = register.subscriber().await;
    assert_eq!(hello.known, [gateway.address()]);
    subscriber.list(&[]).await;
    subscriber.list(&[&gateway]).await;
    cluster.send_to_client(gateway.client(1), "still").await.unwrap();
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "still")), "the same link");
}

#[tokio::test]
async fn union_of_all_registers_is_linked() {
    let (one, two) = (FakeRegister::start().await, FakeRegister::start().await);
    let (left, right) = (FakeGateway::start().await, FakeGateway::start().await);
    let cluster = cluster(&[&one, &two]);
    let _one = one.serve(&[&left]).await;
    let mut two = two.serve(&[&right]).await;
    let (_to_left, _to_right) = (left.link().await, right.link().await);
    two.list(&[]).await;
    until(&cluster, |status| status.linked == 2).await;
    assert_eq!(cluster.status().registers, 2);
}

#[tokio::test]
async fn php_gateway_marked_by_the_register_is_not_dialled() {
    let (cluster, _register, mut subscriber, [(gateway, _link)]) = linked::<1>().await;
    let php = FakeGateway::start().await;
    let native = Gateway { native: true, ..Gateway::plain(gateway.address()) };
    subscriber.send_gateways(vec![native, Gateway::plain(php.address())]).await;
    let called = tokio::time::timeout(std::time::Duration::from_millis(300), php.listener.accept());
    assert!(called.await.is_err());
    assert!(cluster.status().settled, "it is not awaited");
}

#[tokio::test]
async fn gateway_that_closes_before_the_challenge_is_treated_as_php() {
    let (register, php) = (FakeRegister::start().await, FakeGateway::start().await);
    let cluster = cluster(&[&register]);
    let (mut subscriber, _) = register.subscriber().await;
    subscriber.send_gateways(vec![Gateway::plain(php.address())]).await;
    let (mut stream, _) = soon(php.listener.accept()).await.unwrap();
    let mut magic = [0; 4];
    soon(stream.read_exact(&mut magic)).await.unwrap();
    drop(stream);
    soon(cluster.ready()).await;
    let called = tokio::time::timeout(std::time::Duration::from_millis(500), php.listener.accept());
    assert!(called.await.is_err(), "not dialled for a while");
}

#[tokio::test]
async fn sender_waits_while_a_gateway_reads_slowly() {
    let (cluster, _register, _subscriber, [(gateway, mut link)]) = linked::<1>().await;
    link.acks_commands = true;
    let piece = Message::binary(vec![0; 1024 * 1024]);
    let pieces = 4 * OUTGOING_LIMIT / piece.body.len();
    let to = gateway.client(1);
    let sending = cluster.clone();
    let sender = tokio::spawn(async move {
        for _ in 0..pieces {
            sending.send_to_client(to, piece.clone()).await.unwrap();
        }
    });
    // More than all buffers hold, so that the sender cannot have finished.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!sender.is_finished());
    for _ in 0..pieces {
        link.command().await;
    }
    soon(sender).await.unwrap();
}

#[tokio::test]
async fn blocked_sender_fails_when_the_link_closes() {
    let (cluster, _register, _subscriber, [(gateway, link)]) = linked::<1>().await;
    let to = gateway.client(1);
    let sender = tokio::spawn(async move {
        let piece = Message::binary(vec![0; 1024 * 1024]);
        loop {
            if let Err(error) = cluster.send_to_client(to, piece.clone()).await {
                return error;
            }
        }
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    drop((link, gateway));
    assert!(matches!(soon(sender).await.unwrap(), Error::Unreachable { .. }));
}

#[tokio::test]
async fn close_waits_until_all_commands_are_read() {
    let (cluster, _register, _subscriber, [(gateway, mut link)]) = linked::<1>().await;
    for _ in 0..100 {
        cluster.send_to_client(gateway.client(1), "x").await.unwrap();
    }
    let (commands, ()) = tokio::join!(link.until_closed(), cluster.close());
    assert_eq!(commands.len(), 100);
}

#[tokio::test]
async fn ping_is_answered() {
    let (_cluster, _register, _subscriber, [(_, mut link)]) = linked::<1>().await;
    link.send(ToPeer::Ping { token: 9 }).await;
    assert_eq!(link.next().await, ToGateway::Pong { token: 9 });
}

#[tokio::test]
async fn invalid_frame_closes_only_its_link() {
    use tokio::io::AsyncWriteExt as _;
    let (cluster, _register, _subscriber, [(gateway, mut link), (other, mut to_other)]) =
        linked::<2>().await;
    link.stream.write_all(b"\xff\xff\xff\xff garbage").await.unwrap();
    assert!(soon(link.try_next()).await.is_none());
    let _again = gateway.link().await;
    cluster.send_to_client(other.client(1), "fine").await.unwrap();
    assert_eq!(to_other.command().await, sent_to(1, "fine"));
}

#[tokio::test]
async fn silent_gateway_is_probed_and_then_disconnected() {
    let (_cluster, _register, _subscriber, [(gateway, mut link)]) = linked::<1>().await;
    tokio::time::pause();
    let mut asked = 0;
    while let Some(message) = link.try_next().await {
        assert!(matches!(message, ToGateway::Ping { .. }), "{message:?}");
        asked += 1;
    }
    assert_eq!(asked, 5);
    tokio::time::resume();
    let _again = gateway.link().await;
}
