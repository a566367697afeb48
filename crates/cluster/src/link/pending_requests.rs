//! Matches responses to the requests that wait for them.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use runtime::sync::{Mutex, MutexGuard};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The maximum number of unanswered requests of one link. Beyond it, requests fail at once.
const MAX_UNANSWERED: usize = 1 << PLACE_BITS;

/// The lowest bits of a request's number: its place.
const PLACE_BITS: u32 = 16;

/// The bits of a request's number that distinguish it from others of its link.
pub(super) const NUMBER_BITS: u32 = 56;

/// With more places than this, their memory is freed once no request waits.
const MAX_SPARE: usize = 1024;

/// Waiting requests, by number.
#[derive(Debug)]
pub(crate) struct PendingRequests<T> {
    state: Mutex<State<T>>,
    /// Notified when a deadline is the earliest.
    earlier: Notify,
    /// How often a task began to wait for a response, to these requests and others.
    waits: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State<T> {
    /// The number of none of the requests.
    none: u64,
    /// The number of requests so far.
    count: u64,
    places: Vec<Place<T>>,
    /// Places without a request.
    free: Vec<u16>,
    closed: bool,
    /// When the deadlines are checked next. Not after the earliest.
    check: Option<Instant>,
}

/// The place of a request, which its number contains: responses are matched without a search.
#[derive(Debug)]
struct Place<T> {
    /// The number of its request, or of the last one.
    number: u64,
    request: Option<Request<T>>,
}

/// A request that waits for its response, or has one that was not collected.
#[derive(Debug)]
struct Request<T> {
    response: Option<T>,
    waker: Option<Waker>,
    deadline: Option<Instant>,
}

/// A pending request; dropping it frees its place.
#[derive(Debug)]
pub(crate) struct Ticket<'a, T> {
    pub(crate) number: u64,
    /// Whether its place is free already.
    done: bool,
    owner: &'a PendingRequests<T>,
}

/// Too many requests are pending.
#[derive(Debug)]
pub(crate) struct TooMany;

impl<T> Default for PendingRequests<T> {
    fn default() -> Self {
        Self::after(0, Arc::default())
    }
}

impl<T> PendingRequests<T> {
    /// Numbers requests from above `none`, whose lowest [`NUMBER_BITS`] are 0. `waits` counts how
    /// often a task begins to wait.
    pub(crate) fn after(none: u64, waits: Arc<AtomicU64>) -> Self {
        let (places, free) = (Vec::new(), Vec::new());
        let state = State { none, count: 0, places, free, closed: false, check: None };
        Self { state: Mutex::new(state), earlier: Notify::new(), waits }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }

