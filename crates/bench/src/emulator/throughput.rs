//! Rates in comparison with the bare route.

use std::time::Duration;

use super::load::Client;
use super::process::{Launcher, Server, Storage};
use super::report::{Rate, Report, Target};
use super::requests::{BATCH, Requests};
use super::statistics::{Spread, number};
use super::wire::Connection;
use super::{Args, progress};

const QUEUE: &str = "orders";

/// What is called in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Send,
    /// A peek-lock and a complete: two calls.
    Settle,
}

/// One server in one comparison, over all rounds.
#[derive(Debug)]
struct Side<'a> {
    server: &'a Server,
    client: Client,
    requests: Requests,
    work: Work,
    calls_per_round: usize,
    rates: Vec<f64>,
    calls: usize,
    processor: Duration,
}

pub(super) fn measure(launcher: &Launcher, stores: &[Storage], args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let bare = launcher.bare()?;
    for store in stores {
        for work in [Work::Send, Work::Settle] {
            let name = match work {
                Work::Send => format!("send, {}", store.name()),
                Work::Settle => format!("peek-lock + complete, {}", store.name()),
            };
            progress(&name);
            let emulator = launcher.emulator(store, &[QUEUE])?;
            let (mut ours, mut theirs) = (Side::new(&emulator, work, args)?, Side::new(&bare, Work::Send, args)?);
            // The first round warms up and does not count.
            for round in 0..=args.rounds {
                if round == 1 {
                    ours.forget();
                    theirs.forget();
                }
                if round % 2 == 0 {
                    theirs.round()?;
                    ours.round()?;
                } else {
                    ours.round()?;
                    theirs.round()?;
                }
            }
            let ratios: Vec<f64> = ours.rates.iter().zip(&theirs.rates).map(|(ours, theirs)| ours / theirs).collect();
            let least = if store.is_durable() { 0.15 } else { 0.5 };
            report.figure(format!("{name}, of bare"), "", Target::AtLeast(least), &ratios);
            report.rate(theirs.summary(format!("bare route beside {name}")));
            report.rate(ours.summary(name));
        }
    }
    Ok(())
}

impl<'a> Side<'a> {
    fn new(server: &'a Server, work: Work, args: &Args) -> anyhow::Result<Self> {
        Ok(Self {
            server,
            client: Client::open(server.address, args.connections)?,
            requests: Requests::new(&server.address.to_string())?,
            work,
            calls_per_round: args.calls,
            rates: Vec::new(),
            calls: 0,
            processor: Duration::ZERO,
        })
    }

    fn forget(&mut self) {
        (self.rates, self.calls, self.processor) = (Vec::new(), 0, Duration::ZERO);
    }

    fn round(&mut self) -> anyhow::Result<()> {
        // A pair takes two calls, and needs a message.
        let pairs = self.calls_per_round.div_ceil(2);
        if self.work == Work::Settle {
            let batch = self.requests.batch(QUEUE)?;
            self.client.run(pairs.div_ceil(BATCH), async |to, _| to.call(&batch, 201).await)?;
        }
        let before = self.server.processor_time();
        let (calls, took) = match self.work {
            Work::Send => {
                let send = self.requests.send(QUEUE);
                let (took, _) = self.client.run(self.calls_per_round, async |to, _| to.call(&send, 201).await)?;
                (self.calls_per_round, took)
            }
            Work::Settle => {
                let (receive, requests) = (self.requests.peek_lock(QUEUE), &self.requests);
                let pair = async |to: &mut Connection, _| {
                    let lock = to.call_for_location(&receive, 201).await?;
                    to.call(&requests.settle("DELETE", &lock), 200).await
                };
                (2 * pairs, self.client.run(pairs, pair)?.0)
            }
        };
        self.rates.push(number(calls) / took.as_secs_f64());
        self.calls += calls;
        if let (Some(before), Some(after)) = (before, self.server.processor_time()) {
            self.processor += after.saturating_sub(before);
        }
        Ok(())
    }

    fn summary(&self, name: String) -> Rate {
        let cpu = self.processor.as_secs_f64() * 1e6 / number(self.calls.max(1));
        Rate {
            name,
            calls_per_second: Spread::of(&self.rates).map_or(0.0, |spread| spread.median),
            processor_microseconds_per_call: (!self.processor.is_zero()).then_some(cpu),
        }
    }
}
