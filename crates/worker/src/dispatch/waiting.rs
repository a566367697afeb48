//! Handlers that wait for an answer of a gateway: a report, or the result of a query.
//!
//! They are kept by the task that reads the answers, and continued there. A task for each would be
//! woken on another thread, and write its acknowledgement alone; this one runs anyway, and writes
//! for all of them at once.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use runtime::sync::Mutex;
use tokio::task::coop;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    client_state::ClientState,
    gate::Permit,
    invoke::Outcome,
    lane::{Running, Ticket},
};

/// Maximum number of boxes that are kept for the next handlers.
const MAX_SPARE: usize = 128;

/// With more places than this, their memory is freed once no handler waits.
const MAX_PLACES: usize = 1024;

/// The waiting handlers of one link. There are no more than events that the link's gateway sends
/// without an acknowledgement.
#[derive(Default)]
pub(super) struct Waiting {
    places: Vec<Place>,
    free: Vec<usize>,
    count: usize,
    woken: Arc<Woken>,
    /// The last list of woken handlers, reused for the next.
    batch: Vec<usize>,
    spare: Vec<Running>,
    held: Option<Held>,
}

/// Held while any handler waits.
pub(super) type Held = (Permit, TaskTrackerToken);

struct Place {
    handler: Option<WaitingHandler>,
    waker: Waker,
}

/// A handler that waits for an answer.
pub(super) struct WaitingHandler {
    pub(super) running: Running,
    pub(super) state: Arc<ClientState>,
    pub(super) ticket: Ticket,
}

impl Waiting {
    /// The waker of the next handler, for its first poll. A handler that has completed may have kept
    /// it: it then wakes another one, which is polled in vain.
    pub(super) fn next_waker(&mut self) -> &Waker {
        let place = self.next_place();
        &self.places[place].waker
    }

    fn next_place(&mut self) -> usize {
        if let Some(place) = self.free.last() {
            return *place;
        }
        let place = self.places.len();
        let waker = Arc::new(PlaceWaker { place, woken: Arc::clone(&self.woken) }).into();
        self.places.push(Place { handler: None, waker });
        self.woken.state.lock().is_woken.resize(self.places.len(), false);
        self.free.push(place);
        place
    }

    /// Keeps a handler that was polled with the [next waker](Self::next_waker).
    pub(super) fn keep(&mut self, handler: WaitingHandler, hold: impl FnOnce() -> Held) {
        let place = self.next_place();
        self.free.pop();
        self.places[place].handler = Some(handler);
        self.count += 1;
        self.held.get_or_insert_with(hold);
    }

    /// A box for a handler.
    pub(super) fn spare(&mut self) -> Running {
        let new = || Running::new(std::future::ready(Outcome::Done(None)));
        self.spare.pop().unwrap_or_else(new)
    }

    /// From here until [`poll_woken`](Self::poll_woken) the task need not be woken: it continues the
    /// woken handlers by itself.
    pub(super) fn stay_awake(&self) {
        if self.count != 0 {
            self.woken.state.lock().task = None;
        }
    }

    /// Whether a handler was woken.
    pub(super) fn poll_woken(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.count == 0 {
            return Poll::Pending;
        }
        let mut state = self.woken.state.lock();
        if state.places.is_empty() {
            match &mut state.task {
                Some(task) => task.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        drop(state);
        if !coop::has_budget_remaining() {
            // Timers of the handlers would not be ready before other tasks have run.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// The places of the handlers that were woken, to be [returned](Self::reuse).
    pub(super) fn take_woken(&mut self) -> Vec<usize> {
        let mut batch = mem::take(&mut self.batch);
        if self.count != 0 {
            let mut state = self.woken.state.lock();
            mem::swap(&mut state.places, &mut batch);
            for place in &batch {
                state.is_woken[*place] = false;
            }
        }
        batch
    }

    /// Returns an empty list of places.
    pub(super) fn reuse(&mut self, batch: Vec<usize>) {
        self.batch = batch;
    }

    /// Takes a handler out to poll it; `None` if there is none any more. It is then to be
    /// [put back](Self::put_back), or its place to be [vacated](Self::vacate).
    pub(super) fn take(&mut self, place: usize) -> Option<WaitingHandler> {
        self.places.get_mut(place)?.handler.take()
    }

    /// The waker of a handler.
    pub(super) fn waker(&self, place: usize) -> &Waker {
        &self.places[place].waker
    }

    /// Keeps a handler that still waits.
    pub(super) fn put_back(&mut self, place: usize, handler: WaitingHandler) {
        self.places[place].handler = Some(handler);
    }

    /// Frees the place of a handler that was taken out.
    pub(super) fn vacate(&mut self, place: usize) {
        self.free.push(place);
        self.count -= 1;
        if self.count != 0 {
            return;
        }
        if MAX_PLACES < self.places.len() {
            let mut state = self.woken.state.lock();
            (state.places, state.is_woken) = (Vec::new(), Vec::new());
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
        self.held = None;
    }

    /// Keeps the box of a handler that has completed.
    pub(super) fn recycle(&mut self, running: Running) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(running);
        }
    }

    /// Takes all handlers out, with what was held for them.
    pub(super) fn take_all(&mut self) -> (Vec<WaitingHandler>, Option<Held>) {
        let Self { places, held, .. } = mem::take(self);
        (places.into_iter().filter_map(|place| place.handler).collect(), held)
    }
}

/// The handlers that were woken since they were last polled.
#[derive(Default)]
struct Woken {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Each once.
    places: Vec<usize>,
    is_woken: Vec<bool>,
    /// The task to be woken, unless it is awake.
    task: Option<Waker>,
}

struct PlaceWaker {
    place: usize,
    woken: Arc<Woken>,
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.woken.state.lock();
        match state.is_woken.get_mut(self.place) {
            Some(is_woken) if !*is_woken => *is_woken = true,
            _ => return,
        }
        state.places.push(self.place);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}