    /// Registers a request and assigns its number.
    pub(crate) fn ticket(&self) -> Result<Ticket<'_, T>, TooMany> {
        let number = self.lock().add().ok_or(TooMany)?;
        Ok(Ticket { number, done: false, owner: self })
    }

    /// Delivers a response, unless its request was dropped.
    pub(crate) fn resolve(&self, number: u64, value: T) {
        let waker = self.lock().resolve(number, value);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Delivers several responses.
    pub(crate) fn resolve_all(&self, responses: impl ExactSizeIterator<Item = (u64, T)>) {
        let mut wakers = Vec::with_capacity(responses.len());
        let mut state = self.lock();
        wakers.extend(responses.filter_map(|(number, value)| state.resolve(number, value)));
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// No further response will arrive.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Those that have a response keep it.
        let wakers = state.end(|request| request.response.is_none());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the requests whose deadlines pass: to be polled as long as responses arrive. One timer
    /// serves all requests, and is not set again for each.
    pub(crate) async fn expire(&self) -> Infallible {
        loop {
            let check = self.lock().check;
            match check {
                None => self.earlier.notified().await,
                Some(check) => tokio::select! {
                    () = sleep_until(check) => self.end_expired(Instant::now()),
                    () = self.earlier.notified() => {}
                },
            }
        }
    }

    fn end_expired(&self, now: Instant) {
        let mut state = self.lock();
        let wakers = state.end(|request| {
            request.response.is_none() && request.deadline.is_some_and(|deadline| deadline <= now)
        });
        let waiting = state.places.iter().filter_map(|place| place.request.as_ref());
        state.check = waiting.filter_map(|request| request.deadline).min();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll(
        &self,
        number: u64,
        deadline: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<T>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(request) = state.get(number) else { return Poll::Ready(None) };
        if let Some(response) = request.response.take() {
            state.remove(number);
            return Poll::Ready(Some(response));
        }
        match &mut request.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        let is_new = request.deadline != deadline;
        request.deadline = deadline;
        let is_earliest =
            is_new && deadline.is_some_and(|it| state.check.is_none_or(|check| it < check));
        if is_earliest {
            state.check = deadline;
        }
        drop(guard);
        if is_earliest {
            self.earlier.notify_one();
        }
        self.waits.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }
}

impl<T> State<T> {
    fn add(&mut self) -> Option<u64> {
        if self.closed {
            return Some(self.none);
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.places.len() == MAX_UNANSWERED => return None,
            None => {
                self.places.push(Place { number: self.none, request: None });
                (self.places.len() - 1) as u16
            }
        };
        self.count += 1;
        let number = self.none | (self.count << PLACE_BITS) | u64::from(place);
        let request = Some(Request { response: None, waker: None, deadline: None });
        self.places[usize::from(place)] = Place { number, request };
        Some(number)
    }

    fn place(&mut self, number: u64) -> Option<&mut Place<T>> {
        // Its lowest bits.
        let place = self.places.get_mut(usize::from(number as u16))?;
        (place.number == number).then_some(place)
    }

    fn get(&mut self, number: u64) -> Option<&mut Request<T>> {
        self.place(number)?.request.as_mut()
    }

    fn resolve(&mut self, number: u64, value: T) -> Option<Waker> {
        let request = self.get(number)?;
        request.response = Some(value);
        request.waker.take()
    }

    fn remove(&mut self, number: u64) {
        if self.place(number).is_some_and(|place| place.request.take().is_some()) {
            self.vacate(number as u16);
        }
    }

    /// Removes the requests that are `such`, and returns their wakers.
    fn end(&mut self, such: impl Fn(&Request<T>) -> bool) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let mut vacated = Vec::new();
        for (at, place) in self.places.iter_mut().enumerate() {
            if let Some(request) = place.request.take_if(|request| such(request)) {
                wakers.extend(request.waker);
                vacated.push(at as u16);
            }
        }
        vacated.into_iter().for_each(|place| self.vacate(place));
        wakers
    }

    fn vacate(&mut self, place: u16) {
        self.free.push(place);
        // Numbers are not reused, so places may be. Frees the memory of a burst.
        if MAX_SPARE < self.places.len() && self.free.len() == self.places.len() {
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
    }
}

impl<T> Ticket<'_, T> {
    /// Waits for the response; `None` when the link has closed. Not to be called again once it has
    /// returned.
    pub(crate) async fn wait(&mut self) -> Option<T> {
        self.wait_until(None).await
    }

    /// The same until `deadline`, if there is one. [`PendingRequests::expire`] ends it.
    pub(crate) async fn wait_until(&mut self, deadline: Option<Instant>) -> Option<T> {
        let response = poll_fn(|cx| self.owner.poll(self.number, deadline, cx)).await;
        self.done = true;
        response
    }
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        if !self.done {
            self.owner.lock().remove(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn responses_in_any_order_reach_their_requests() {
        let correlated = PendingRequests::default();
        let (mut first, mut second) = (correlated.ticket().unwrap(), correlated.ticket().unwrap());
        correlated.resolve(second.number, "second");
        correlated.resolve(first.number, "first");
        correlated.resolve(99, "unknown");
        assert_eq!(first.wait().await, Some("first"));
        assert_eq!(second.wait().await, Some("second"));
    }

    #[tokio::test]
    async fn waiting_task_is_woken_by_the_response_or_the_end_of_the_link() {
        let correlated = PendingRequests::default();
        let (mut first, mut second) = (correlated.ticket().unwrap(), correlated.ticket().unwrap());
        let number = first.number;
        let answered = async {
            tokio::task::yield_now().await;
            correlated.resolve(number, "first");
            tokio::task::yield_now().await;
            correlated.close();
        };
        let (first, second, ()) = tokio::join!(first.wait(), second.wait(), answered);
        assert_eq!((first, second), (Some("first"), None));
    }

    #[tokio::test]
    async fn request_on_a_closed_link_fails_at_once() {
        let correlated = PendingRequests::<()>::default();
        let mut before = correlated.ticket().unwrap();
        correlated.close();
        assert_eq!(before.wait().await, None);
        assert_eq!(correlated.ticket().unwrap().wait().await, None);
    }

    #[tokio::test]
    async fn response_before_the_end_of_the_link_is_kept() {
        let correlated = PendingRequests::default();
        let mut answered = correlated.ticket().unwrap();
        correlated.resolve(answered.number, "first");
        correlated.close();
        assert_eq!(answered.wait().await, Some("first"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_ends_at_its_deadline_and_not_before() {
        let correlated = PendingRequests::<&str>::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut late = correlated.ticket().unwrap();
        let mut early = correlated.ticket().unwrap();
        let mut answered = correlated.ticket().unwrap();
        let mut patient = correlated.ticket().unwrap();
        let (answered_number, patient_number) = (answered.number, patient.number);
        let waits = async {
            tokio::join!(
                async { (late.wait_until(Some(after(700))).await, start.elapsed()) },
                async { (early.wait_until(Some(after(300))).await, start.elapsed()) },
                async { (answered.wait_until(Some(after(500))).await, start.elapsed()) },
                async { (patient.wait().await, start.elapsed()) },
                async {
                    sleep_until(after(400)).await;
                    correlated.resolve(answered_number, "answered");
                    sleep_until(after(900)).await;
                    correlated.resolve(patient_number, "patient");
                },
            )
        };
        let (late, early, answered, patient, ()) = tokio::select! {
            all = waits => all,
            never = correlated.expire() => match never {},
        };
        let at = |millis| after(millis) - start;
        let tick = Duration::from_millis(2);
        for ((outcome, took), (expected, at)) in [late, early, answered, patient].into_iter().zip([
            (None, at(700)),
            (None, at(300)),
            (Some("answered"), at(400)),
            (Some("patient"), at(900)),
        ]) {
            assert_eq!(outcome, expected);
            assert!(at <= took && took <= at + tick, "{took:?} instead of {at:?}");
        }
        assert_eq!(correlated.lock().free.len(), 4);
    }

    #[tokio::test]
    async fn late_response_is_not_that_of_the_next_request_in_its_place() {
        let correlated = PendingRequests::after(7 << NUMBER_BITS, Arc::default());
        let late = correlated.ticket().unwrap().number;
        let mut next = correlated.ticket().unwrap();
        assert_eq!(late as u16, next.number as u16);
        correlated.resolve_all([(late, "late"), (7 << NUMBER_BITS, "none")].into_iter());
        correlated.resolve_all([(next.number, "next")].into_iter());
        assert_eq!(next.wait().await, Some("next"));
        correlated.resolve(next.number, "again");
        assert!(correlated.ticket().unwrap().number >> NUMBER_BITS == 7);
    }

    #[test]
    fn dropped_requests_free_their_places() {
        let correlated = PendingRequests::<()>::default();
        let tickets: Vec<_> = (0..MAX_UNANSWERED).map(|_| correlated.ticket().unwrap()).collect();
        assert!(correlated.ticket().is_err());
        drop(tickets);
        assert_eq!(correlated.lock().places.len(), 0, "the memory of a burst is freed");
        assert!(correlated.ticket().is_ok());
    }
}
