//! One receiver: its connections, its circuit, its queue, and how many requests it has at a time.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{
    HeaderValue, Method, Request,
    header::{HOST, USER_AGENT},
};
use http_body_util::Full;
use runtime::{clock, random, rate_limit::Throttle, supervise, sync::Mutex};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Target,
    batch::Batches,
    connections::Connections,
    metrics::{Dropped, Metrics, Outcome},
    request::{Attempt, Delivered, Failure, HookRequest, HookResponse, OrderKey, QueueFull},
};
use crate::{
    circuit::{Admission, Circuit, Pass},
    cloudevents::REQUEST_ORIGIN,
    lanes::{Lanes, Limits, Pushed},
    schedule::Schedule,
    url::HookUrl,
    verdict::{self, Verdict},
};

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("push-suite/", env!("CARGO_PKG_VERSION")));

/// The least time for an attempt: with less, a receiver that works may not answer in time.
pub const LEAST_TIME: Duration = Duration::from_millis(100);

/// The state of a receiver, which lasts while its settings are read again.
#[derive(Debug)]
pub(super) struct Receiver {
    url: HookUrl,
    origin: Option<String>,
    /// Whether the receiver has allowed the origin.
    is_allowed: AtomicBool,
    connections: Arc<Connections>,
    circuit: Mutex<Circuit>,
    /// Notified when the circuit closes, or its probe has ended.
    circuit_changed: Notify,
    places: Semaphore,
    lanes: Mutex<Lanes<OrderKey, Posted>>,
    pub(super) batches: Mutex<Batches>,
    /// It has answered 410.
    is_off: AtomicBool,
    warnings: Mutex<Throttle>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// A queued request, and what is cancelled once it is accepted, or given up.
type Posted = (HookRequest, Option<CancellationToken>);

/// How requests are sent to a receiver.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// The longest time from the start of an attempt to the end of its answer.
    pub timeout: Duration,
    /// For how long a request is sent again after its first attempt.
    pub retry: Duration,
    /// Whether a 4xx other than 410 is sent again as well.
    pub retry_refused: bool,
}

/// A receiver, and how requests are sent to it. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    pub(super) receiver: Arc<Receiver>,
    pub(super) delivery: Delivery,
}

impl Endpoint {
    /// The same receiver with another way to send requests.
    #[must_use]
    pub fn with(&self, delivery: Delivery) -> Self {
        Self { receiver: Arc::clone(&self.receiver), delivery }
    }

    /// Queues a request, which is sent until it is accepted or [`Delivery::retry`] is over, behind
    /// those with the same key. To be called within a runtime.
    ///
    /// # Errors
    /// When the queue is full, or the receiver switched off: then the request is dropped, and
    /// counted.
    pub fn post(&self, key: &OrderKey, request: HookRequest) -> Result<(), QueueFull> {
        self.push(key, (request, None))
    }

    /// The same. The returned token is cancelled once the request is accepted, or dropped and
    /// counted; not if the queues are stopped.
    ///
    /// # Errors
    /// Those of [`post`](Self::post).
    pub fn post_settled(
        &self,
        key: &OrderKey,
        request: HookRequest,
    ) -> Result<CancellationToken, QueueFull> {
        let settled = CancellationToken::new();
        self.push(key, (request, Some(settled.clone())))?;
        Ok(settled)
    }

    fn push(&self, key: &OrderKey, posted: Posted) -> Result<(), QueueFull> {
        let Receiver { lanes, metrics, tasks, .. } = &*self.receiver;
        if self.is_off() {
            metrics.dropped(Dropped::Off);
            return Err(QueueFull);
        }
        let bytes = posted.0.body.len() + key.len() + size_of::<Posted>();
        let pushed = lanes.lock().push(key, posted, bytes);
        match pushed {
            Pushed::Full => {
                metrics.dropped(Dropped::QueueFull);
                self.receiver.warn("the queue is full; a request is dropped");
                return Err(QueueFull);
            }
            Pushed::Starts => {
                let (endpoint, key) = (self.clone(), key.clone());
                drop(supervise::spawn_tracked(tasks, async move { endpoint.lane(key).await }));
            }
            Pushed::Queued => {}
        }
        metrics.queued(1, bytes);
        Ok(())
    }

    /// Sends the requests of a key one after the other.
    async fn lane(self, key: OrderKey) {
        let lanes = &self.receiver.lanes;
        let mut next = lanes.lock().first(&key);
        while let Some((request, settled)) = next {
            match self.deliver(&request, &self.receiver.stop).await {
                Delivered::Stopped => self.receiver.metrics.dropped(Dropped::Stopped),
                _ => settled.iter().for_each(CancellationToken::cancel),
            }
            let mut lanes = lanes.lock();
            let before = (lanes.count(), lanes.bytes());
            next = lanes.done(&key);
            let done = (before.0 - lanes.count(), before.1 - lanes.bytes());
            drop(lanes);
            self.receiver.metrics.unqueued(done.0, done.1);
        }
    }

