//! Stands between the components and the services, and does what the schedule says.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use oncebus_core::time::Instant;
use oncebus_host::{Answer, Database, OutboundCall, OutboundHook, Value, Verdict};
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;

use super::call::{Kind, Received, RecordWrite, blob, target};
use super::journal::{Journal, Noted};
use super::queues::Queue;
use super::schedule::{Schedule, Side, Strike};

/// Times that interference depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How long a paused instance stands: beyond the ttl and all margins.
    pub(super) pause: Duration,
    /// How old a claim is at least when it may be taken over.
    pub(super) fresh: Duration,
    /// How long a run may be out of sight and still be at work.
    pub(super) at_work: Duration,
}

/// The hook.
pub(super) struct Interference {
    platform: Native,
    schedule: Schedule,
    times: Times,
    /// The processor's database, once the app is loaded.
    database: OnceLock<Database>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    journal: Journal,
    /// Requests so far, by kind and side.
    ordinals: BTreeMap<(Kind, Side), u32>,
    /// Requests so far about a target.
    targets: BTreeMap<(Kind, String), u32>,
    /// Until when an instance stands still: nothing of it goes out, and no answer goes in.
    standing: BTreeMap<u64, Instant>,
    /// No more interference.
    calm: bool,
}

impl Interference {
    /// One that does what the schedule says.
    pub(super) fn new(platform: Native, schedule: Schedule, times: Times) -> Self {
        Self { platform, schedule, times, database: OnceLock::new(), state: Mutex::default() }
    }

    /// The log of effects is here.
    pub(super) fn watch(&self, database: &Database) {
        // Set once, by whoever loads the app.
        let _ = self.database.set(database.clone());
    }

    /// The plan.
    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Everything has stood still until now: whoever was at work was interfered with.
    pub(super) fn stood_still(&self) {
        self.state().journal.stood_still(self.platform.now(), self.times.at_work);
    }

    /// Lets everything pass from now on, and hands out what was seen.
    pub(super) fn finish(&self) -> Noted {
        let mut state = self.state();
        state.calm = true;
        std::mem::take(&mut state.journal).finish()
    }

    /// The strike that this request meets. It is in the journal when this returns.
    fn strike(&self, call: &OutboundCall, kind: Kind, side: Side) -> Option<Strike> {
        let mut state = self.state();
        if state.calm {
            return None;
        }
        let ordinal = state.ordinals.entry((kind, side)).or_default();
        *ordinal += 1;
        let strike = self.schedule.strike(kind, side, *ordinal);
        match strike {
            Some(Strike::Kill) => state.journal.killed(call.instance, (kind, side)),
            Some(Strike::Pause) => {
                state.journal.paused(call.instance, (kind, side));
                state.standing.insert(call.instance, self.platform.now().plus(self.times.pause));
            }
            None => (),
        }
        strike
    }

    /// Waits while the instance stands still.
    async fn stand(&self, instance: u64) {
        let until = self.state().standing.get(&instance).copied();
        if let Some(until) = until {
            self.platform.sleep(self.platform.now().until(until)).await;
        }
    }

    /// Whether the answer to this request is lost.
    fn loses_reply(&self, call: &OutboundCall, kind: Kind) -> bool {
        let target = target(call, kind);
        let mut state = self.state();
        let ordinal = state.targets.entry((kind, target.to_owned())).or_default();
        *ordinal += 1;
        let lost = self.schedule.loses_reply(kind, target, *ordinal) && !state.calm;
        if lost {
            state.journal.lost_reply(call.instance, kind);
        }
        lost
    }

    /// A service has answered: what it says has happened.
    fn note(&self, call: &OutboundCall, kind: Kind, answer: &Answer) {
        match (kind, answer.status) {
            (Kind::Poll, 201) => {
                if let Some(received) = Received::of(call, &answer.headers) {
                    self.state().journal.received(call.instance, received, self.platform.now());
                }
            }
            (Kind::Create | Kind::Write, 200 | 201) => {
                let Some(write) = RecordWrite::of(call) else { return };
                let (now, fresh) = (self.platform.now(), self.times.fresh);
                // Asked outside of the lock: it may wait for a statement of the processor's.
                let begins = write.state == "p" && Queue::of_blob(&write.blob) == Some(Queue::Forgetful);
                let row = if begins || write.is_key() || write.state == "d" { self.last_effect() } else { None };
                self.state().journal.accepted(call.instance, write, now, fresh, row);
            }
            (Kind::Create | Kind::Write, 400..500) => {
                if let Some(write) = RecordWrite::of(call) {
                    self.state().journal.refused(call.instance, &write);
                }
            }
            (Kind::Delete, 202) => {
                if let Some(blob) = blob(call) {
                    self.state().journal.deleted(blob);
                }
            }
            _ => (),
        }
    }

    /// The last row of the log of effects; `None` before the first.
    fn last_effect(&self) -> Option<i64> {
        let rows = self.database.get()?.query("SELECT coalesce(max(rowid), 0) FROM effects", &[]).ok()?;
        match rows.first()?.first()? {
            Value::Integer(row) => Some(*row),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboundHook for Interference {
    fn before<'a>(&'a self, call: &'a OutboundCall) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let Some(kind) = Kind::of(call) else { return Verdict::Continue };
            let write = RecordWrite::of(call);
            self.state().journal.leaves(call.instance, write.as_ref(), self.platform.now());
            if let (Kind::Delete, Some(blob)) = (kind, blob(call)) {
                self.state().journal.deletes(blob);
            }
            if self.strike(call, kind, Side::Before) == Some(Strike::Kill) {
                return Verdict::Kill;
            }
            self.stand(call.instance).await;
            if self.loses_reply(call, kind) { Verdict::DropReply } else { Verdict::Continue }
        })
    }

    fn after<'a>(&'a self, call: &'a OutboundCall, answer: Result<Answer, String>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let Some(kind) = Kind::of(call) else { return Verdict::Continue };
            match answer {
                Ok(answer) => self.note(call, kind, &answer),
                Err(_) => {
                    if let Some(write) = RecordWrite::of(call) {
                        let row = self.last_effect();
                        self.state().journal.unanswered(&write, row);
                    }
                }
            }
            if self.strike(call, kind, Side::After) == Some(Strike::Kill) {
                return Verdict::Kill;
            }
            self.stand(call.instance).await;
            Verdict::Continue
        })
    }
}
