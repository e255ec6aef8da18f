//! A running namespace: the broker machine, its clock, its waiting receivers, and its journal.
//!
//! Everything happens under one lock: an operation changes the machine, hands its rows to the journal, and
//! serves those who wait for what came of it. A message therefore goes straight from where it arrived to
//! the receiver that has waited longest, and nobody who comes later can take it in between.

mod line;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};

use crate::broker::{Broker, BrokerError, Delivery, EntityPath, ReceiveMode};
use crate::clock::Clock;
use crate::store::{Journal, Row, StoreError, Ticket};
use crate::time::UnixMillis;
use line::{Handed, Lines};

/// Why an operation gave no answer of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperationError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The broker and everything that makes it run.
#[derive(Debug)]
pub(crate) struct Namespace {
    state: Mutex<State>,
    /// Rung when time will change something sooner than the alarm is set for.
    alarm: Notify,
    clock: Clock,
    journal: Arc<Journal>,
    closing: watch::Receiver<bool>,
}

#[derive(Debug)]
struct State {
    broker: Broker,
    lines: Lines,
    alarm_at: UnixMillis,
}

impl Namespace {
    pub(crate) fn new(broker: Broker, clock: Clock, journal: Arc<Journal>, closing: watch::Receiver<bool>) -> Self {
        Self {
            state: Mutex::new(State { broker, lines: Lines::default(), alarm_at: UnixMillis::NEVER }),
            alarm: Notify::new(),
            clock,
            journal,
            closing,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Looks without changing anything, as of now.
    pub(crate) fn look<T>(self: &Arc<Self>, look: impl FnOnce(&Broker) -> T) -> T {
        let (seen, _ticket) = self.apply(|broker, now| {
            broker.advance(now);
            look(broker)
        });
        seen
    }

    /// Looks at what time does not change.
    pub(crate) fn glance<T>(&self, look: impl FnOnce(&Broker) -> T) -> T {
        look(&self.lock().broker)
    }

    /// How many receivers wait there.
    pub(crate) fn waiting(&self, path: &EntityPath) -> usize {
        self.lock().lines.len(path)
    }

    /// Runs an operation; its rows are in the journal when this returns, and on disk when the ticket says so.
    pub(crate) fn apply<T>(self: &Arc<Self>, operation: impl FnOnce(&mut Broker, UnixMillis) -> T) -> (T, Ticket) {
        let mut state = self.lock();
        let now = self.clock.now();
        let done = operation(&mut state.broker, now);
        let ticket = self.finish(&mut state, now);
        (done, ticket)
    }

    /// Runs an operation and waits until it is durable.
    pub(crate) async fn commit<T>(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut Broker, UnixMillis) -> Result<T, BrokerError>,
    ) -> Result<T, OperationError> {
        let (done, ticket) = self.apply(operation);
        ticket.written().await?;
        Ok(done?)
    }

    /// Receives, waiting up to `patience` for a message to come. The delivery is only lent: what is not
    /// taken out of [`Lent`] goes back, so that a receiver that went away loses nothing.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        path: &EntityPath,
        mode: ReceiveMode,
        patience: Duration,
    ) -> Result<Option<Lent>, OperationError> {
        let at_once = patience.is_zero() || *self.closing.borrow();
        let mut place = match self.receive_or_join(path, mode, at_once)? {
            Found::Message(lent, ticket) => {
                ticket.written().await?;
                return Ok(Some(lent));
            }
            Found::Nothing => return Ok(None),
            Found::Place(place) => place,
        };
        let mut closing = self.closing.clone();
        tokio::select! {
            handed = &mut place.handed => return taken(handed.ok()).await,
            () = self.clock.elapse(patience) => {}
            _ = closing.changed() => {}
        }
        // It may have come in this very moment.
        self.lock().lines.leave(path, place.number);
        taken(place.handed.try_recv().ok()).await
    }