    /// Sends a request until it is accepted, refused, or [`Delivery::retry`] is over. No attempt
    /// begins once `stop` is cancelled.
    pub async fn deliver(&self, request: &HookRequest, stop: &CancellationToken) -> Delivered {
        let Delivery { retry, retry_refused, .. } = self.delivery;
        let mut schedule = Schedule::new(clock::now(), retry);
        let metrics = &self.receiver.metrics;
        let mut number = 0;
        loop {
            if self.is_off() {
                metrics.dropped(Dropped::Off);
                return Delivered::Off;
            }
            let admitted = tokio::select! {
                biased;
                () = stop.cancelled() => return Delivered::Stopped,
                admitted = self.receiver.admitted(schedule.deadline()) => admitted,
            };
            let Some((place, pass)) = admitted else {
                metrics.dropped(Dropped::GivenUp);
                self.receiver.warn("no attempt is left; a request is dropped");
                return Delivered::GivenUp;
            };
            number += 1;
            let sent = self.receiver.attempt(request, number, self.delivery.timeout, pass).await;
            drop(place);
            let retry_after = match sent {
                Ok(response) => match Verdict::of(response.status) {
                    Verdict::Accepted => return Delivered::Accepted(response),
                    Verdict::Gone => continue,
                    Verdict::Refused if !retry_refused => {
                        metrics.dropped(Dropped::Refused);
                        return Delivered::Refused(response);
                    }
                    Verdict::Refused | Verdict::Again => response.retry_after(),
                },
                Err(Failure::TooLong(status)) if status.is_success() => {
                    return Delivered::TooLong(status);
                }
                Err(_) => None,
            };
            let Some(wait) = schedule.next(clock::now(), random::random(), retry_after) else {
                metrics.dropped(Dropped::GivenUp);
                self.receiver.warn("no attempt is left; a request is dropped");
                return Delivered::GivenUp;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Delivered::Stopped,
                () = sleep(wait) => {}
            }
        }
    }

    /// Sends a request once, and waits for the answer until `deadline`: for a caller that cannot
    /// wait longer. Any complete answer is `Ok`, whatever its status.
    ///
    /// # Errors
    /// When there is no complete answer. With less than [`LEAST_TIME`] left, nothing is sent
    /// ([`Failure::Busy`]).
    pub async fn call(
        &self,
        request: &HookRequest,
        number: u32,
        deadline: Instant,
    ) -> Result<HookResponse, Failure> {
        let receiver = &self.receiver;
        if self.is_off() {
            return Err(Failure::Off);
        }
        let left = || deadline.saturating_duration_since(clock::now());
        let place = timeout(left(), receiver.places.acquire()).await;
        let _place = place.map_err(|_| Failure::Busy)?.expect("the semaphore is never closed");
        // That there is no time says nothing about the receiver: its circuit must not open by it.
        if left() < LEAST_TIME {
            return Err(Failure::Busy);
        }
        let pass = match receiver.circuit.lock().admit(clock::now()) {
            Admission::Pass(pass) => pass,
            Admission::Wait(wait) => return Err(Failure::Open(wait)),
            Admission::Probing => return Err(Failure::Open(Duration::from_secs(1))),
        };
        receiver.attempt(request, number, left().min(self.delivery.timeout), pass).await
    }

    /// Whether the receiver has answered 410, so that nothing is sent to it.
    pub fn is_off(&self) -> bool {
        self.receiver.is_off.load(Ordering::Relaxed)
    }

    /// The receiver's URL.
    pub fn url(&self) -> &HookUrl {
        &self.receiver.url
    }
}

impl Receiver {
    pub(super) fn new(
        target: &Target,
        connections: Connections,
        limits: Limits,
        (metrics, tasks, stop): (Arc<Metrics>, TaskTracker, CancellationToken),
    ) -> Self {
        Self {
            url: target.url.clone(),
            origin: target.origin.clone(),
            is_allowed: AtomicBool::new(target.origin.is_none()),
            connections: Arc::new(connections),
            circuit: Mutex::default(),
            circuit_changed: Notify::new(),
            places: Semaphore::new(target.max_in_flight),
            lanes: Mutex::new(Lanes::new(limits)),
            batches: Mutex::new(Batches::new(limits)),
            is_off: AtomicBool::new(false),
            warnings: Mutex::new(Throttle::per_second()),
            metrics,
            tasks,
            stop,
        }
    }

    /// Lets requests be sent to it again after a 410.
    pub(super) fn switch_on(&self) {
        self.is_off.store(false, Ordering::Relaxed);
    }

    /// Waits for a place among the requests of the receiver while its circuit is closed; `None` at
    /// the deadline, if the circuit is open by then.
    async fn admitted(&self, deadline: Instant) -> Option<(SemaphorePermit<'_>, Pass)> {
        loop {
            let changed = self.circuit_changed.notified();
            let place = self.places.acquire().await.expect("the semaphore is never closed");
            let wait = match self.circuit.lock().admit(clock::now()) {
                Admission::Pass(pass) => return Some((place, pass)),
                Admission::Wait(wait) => Some(wait),
                Admission::Probing => None,
            };
            // Others may have the place meanwhile.
            drop(place);
            if deadline <= clock::now() {
                return None;
            }
            tokio::select! {
                () = changed => {}
                () = sleep(wait.unwrap_or(Duration::MAX)) => {}
                () = sleep_until(deadline.into()) => {}
            }
        }
    }

