//! The behavior of a client, in each mode that keeps its connections.

use std::{
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::shared::{Local, Phase, Run};
use crate::{
    account::Stream,
    frame,
    link::{Link, Outgoing},
    pusher::Pusher,
};

/// Prepares a client: in the group and bound to a uid, its buffers used once.
pub(super) async fn prepare(link: &mut Link, local: &Local, index: usize) -> io::Result<()> {
    let plan = &local.run.plan;
    if let Some(pusher) = &plan.pusher {
        return subscribe(link, local, pusher, index).await;
    }
    for message in plan.preparation(index) {
        let mut frame = Vec::new();
        frame::text(&plan.protocol.wrap(&message), &mut frame);
        link.out.send(&frame)?;
        let mut answered = false;
        while !answered {
            link.receive(&local.input, |front, size| {
                answered |= size == message.len() as u64 && front.first() == message.first();
            })
            .await?;
        }
    }
    Ok(())
}

/// Subscribes a client to its channels, one after the other.
async fn subscribe(
    link: &mut Link,
    local: &Local,
    pusher: &Pusher,
    index: usize,
) -> io::Result<()> {
    for channel in local.run.plan.channels(pusher, index) {
        let mut frame = Vec::new();
        frame::text(&pusher.subscribe(link.name(), index, &channel), &mut frame);
        let before = link.subscribed();
        link.out.send(&frame)?;
        while link.subscribed() == before {
            link.receive(&local.input, |_, _| {}).await?;
        }
    }
    Ok(())
}

/// Sends messages and, for each echo, the next (closed loop).
pub(super) async fn echo(mut link: Link, local: Rc<Local>, index: usize) {
    let start = local.started().await;
    // Those of the preparation do not count.
    link.take_bytes();
    let mut streams = [Stream::default()];
    let mut next = 0;
    let mut credit = local.run.plan.window;
    let ended = loop {
        if 0 < credit
            && local.run.is_sending()
            && let Err(error) = send(&link.out, &local, index, &mut next, credit, start)
        {
            break error;
        }
        credit = 0;
        let read = link.receive(&local.input, |front, size| {
            let new = local.record(&mut streams, index, (front, size), start);
            credit += u32::from(new.is_some());
        });
        if let Err(error) = read.await {
            break error;
        }
        local.counters.borrow_mut().account.bytes += link.take_bytes();
        local.run.live.delivered.fetch_add(u64::from(credit), Relaxed);
    };
    lost(&local.run, &ended);
}

/// Receives the messages of a pacer, or of the senders of a fan-out.
pub(super) async fn receive(mut link: Link, local: Rc<Local>, index: usize) {
    let start = local.started().await;
    link.take_bytes();
    let run = &local.run;
    let fanout = run.plan.is_fanout();
    let closed_loop = fanout && run.plan.rate.is_none();
    let (first, senders) = if fanout { (0, run.plan.senders) } else { (index, 1) };
    let mut streams = vec![Stream::default(); senders];
    let ended = loop {
        let mut new = 0;
        let read = link.receive(&local.input, |front, size| {
            if let Some((sender, number)) = local.record(&mut streams, first, (front, size), start)
            {
                new += 1;
                if closed_loop {
                    run.in_flight.receive(sender, number);
                }
            }
        });
        if let Err(error) = read.await {
            break error;
        }
        local.counters.borrow_mut().account.bytes += link.take_bytes();
        run.live.delivered.fetch_add(new, Relaxed);
    };
    lost(run, &ended);
}

/// Sends a fan-out message, and the next when all recipients have received one (closed loop).
pub(super) async fn send_fanout(out: Arc<Outgoing>, local: Rc<Local>, index: usize) {
    let start = local.started().await;
    let run = &local.run;
    let mut next = 0;
    while run.is_sending() {
        let mut free = 0;
        while free < run.plan.window && run.in_flight.reserve(index, next + free) {
            free += 1;
        }
        if 0 < free && send(&out, &local, index, &mut next, free, start).is_err() {
            // The receiving half reports the error.
            return;
        }
        run.in_flight.completed(index).await;
    }
}

/// Does not read until the end, and then counts whether the server has closed the connection.
pub(super) async fn stall(link: Link, local: Rc<Local>) {
    local.reached(Phase::Over).await;
    if link.is_closed() {
        local.run.live.shed.fetch_add(1, Relaxed);
    }
}

/// Sends nothing but pongs, and the answers to messages if the plan has one.
pub(super) async fn idle(mut link: Link, local: Rc<Local>) {
    let plan = &local.run.plan;
    let mut answer = Vec::new();
    if let Some(text) = &plan.answer {
        frame::text(&plan.protocol.wrap(text.as_bytes()), &mut answer);
    }
    let ended = loop {
        let mut received = 0;
        if let Err(error) = link.receive(&local.input, |_, _| received += 1).await {
            break error;
        }
        if plan.answer.is_none() {
            local.counters.borrow_mut().account.foreign += received;
            continue;
        }
        let sent = (0..received).try_for_each(|_| link.out.send(&answer));
        if let Err(error) = sent {
            break error;
        }
        local.run.live.answered.fetch_add(received, Relaxed);
    };
    lost(&local.run, &ended);
}

/// Sends some messages that are due now, in one write.
pub(super) fn send(
    out: &Outgoing,
    local: &Local,
    index: usize,
    next: &mut u32,
    count: u32,
    start: Instant,
) -> io::Result<()> {
    let mut frames = local.output.borrow_mut();
    frames.clear();
    for _ in 0..count {
        let stamp = local.run.stamp(index, *next, start.elapsed());
        local.run.template.append(&stamp, &mut frames);
        *next = next.wrapping_add(1);
    }
    local.run.live.sent.fetch_add(u64::from(count), Relaxed);
    out.send(&frames)
}

fn lost(run: &Run, error: &io::Error) {
    run.live.connected.fetch_sub(1, Relaxed);
    run.live.record_failure(format!("a client's connection ended: {error}"));
}