    /// Takes a message, or joins the line for one in the same moment.
    fn receive_or_join<'a>(
        self: &'a Arc<Self>,
        path: &'a EntityPath,
        mode: ReceiveMode,
        at_once: bool,
    ) -> Result<Found<'a>, BrokerError> {
        let mut state = self.lock();
        let now = self.clock.now();
        let found = state.broker.receive(path, mode, now);
        let ticket = self.finish(&mut state, now);
        Ok(match found? {
            Some(delivery) => Found::Message(Lent::new(self, path, delivery), ticket),
            None if at_once => Found::Nothing,
            None => {
                let (hand, handed) = oneshot::channel();
                let number = state.lines.join(path, mode, hand);
                Found::Place(Place { namespace: self, path, number, handed })
            }
        })
    }

    /// Lets time act on queues that nobody is calling: locks end, schedules fall due. Runs until the
    /// emulator closes.
    pub(crate) async fn watch_time(self: Arc<Self>) {
        let mut closing = self.closing.clone();
        while !*closing.borrow() {
            let (_, _ticket) = self.apply(Broker::advance);
            let next = {
                let mut state = self.lock();
                state.alarm_at = state.broker.next_event().unwrap_or(UnixMillis::NEVER);
                state.alarm_at
            };
            tokio::select! {
                () = self.clock.sleep_until(next) => {}
                () = self.alarm.notified() => {}
                _ = closing.changed() => {}
            }
        }
    }

    /// Empties the namespace, and makes what `refill` makes.
    pub(crate) fn reset(self: &Arc<Self>, refill: impl FnOnce(&mut Broker, UnixMillis)) {
        let mut state = self.lock();
        let now = self.clock.now();
        state.broker.clear();
        let _ticket = self.journal.append(vec![Row::BrokerReset]);
        refill(&mut state.broker, now);
        let _ticket = self.finish(&mut state, now);
        let places = state.lines.places();
        self.serve(&mut state, places, now);
    }

    /// What follows on every operation: rows go to the journal, those who wait are served, and the alarm is
    /// set for what time does next.
    fn finish(self: &Arc<Self>, state: &mut State, now: UnixMillis) -> Ticket {
        let outbox = state.broker.take_outbox();
        let ticket = self.journal.append(outbox.changes.into_iter().map(Row::Broker).collect());
        self.serve(state, outbox.ready, now);
        if let Some(next) = state.broker.next_event().filter(|next| *next < state.alarm_at) {
            state.alarm_at = next;
            self.alarm.notify_one();
        }
        ticket
    }

    /// Serves those who wait at these places, as long as there is something for them.
    fn serve(self: &Arc<Self>, state: &mut State, mut places: Vec<EntityPath>, now: UnixMillis) {
        while let Some(path) = places.pop() {
            while let Some(mode) = state.lines.first(&path) {
                let handed = match state.broker.receive(&path, mode, now) {
                    Ok(None) => break,
                    Ok(Some(delivery)) => {
                        let rows = state.broker.take_outbox().changes.into_iter().map(Row::Broker);
                        Ok((Lent::new(self, &path, delivery), self.journal.append(rows.collect())))
                    }
                    Err(error) => Err(error.into()),
                };
                let Some(waiting) = state.lines.serve(&path) else { break };
                if let Err(Ok((lent, _ticket))) = waiting.hand.send(handed)
                    && let Some(delivery) = lent.hand_over()
                {
                    // Gone in this very moment: as if it had never been, and on to the next.
                    state.broker.give_back(&path, delivery, now);
                    let outbox = state.broker.take_outbox();
                    let _ticket = self.journal.append(outbox.changes.into_iter().map(Row::Broker).collect());
                    places.extend(outbox.ready.into_iter().filter(|other| *other != path));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was handed to one who waited, once it is on disk.
async fn taken(handed: Option<Handed>) -> Result<Option<Lent>, OperationError> {
    match handed {
        None => Ok(None),
        Some(handed) => {
            let (lent, ticket) = handed?;
            ticket.written().await?;
            Ok(Some(lent))
        }
    }
}

/// What a receiver finds.
enum Found<'a> {
    Message(Lent, Ticket),
    Nothing,
    Place(Place<'a>),
}

/// A place in a line. Dropping it leaves the line.
struct Place<'a> {
    namespace: &'a Namespace,
    path: &'a EntityPath,
    number: u64,
    handed: oneshot::Receiver<Handed>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.namespace.lock().lines.leave(self.path, self.number);
    }
}

/// A delivery that was not handed over yet. Dropping it undoes it.
#[derive(Debug)]
pub(crate) struct Lent {
    namespace: Arc<Namespace>,
    path: EntityPath,
    delivery: Option<Delivery>,
}

impl Lent {
    fn new(namespace: &Arc<Namespace>, path: &EntityPath, delivery: Delivery) -> Self {
        Self { namespace: Arc::clone(namespace), path: path.clone(), delivery: Some(delivery) }
    }

    /// The receiver has it now.
    pub(crate) fn hand_over(mut self) -> Option<Delivery> {
        self.delivery.take()
    }

    /// What is lent.
    pub(crate) fn delivery(&self) -> Option<&Delivery> {
        self.delivery.as_ref()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            let path = &self.path;
            let (_, _ticket) = self.namespace.apply(|broker, now| broker.give_back(path, delivery, now));
        }
    }
}
