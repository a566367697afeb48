//! When traces are finished, and what became of the push.

use super::*;

const TOKEN: Token = Token(7);
const ID: ConnectionId = ConnectionId(3);

/// A trace with one client, with `left` bytes up to the end of the push.
fn open(start: Instant, left: usize) -> Traces {
    let mut traces = Traces::default();
    traces.open(TOKEN, start, Duration::from_secs(2));
    let at = start + Duration::from_micros(5);
    traces.queued(TOKEN, Queued { key: 9, id: ID, at, queue_bytes: 30, fate: Err(left) });
    traces
}

/// The fate of its only client, if it is finished.
fn fate(traces: &mut Traces, now: Instant) -> Option<TracedFate> {
    let finished = traces.take_finished(2, now, |_, _| true);
    finished.first().map(|(token, part)| {
        assert_eq!((*token, part.matched, part.clients.len()), (TOKEN, 1, 1));
        let (id, queued, queue_bytes, fate) = part.clients[0];
        assert_eq!((id, queued, queue_bytes), (ID, 5, 30));
        fate
    })
}

#[test]
fn push_is_written_once_everything_before_it_and_itself_is() {
    let start = Instant::now();
    let at = |micros| start + Duration::from_micros(micros);
    let mut traces = open(start, 100);
    traces.written(9, Some(ID), 99, false, at(10));
    traces.written(8, Some(ID), 99, false, at(11));
    traces.written(9, Some(ConnectionId(4)), 99, false, at(12));
    assert_eq!(fate(&mut traces, at(13)), None, "others are not counted");
    traces.written(9, Some(ID), 50, true, at(25));
    assert_eq!(fate(&mut traces, at(26)), None, "TLS has bytes that are not written");
    traces.written(9, Some(ID), 0, false, at(45));
    traces.written(9, Some(ID), 10, false, at(60));
    assert_eq!(fate(&mut traces, at(61)), None, "it may have further clients");
    traces.complete(TOKEN);
    assert_eq!(fate(&mut traces, at(61)), Some(TracedFate::Written { after: 40 }));
    assert!(traces.is_empty());
}

#[test]
fn client_that_does_not_read_is_reported_at_the_deadline() {
    let start = Instant::now();
    let mut traces = open(start, 100);
    traces.complete(TOKEN);
    traces.written(9, Some(ID), 40, false, start);
    assert_eq!(fate(&mut traces, start + Duration::from_millis(1999)), None);
    let since = 2_000_000 - 5;
    let waiting = Some(TracedFate::Waiting { since, left: 60 });
    assert_eq!(fate(&mut traces, start + Duration::from_secs(2)), waiting);
}

#[test]
fn closed_client_and_known_fates_are_not_waited_for() {
    let start = Instant::now();
    let mut traces = open(start, 100);
    let queued = Queued {
        key: 1,
        id: ConnectionId(1),
        at: start,
        queue_bytes: 0,
        fate: Ok(TracedFate::Dropped),
    };
    traces.queued(TOKEN, queued);
    traces.complete(TOKEN);
    assert!(traces.take_finished(2, start, |_, _| true).is_empty());
    let finished = traces.take_finished(2, start, |key, id| (key, id) != (9, ID));
    let fates: Vec<_> = finished[0].1.clients.iter().map(|(.., fate)| *fate).collect();
    assert_eq!(fates, [TracedFate::Closed, TracedFate::Dropped]);
}

#[test]
fn clients_beyond_the_limit_are_counted() {
    let start = Instant::now();
    let mut traces = Traces::default();
    traces.open(TOKEN, start, Duration::from_secs(2));
    for key in 0..MAX_TRACED as SlotKey + 10 {
        let fate = Ok(TracedFate::HeldBack);
        traces.queued(TOKEN, Queued { key, id: ID, at: start, queue_bytes: 0, fate });
    }
    traces.complete(TOKEN);
    let part = traces.take_finished(2, start, |_, _| true).remove(0).1;
    assert_eq!((part.matched, part.clients.len()), (MAX_TRACED as u64 + 10, MAX_TRACED));
}
