//! Answers of registers about themselves.

use std::time::Duration;

use push_suite_cluster::{Cluster, Config};
use test_support::fakes::{FakeRegister, SECRET, soon};

const TIME: Duration = Duration::from_millis(300);

#[tokio::test]
async fn register_without_an_answer_about_itself_is_known_to_be_there() {
    let (older, silent) = (FakeRegister::start().await, FakeRegister::start().await);
    let cluster = Cluster::start(Config::new([older.address(), silent.address()], SECRET));
    // The subscription of the cluster itself.
    let (_followed, request) = older.subscriber().await;
    assert!(!request.about, "only on request");
    let (_followed, _) = silent.subscriber().await;
    let asked = cluster.registers(TIME);
    let answer = async {
        let (mut subscriber, request) = older.subscriber().await;
        assert!(request.about && request.instance.is_none());
        subscriber.list(&[]).await;
        let _unanswered = silent.subscriber().await;
        std::future::pending::<()>().await;
    };
    let reports = soon(async {
        tokio::select! {
            reports = asked => reports,
            () = answer => unreachable!(),
        }
    })
    .await;
    assert_eq!(reports.len(), 2);
    assert_eq!((&reports[0].address, &reports[0].about), (&older.address(), &Ok(None)));
    assert_eq!(reports[1].about, Err("no answer in time".to_owned()));
    drop(silent);
    drop(older);
    let away = cluster.registers(TIME).await;
    assert!(away[0].about.as_ref().is_err_and(|it| it.starts_with("cannot connect: ")), "{away:?}");
}
