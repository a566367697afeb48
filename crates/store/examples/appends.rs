//! Measures appends to a store, and reads of the newest ones.
//!
//! ```text
//! cargo run --release -p push-suite-store --example appends -- sqlite:/tmp/streams.db 20000 16
//! ```
#![expect(clippy::print_stdout, reason = "figures are for the one who runs it")]

use std::{
    env,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::StreamName;
use push_suite_store::{
    Append, Key, Limit, MemoryStore, Range, Read, Rule, StoreAddress, StoreError,
};
use tokio::task::JoinSet;

/// The streams among which the appends are spread.
const STREAMS: u64 = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let address: StoreAddress = arguments.next().ok_or("STORE [COUNT [IN_FLIGHT]]")?.parse()?;
    let count: u64 = arguments.next().map_or(Ok(20_000), |count| count.parse())?;
    let in_flight: usize = arguments.next().map_or(Ok(16), |count| count.parse())?;
    let store = push_suite_store::open(&address).await?;
    let store = store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
    let streams: Arc<[StreamName]> =
        (0..STREAMS).map(|number| StreamName::Group(number.into())).collect();
    // The keys of another run are others.
    let seed = u128::from(std::process::id()) << 64;
    let append = {
        let (store, streams) = (Arc::clone(&store), Arc::clone(&streams));
        move |number| {
            let (store, stream) = (Arc::clone(&store), stream(&streams, number));
            let key = Key::from_random(seed + u128::from(number));
            let append = Append::new(stream, key, vec![b'x'; 200], Rule::default());
            async move { store.append(append).await.map(drop) }
        }
    };
    measure("appends", count, in_flight, append).await?;
    let read = move |number| {
        let (store, stream) = (Arc::clone(&store), stream(&streams, number));
        let limit = Limit { items: 20, ..Limit::default() };
        async move { store.read(Read { stream, range: Range::Newest, limit }).await.map(drop) }
    };
    measure("reads of 20 messages", count / 10, in_flight, read).await
}

fn stream(streams: &[StreamName], number: u64) -> StreamName {
    streams[(number % STREAMS) as usize].clone()
}

async fn measure<F>(
    name: &str,
    count: u64,
    in_flight: usize,
    request: impl Fn(u64) -> F,
) -> Result<(), Box<dyn Error>>
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let (started, cpu) = (Instant::now(), cpu());
    let (mut tasks, mut durations) = (JoinSet::new(), Vec::new());
    let mut finished =
        |outcome: Result<Duration, StoreError>| outcome.map(|duration| durations.push(duration));
    for number in 0..count {
        if in_flight <= tasks.len()
            && let Some(outcome) = tasks.join_next().await
        {
            finished(outcome?)?;
        }
        let request = request(number);
        tasks.spawn(async move {
            let since = Instant::now();
            request.await.map(|()| since.elapsed())
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        finished(outcome?)?;
    }
    let took = started.elapsed();
    let used = (self::cpu() - cpu).as_micros() as u64 / count;
    durations.sort_unstable();
    let at = |part: usize| durations[(durations.len() - 1) * part / 1000];
    println!(
        "{count} {name}, {in_flight} at once: {:.0} a second, {used} us of CPU each; \
         p50 {:?}, p99 {:?}, p99.9 {:?}",
        count as f64 / took.as_secs_f64(),
        at(500),
        at(990),
        at(999),
    );
    Ok(())
}

/// The CPU time of this process, in clock ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    let ticks: u64 = fields.skip(12).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
