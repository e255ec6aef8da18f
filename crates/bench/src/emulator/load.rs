//! The client: calls over kept connections, as many at once as there are connections.
//!
//! Two threads share the connections, each with a runtime of its own that never moves a task: the
//! lightest that keeps two cores busy. Connecting is not part of any time.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use tokio::runtime::Runtime;

use super::wire::{CallError, Connection};

const THREADS: usize = 2;

/// Connections to one server, kept open from one run to the next.
#[derive(Debug)]
pub(super) struct Client {
    lanes: Vec<Lane>,
}

/// One thread's share.
#[derive(Debug)]
struct Lane {
    runtime: Runtime,
    connections: Vec<Connection>,
}

/// Hands out the numbers below a limit, each once.
#[derive(Debug)]
struct Tickets {
    next: AtomicUsize,
    limit: usize,
}

impl Client {
    /// Opens so many connections.
    pub(super) fn open(address: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        let threads = THREADS.min(connections).max(1);
        let lane = |thread: usize| {
            let share = connections / threads + usize::from(thread < connections % threads);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("no runtime")?;
            let opened = try_join_all((0..share).map(|_| Connection::open(address)));
            let connections = runtime.block_on(opened).context("cannot connect")?;
            Ok(Lane { runtime, connections })
        };
        Ok(Self { lanes: (0..threads).map(lane).collect::<anyhow::Result<_>>()? })
    }

    /// Does `work` for each number below `times`, on all connections at once; returns how long that took
    /// and what the work brought, in no order.
    pub(super) fn run<T: Send>(
        &mut self,
        times: usize,
        work: impl AsyncFn(&mut Connection, usize) -> Result<T, CallError> + Sync,
    ) -> anyhow::Result<(Duration, Vec<T>)> {
        let tickets = Tickets { next: AtomicUsize::new(0), limit: times };
        let start = Barrier::new(self.lanes.len() + 1);
        let (tickets, start, work) = (&tickets, &start, &work);
        std::thread::scope(|scope| {
            let run = |lane| {
                scope.spawn(move || {
                    start.wait();
                    Lane::run(lane, tickets, work).map(|brought| (Instant::now(), brought))
                })
            };
            let threads: Vec<_> = self.lanes.iter_mut().map(run).collect();
            start.wait();
            let began = Instant::now();
            let mut took = Duration::ZERO;
            let mut results = Vec::with_capacity(times);
            for thread in threads {
                let ended = thread.join().map_err(|_| anyhow::anyhow!("a client thread broke off"))?;
                let (ended, brought) = ended.context("a call failed")?;
                took = took.max(ended.saturating_duration_since(began));
                results.extend(brought);
            }
            Ok((took, results))
        })
    }
}

impl Lane {
    fn run<T>(
        &mut self,
        tickets: &Tickets,
        work: &(impl AsyncFn(&mut Connection, usize) -> Result<T, CallError> + Sync),
    ) -> Result<Vec<T>, CallError> {
        let one = async |connection: &mut Connection| {
            let mut brought = Vec::new();
            while let Some(number) = tickets.take() {
                brought.push(work(connection, number).await?);
            }
            Ok::<_, CallError>(brought)
        };
        let brought = self.runtime.block_on(try_join_all(self.connections.iter_mut().map(one)))?;
        Ok(brought.into_iter().flatten().collect())
    }
}

impl Tickets {
    fn take(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.limit).then_some(number)
    }
}
