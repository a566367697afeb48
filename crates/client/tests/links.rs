//! Links: who is let in, what is kept in order, what happens when one ends.

mod fake;

use client::{Cluster, Config, Error, Recipients, Status, link::OUTGOING_LIMIT};
use fake::{FakeGateway, FakeRegister, SECRET, sent_to, soon};
use protocol::{
    Answer, Command, Message, Secret,
    discovery::Gateway,
    link::{Role, ToGateway, ToPeer},
};
use tokio::io::AsyncReadExt as _;

fn cluster(registers: &[&FakeRegister]) -> Cluster {
    Cluster::start(Config::new(registers.iter().map(|it| it.address()), SECRET))
}

/// A cluster of one register and that many gateways, linked to each.
async fn linked<const N: usize>()
-> (Cluster, FakeRegister, fake::Follower, [(FakeGateway, fake::FakeLink); N]) {
    let register = FakeRegister::start().await;
    let mut gateways = Vec::new();
    for _ in 0..N {
        gateways.push(FakeGateway::start().await);
    }
    let cluster = cluster(&[&register]);
    let follower = register.tell(&gateways.iter().collect::<Vec<_>>()).await;
    let mut both = Vec::new();
    for gateway in gateways {
        let link = gateway.link().await;
        both.push((gateway, link));
    }
    soon(cluster.ready()).await;
    let both = both.try_into().map_err(drop).expect("as many as asked for");
    (cluster, register, follower, both)
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
async fn a_back_end_says_that_it_only_commands() {
    let (_cluster, _register, _follower, [(_, link)]) = linked::<1>().await;
    assert!(matches!(link.role, Some(Role::Client { .. })), "{:?}", link.role);
}

#[tokio::test]
async fn commands_arrive_in_order_and_numbered_from_one() {
    let (cluster, _register, _follower, [(gateway, mut link)]) = linked::<1>().await;
    for text in ["a", "b", "c"] {
        cluster.send_to_client(gateway.client(1), text).await.unwrap();
    }
    for (number, text) in [(1, "a"), (2, "b"), (3, "c")] {
        assert_eq!(link.numbered_command().await, (number, sent_to(1, text)));
    }
}

#[tokio::test]
async fn everyone_means_every_gateway_and_some_only_theirs() {
    let (cluster, _register, _follower, [(one, mut to_one), (_, mut to_two)]) = linked::<2>().await;
    let only = Recipients::Only(vec![one.client(5)]);
    cluster.send_to_all(only, "only").await.unwrap();
    cluster.send_to_uid("alice", "uid").await.unwrap();
    assert!(matches!(to_one.command().await, Command::SendToAll { .. }));
    for link in [&mut to_one, &mut to_two] {
        assert!(matches!(link.command().await, Command::SendToUids { .. }));
    }
}

#[tokio::test]
async fn answers_may_come_in_any_order_and_are_summed() {
    let (cluster, _register, _follower, [(_, mut one), (_, mut two)]) = linked::<2>().await;
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
async fn a_gateway_that_cannot_answer_is_named() {
    let (cluster, _register, _follower, [(_, mut one), (bad, mut two)]) = linked::<2>().await;
    let gateways = async {
        one.answer(|_| Answer::Count(1)).await;
        two.answer(|_| Answer::Unavailable).await;
    };
    let (count, ()) = tokio::join!(cluster.count(), gateways);
    let Err(Error::Unavailable { gateway }) = count else { panic!("{count:?}") };
    assert_eq!(gateway, bad.address());
}

#[tokio::test]
async fn a_gateway_that_dies_with_a_question_is_named() {
    let (cluster, _register, _follower, [(gateway, mut link)]) = linked::<1>().await;
    let dies = async {
        link.query().await;
        drop(link);
    };
    let (count, ()) = soon(async { tokio::join!(cluster.count(), dies) }).await;
    let Err(Error::Unreachable { gateway: named }) = count else { panic!("{count:?}") };
    assert_eq!(named, gateway.address());
}

#[tokio::test]
async fn a_gateway_with_another_secret_refuses_and_is_left_alone() {
    let register = FakeRegister::start().await;
    let mut gateway = FakeGateway::start().await;
    gateway.secret = Secret::from("other");
    let cluster = cluster(&[&register]);
    let _follower = register.tell(&[&gateway]).await;
    assert!(gateway.meet().await.is_err());
    soon(cluster.ready()).await;
    assert_eq!(cluster.status().missing, [gateway.address()]);
    let sent = cluster.send_to_client(gateway.client(1), "x").await;
    assert!(matches!(sent, Err(Error::Unreachable { .. })), "{sent:?}");
}

#[tokio::test]
async fn a_gateway_that_does_not_know_the_secret_is_not_spoken_to() {
    let register = FakeRegister::start().await;
    let mut gateway = FakeGateway::start().await;
    // It lets anyone in, and proves the knowledge of nothing.
    gateway.secret = Secret::default();
    let cluster = cluster(&[&register]);
    let _follower = register.tell(&[&gateway]).await;
    let mut link = gateway.link().await;
    assert!(soon(link.try_next()).await.is_none(), "closed without another word");
    soon(cluster.ready()).await;
    assert_eq!(cluster.status().linked, 0);
}

#[tokio::test]
async fn a_link_that_is_lost_comes_back() {
    let (cluster, _register, _follower, [(gateway, link)]) = linked::<1>().await;
    drop(link);
    let mut link = gateway.link().await;
    soon(async {
        while cluster.send_to_client(gateway.client(1), "again").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "again")), "counted anew");
}

#[tokio::test]
async fn a_gateway_that_no_register_names_keeps_its_link_but_is_not_called_again() {
    let register = FakeRegister::start().await;
    let (gateway, other) = (FakeGateway::start().await, FakeGateway::start().await);
    let config = Config::new([register.address()], SECRET);
    // Without that, it is called for as long as what is sent meanwhile waits for it.
    let cluster = Cluster::start(Config { gateway_grace: std::time::Duration::ZERO, ..config });
    let mut follower = register.tell(&[&gateway, &other]).await;
    let (mut link, _other_link) = (gateway.link().await, other.link().await);
    soon(cluster.ready()).await;
    follower.list(&[&other]).await;
    cluster.send_to_client(gateway.client(1), "still").await.unwrap();
    assert_eq!(link.command().await, sent_to(1, "still"));
    // Anything later than the list proves that the list was read.
    let third = FakeGateway::start().await;
    follower.list(&[&other, &third]).await;
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
async fn a_register_may_go_and_come_back_without_the_links_noticing() {
    let (cluster, register, follower, [(gateway, mut link)]) = linked::<1>().await;
    drop(follower);
    let (mut follower, hello) = register.follower().await;
    assert_eq!(hello.known, [gateway.address()]);
    follower.list(&[]).await;
    follower.list(&[&gateway]).await;
    cluster.send_to_client(gateway.client(1), "still").await.unwrap();
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "still")), "the same link");
}

