//! A large queue in comparison with a small one: nothing may depend on how much is queued.

use std::time::Duration;

use super::load::Client;
use super::process::{Launcher, Server, Storage};
use super::report::{Report, Target};
use super::requests::{BATCH, Requests};
use super::wire::Connection;
use super::{Args, progress};

const SMALL: &str = "small";
const LARGE: &str = "large";

/// Messages in the small queue.
const FEW: usize = 1000;

/// Calls of each operation in a round: the small queue must have enough to receive.
const CALLS: usize = 800;

/// Rounds for each of the throughput's: they are much shorter.
const ROUNDS: usize = 10;

/// The operations in the order in which a round makes them. It leaves the queue as full as it was.
const OPERATIONS: [&str; 5] = ["send", "peek-lock", "renew", "abandon", "complete"];

pub(super) fn measure(launcher: &Launcher, stores: &[Storage], args: &Args, report: &mut Report) -> anyhow::Result<()> {
    for store in stores {
        progress(&format!("{} messages, {}", args.messages, store.name()));
        let server = launcher.emulator(store, &[SMALL, LARGE])?;
        fill(&server, SMALL, FEW)?;
        fill(&server, LARGE, args.messages)?;
        let mut cycles = Cycles::new(&server, args)?;
        let mut ratios: [Vec<f64>; 5] = Default::default();
        for round in 0..=args.rounds * ROUNDS {
            let (small, large) = if round % 2 == 0 {
                let small = cycles.next(SMALL)?;
                (small, cycles.next(LARGE)?)
            } else {
                let large = cycles.next(LARGE)?;
                (cycles.next(SMALL)?, large)
            };
            // The first round warms up.
            if round > 0 {
                let times = small.iter().zip(&large).map(|(small, large)| large.as_secs_f64() / small.as_secs_f64());
                ratios.iter_mut().zip(times).for_each(|(ratios, ratio)| ratios.push(ratio));
            }
        }
        for (operation, ratios) in OPERATIONS.iter().zip(&ratios) {
            let name = format!("{operation} in a large queue, {}", store.name());
            report.figure(name, "x small", Target::Below(1.2), ratios);
        }
    }
    Ok(())
}

/// Makes every operation some hundred times, again and again.
#[derive(Debug)]
struct Cycles {
    client: Client,
    requests: Requests,
}

impl Cycles {
    fn new(server: &Server, args: &Args) -> anyhow::Result<Self> {
        let requests = Requests::new(&server.address.to_string())?;
        Ok(Self { client: Client::open(server.address, args.connections)?, requests })
    }

    /// How long each operation took, in the order of [`OPERATIONS`].
    fn next(&mut self, queue: &str) -> anyhow::Result<[Duration; 5]> {
        let send = self.requests.send(queue);
        let (sent, _) = self.client.run(CALLS, async |to, _| to.call(&send, 201).await)?;
        let (locked, locks) = self.peek_lock(queue)?;
        let renewed = self.settle("POST", &locks)?;
        let abandoned = self.settle("PUT", &locks)?;
        let (again, locks) = self.peek_lock(queue)?;
        let completed = self.settle("DELETE", &locks)?;
        Ok([sent, (locked + again) / 2, renewed, abandoned, completed])
    }

    fn peek_lock(&mut self, queue: &str) -> anyhow::Result<(Duration, Vec<String>)> {
        let receive = self.requests.peek_lock(queue);
        self.client.run(CALLS, async |to, _| to.call_for_location(&receive, 201).await)
    }

    fn settle(&mut self, method: &str, locks: &[String]) -> anyhow::Result<Duration> {
        let calls: Vec<Vec<u8>> = locks.iter().map(|lock| self.requests.settle(method, lock)).collect();
        let settle = async |to: &mut Connection, n: usize| match calls.get(n) {
            Some(call) => to.call(call, 200).await,
            None => Ok(()),
        };
        Ok(self.client.run(calls.len(), settle)?.0)
    }
}

/// Puts at least so many messages into a queue.
pub(super) fn fill(server: &Server, queue: &str, messages: usize) -> anyhow::Result<()> {
    let batch = Requests::new(&server.address.to_string())?.batch(queue)?;
    let mut client = Client::open(server.address, 4)?;
    client.run(messages.div_ceil(BATCH), async |to, _| to.call(&batch, 201).await)?;
    Ok(())
}
