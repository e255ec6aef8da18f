//! A running namespace: the broker machine, its clock, its waiting receivers, and its journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::broker::{Broker, BrokerError, Delivery, EntityPath, ReceiveMode};
use crate::clock::Clock;
use crate::store::{Journal, Row, StoreError, Ticket};
use crate::time::UnixMillis;

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
    /// Receivers that wait for messages, by where they wait.
    doors: Mutex<HashMap<EntityPath, Arc<Notify>>>,
    /// Rung when time will change something sooner than the alarm is set for.
    alarm: Notify,
    clock: Clock,
    journal: Arc<Journal>,
    closing: watch::Receiver<bool>,
}

#[derive(Debug)]
struct State {
    broker: Broker,
    alarm_at: UnixMillis,
}

impl Namespace {
    pub(crate) fn new(broker: Broker, clock: Clock, journal: Arc<Journal>, closing: watch::Receiver<bool>) -> Self {
        Self {
            state: Mutex::new(State { broker, alarm_at: UnixMillis::NEVER }),
            doors: Mutex::default(),
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
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Broker) -> T) -> T {
        let (seen, _ticket) = self.apply(None, |broker, now| {
            broker.advance(now);
            look(broker)
        });
        seen
    }

    /// Runs an operation at a path; its rows are in the journal when this returns, and on disk when the
    /// ticket says so.
    pub(crate) fn apply<T>(
        &self,
        path: Option<&EntityPath>,
        operation: impl FnOnce(&mut Broker, UnixMillis) -> T,
    ) -> (T, Ticket) {
        let mut state = self.lock();
        let now = self.clock.now();
        let done = operation(&mut state.broker, now);
        let outbox = state.broker.take_outbox();
        let ticket = self.journal.append(outbox.changes.into_iter().map(Row::Broker).collect());
        let next = match path {
            Some(path) => state.broker.next_event_at(path),
            None => state.broker.next_event(),
        };
        if next.is_some_and(|at| at < state.alarm_at) {
            state.alarm_at = next.unwrap_or(UnixMillis::NEVER);
            self.alarm.notify_one();
        }
        drop(state);
        self.wake(outbox.ready);
        (done, ticket)
    }

    /// Runs an operation and waits until it is durable.
    pub(crate) async fn commit<T>(
        &self,
        path: &EntityPath,
        operation: impl FnOnce(&mut Broker, UnixMillis) -> Result<T, BrokerError>,
    ) -> Result<T, OperationError> {
        let (done, ticket) = self.apply(Some(path), operation);
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
        let mut is_over = patience.is_zero();
        let mut patience = std::pin::pin!(self.clock.elapse(patience));
        let door = self.door(path);
        let mut closing = self.closing.clone();
        loop {
            // Listening begins before the look, so that nothing arrives unheard between the two.
            let mut arrival = std::pin::pin!(door.notified());
            arrival.as_mut().enable();
            let (found, ticket) = self.apply(Some(path), |broker, now| broker.receive(path, mode, now));
            if let Some(delivery) = found? {
                let lent = Lent { namespace: Arc::clone(self), path: path.clone(), delivery: Some(delivery) };
                ticket.written().await?;
                return Ok(Some(lent));
            }
            if is_over || *closing.borrow() {
                return Ok(None);
            }
            tokio::select! {
                // First, so that a receiver to whom others are always ahead comes to an end too.
                biased;
                () = &mut patience => is_over = true,
                () = arrival => {}
                _ = closing.changed() => {}
            }
        }
    }

    /// Lets time act on queues that nobody is calling: locks end, schedules fall due. Runs until the
    /// emulator closes.
    pub(crate) async fn watch_time(self: Arc<Self>) {
        let mut closing = self.closing.clone();
        while !*closing.borrow() {
            let (_, _ticket) = self.apply(None, Broker::advance);
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
    pub(crate) fn reset(&self, fresh: Broker, refill: impl FnOnce(&mut Broker)) {
        let mut state = self.lock();
        state.broker = fresh;
        refill(&mut state.broker);
        let rows = state.broker.take_outbox().changes.into_iter().map(Row::Broker);
        let _ticket = self.journal.append([Row::BrokerReset].into_iter().chain(rows).collect());
        drop(state);
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.values().for_each(|door| door.notify_waiters());
    }

    fn wake(&self, ready: Vec<(EntityPath, usize)>) {
        if ready.is_empty() {
            return;
        }
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, count) in ready {
            match doors.get(&path) {
                Some(door) if count == 1 => door.notify_one(),
                Some(door) => {
                    door.notify_waiters();
                    // And one who looks just now.
                    door.notify_one();
                }
                None => {}
            }
        }
    }

    fn door(&self, path: &EntityPath) -> Arc<Notify> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        // Names that nobody made leave no trace: only paths of entities get a door.
        if let Some(door) = doors.get(path) {
            return Arc::clone(door);
        }
        let door = Arc::new(Notify::new());
        if self.lock().broker.contains(path) {
            doors.insert(path.clone(), Arc::clone(&door));
        }
        door
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
            let (_, _ticket) = self.namespace.apply(Some(path), |broker, now| broker.give_back(path, delivery, now));
        }
    }
}