    /// Sends a request once, and reports the outcome to the circuit.
    async fn attempt(
        &self,
        request: &HookRequest,
        number: u32,
        time: Duration,
        pass: Pass,
    ) -> Result<HookResponse, Failure> {
        let mut probe = Undecided { receiver: self, pass, is_decided: false };
        let _in_flight = self.metrics.in_flight();
        let attempt = Attempt { number, unix_seconds: clock::unix_seconds() };
        let headers = request.head.headers(&attempt, &request.body);
        let mut sent = self.request(Method::POST, Full::new(request.body.clone()));
        let host = sent.headers_mut().remove(HOST);
        sent.headers_mut().extend(headers);
        if let Some(host) = host {
            sent.headers_mut().insert(HOST, host);
        }
        let started = clock::now();
        let exchange = async {
            self.allow_origin().await?;
            self.connections.exchange(sent).await
        };
        let answer = timeout(time, exchange).await.unwrap_or(Err(Failure::Timeout));
        self.metrics.took(clock::now().saturating_duration_since(started));
        probe.is_decided = true;
        self.decided(&answer, pass);
        answer
    }

    /// Asks the receiver, before its first request, whether it accepts requests of the origin.
    async fn allow_origin(&self) -> Result<(), Failure> {
        let Some(origin) = self.origin.as_deref().filter(|_| !self.is_allowed()) else {
            return Ok(());
        };
        let mut request = self.request(Method::OPTIONS, Full::default());
        if let Ok(origin) = HeaderValue::from_str(origin) {
            request.headers_mut().insert(REQUEST_ORIGIN, origin);
        }
        let response = self.connections.exchange(request).await?;
        let allowed = response.header("webhook-allowed-origin");
        let is_named = allowed.is_some_and(|allowed| allowed == "*" || allowed == origin);
        if !response.status.is_success() || !is_named {
            return Err(Failure::Origin);
        }
        self.is_allowed.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn is_allowed(&self) -> bool {
        self.is_allowed.load(Ordering::Relaxed)
    }

    fn decided(&self, answer: &Result<HookResponse, Failure>, pass: Pass) {
        self.metrics.sent(Outcome::of(answer));
        let has_failed = match answer {
            Ok(response) => verdict::is_failure(response.status),
            Err(Failure::TooLong(status)) => verdict::is_failure(*status),
            Err(_) => true,
        };
        let mut circuit = self.circuit.lock();
        let was_open = circuit.is_open();
        let opens = match has_failed {
            true => circuit.failed(pass, clock::now()),
            false => {
                circuit.succeeded();
                false
            }
        };
        let is_open = circuit.is_open();
        drop(circuit);
        if was_open != is_open {
            self.metrics.circuit(is_open);
        }
        if was_open || is_open {
            self.circuit_changed.notify_waiters();
        }
        let problem: &dyn fmt::Display = match answer {
            Ok(response) if Verdict::of(response.status) == Verdict::Gone => {
                self.is_off.store(true, Ordering::Relaxed);
                &"410: no request is sent until the settings are read again"
            }
            Ok(response) if Verdict::of(response.status) != Verdict::Accepted => &response.status,
            Ok(_) => return,
            Err(failure) => failure,
        };
        match opens && !was_open {
            true => tracing::warn!(
                url = %self.url, %problem,
                "a webhook fails; its requests wait until it answers again"
            ),
            false => self.warn(problem),
        }
    }

    fn request(&self, method: Method, body: Full<bytes::Bytes>) -> Request<Full<bytes::Bytes>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        if let Ok(target) = self.url.target().parse() {
            *request.uri_mut() = target;
        }
        if let Ok(host) = self.url.authority().parse() {
            request.headers_mut().insert(HOST, host);
        }
        request.headers_mut().insert(USER_AGENT, AGENT);
        request
    }

    /// Logs a problem, once a second.
    pub(super) fn warn(&self, problem: impl fmt::Display) {
        let admitted = self.warnings.lock().admit(clock::now());
        if let Some(suppressed) = admitted {
            tracing::warn!(url = %self.url, %problem, suppressed, "a request to a webhook failed");
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.circuit.lock().is_open() {
            self.metrics.circuit(false);
        }
    }
}

/// A request without an outcome yet. If its caller stops waiting, another one may decide whether
/// the circuit closes.
struct Undecided<'a> {
    receiver: &'a Receiver,
    pass: Pass,
    is_decided: bool,
}

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        if !self.is_decided {
            self.receiver.circuit.lock().abandoned(self.pass);
            self.receiver.circuit_changed.notify_waiters();
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.receiver.url).finish_non_exhaustive()
    }
}
