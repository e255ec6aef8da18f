//! Time to start, and memory.

use super::process::{Launcher, Storage};
use super::report::{Report, Target};
use super::requests::{BATCH, payload_bytes};
use super::statistics::number;
use super::{Args, progress, size};

const QUEUE: &str = "orders";
const MEGABYTE: f64 = 1024.0 * 1024.0;

pub(super) fn measure(launcher: &Launcher, stores: &[Storage], args: &Args, report: &mut Report) -> anyhow::Result<()> {
    for store in stores {
        progress(&format!("start and idle memory, {}", store.name()));
        let (mut ready, mut idle) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            let server = launcher.emulator(store, &[QUEUE])?;
            ready.push(server.ready_after.as_secs_f64() * 1000.0);
            idle.extend(server.resident_bytes().map(|bytes| number(bytes) / MEGABYTE));
        }
        report.figure(format!("ready, {}", store.name()), "ms", Target::Below(100.0), &ready);
        report.figure(format!("idle, {}", store.name()), "MB", Target::Below(32.0), &idle);
    }
    for store in stores {
        progress(&format!("memory of {} messages, {}", args.messages, store.name()));
        let server = launcher.emulator(store, &[QUEUE])?;
        // What the first calls leave behind is not the messages'.
        size::fill(&server, QUEUE, BATCH)?;
        let before = server.resident_bytes();
        size::fill(&server, QUEUE, args.messages)?;
        let growth = before.zip(server.resident_bytes()).map(|(before, after)| after.saturating_sub(before));
        let queued = args.messages.div_ceil(BATCH) * BATCH;
        let overhead = growth.map(|bytes| (number(bytes) / number(queued.max(1))) - number(payload_bytes()));
        let overhead: Vec<f64> = overhead.into_iter().collect();
        report.figure(format!("overhead of a message, {}", store.name()), "bytes", Target::Below(1500.0), &overhead);
    }
    Ok(())
}