#[tokio::test]
async fn what_any_register_names_counts() {
    let (one, two) = (FakeRegister::start().await, FakeRegister::start().await);
    let (left, right) = (FakeGateway::start().await, FakeGateway::start().await);
    let cluster = cluster(&[&one, &two]);
    let _one = one.tell(&[&left]).await;
    let mut two = two.tell(&[&right]).await;
    let (_to_left, _to_right) = (left.link().await, right.link().await);
    two.list(&[]).await;
    until(&cluster, |status| status.linked == 2).await;
    assert_eq!(cluster.status().registers, 2);
}

#[tokio::test]
async fn a_php_gateway_is_not_called_where_the_register_tells_the_difference() {
    let (cluster, _register, mut follower, [(gateway, _link)]) = linked::<1>().await;
    let php = FakeGateway::start().await;
    let native = Gateway { native: true, ..Gateway::plain(gateway.address()) };
    follower.say(vec![native, Gateway::plain(php.address())]).await;
    let called = tokio::time::timeout(std::time::Duration::from_millis(300), php.listener.accept());
    assert!(called.await.is_err());
    assert!(cluster.status().settled, "nobody waits for it");
}

#[tokio::test]
async fn a_gateway_that_hangs_up_on_us_is_taken_for_a_php_one() {
    let (register, php) = (FakeRegister::start().await, FakeGateway::start().await);
    let cluster = cluster(&[&register]);
    let (mut follower, _) = register.follower().await;
    follower.say(vec![Gateway::plain(php.address())]).await;
    let (mut stream, _) = soon(php.listener.accept()).await.unwrap();
    let mut magic = [0; 4];
    soon(stream.read_exact(&mut magic)).await.unwrap();
    drop(stream);
    soon(cluster.ready()).await;
    let called = tokio::time::timeout(std::time::Duration::from_millis(500), php.listener.accept());
    assert!(called.await.is_err(), "left alone for a while");
}

#[tokio::test]
async fn whoever_sends_more_than_a_gateway_reads_waits() {
    let (cluster, _register, _follower, [(gateway, mut link)]) = linked::<1>().await;
    link.takes = true;
    let piece = Message::binary(vec![0; 1024 * 1024]);
    let pieces = 4 * OUTGOING_LIMIT / piece.body.len();
    let to = gateway.client(1);
    let sending = cluster.clone();
    let sender = tokio::spawn(async move {
        for _ in 0..pieces {
            sending.send_to_client(to, piece.clone()).await.unwrap();
        }
    });
    // More than its buffers and the kernel's hold, so it cannot have finished.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!sender.is_finished());
    for _ in 0..pieces {
        link.command().await;
    }
    soon(sender).await.unwrap();
}

#[tokio::test]
async fn whoever_waits_for_room_learns_that_the_link_is_gone() {
    let (cluster, _register, _follower, [(gateway, link)]) = linked::<1>().await;
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
async fn close_waits_until_everything_was_read() {
    let (cluster, _register, _follower, [(gateway, mut link)]) = linked::<1>().await;
    for _ in 0..100 {
        cluster.send_to_client(gateway.client(1), "x").await.unwrap();
    }
    let (commands, ()) = tokio::join!(link.until_closed(), cluster.close());
    assert_eq!(commands.len(), 100);
}

#[tokio::test]
async fn a_ping_is_answered() {
    let (_cluster, _register, _follower, [(_, mut link)]) = linked::<1>().await;
    link.send(ToPeer::Ping { token: 9 }).await;
    assert_eq!(link.next().await, ToGateway::Pong { token: 9 });
}

#[tokio::test]
async fn garbage_ends_the_link_and_nothing_else() {
    use tokio::io::AsyncWriteExt as _;
    let (cluster, _register, _follower, [(gateway, mut link), (other, mut to_other)]) =
        linked::<2>().await;
    link.stream.write_all(b"\xff\xff\xff\xff garbage").await.unwrap();
    assert!(soon(link.try_next()).await.is_none());
    let _again = gateway.link().await;
    cluster.send_to_client(other.client(1), "fine").await.unwrap();
    assert_eq!(to_other.command().await, sent_to(1, "fine"));
}

#[tokio::test]
async fn a_gateway_that_says_nothing_is_asked_and_then_given_up() {
    let (_cluster, _register, _follower, [(gateway, mut link)]) = linked::<1>().await;
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
