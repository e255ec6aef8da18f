//! Receiving and settling.

use uuid::Uuid;

use super::super::change::Outbox;
use super::super::delivery::{Delivery, MessageRef};
use super::super::error::{BrokerError, Traffic};
use super::super::path::SubQueue;
use super::super::shelf::{Entry, Lock};
use super::Queue;
use super::rows::expires_at;
use crate::time::UnixMillis;

/// One settling call: which message, by which token, in which sub-queue.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker) struct Claim<'a> {
    pub(in crate::broker) sub_queue: SubQueue,
    pub(in crate::broker) which: &'a MessageRef,
    pub(in crate::broker) token: Uuid,
}

impl Queue {
    /// Whether receivers are let in.
    pub(in crate::broker) fn check_receiver(&self, sub_queue: SubQueue) -> Result<(), BrokerError> {
        self.check_settler()?;
        if self.forwards(sub_queue).is_some() {
            return Err(BrokerError::Forwards);
        }
        if self.options.requires_session && sub_queue == SubQueue::Main {
            return Err(BrokerError::RequiresSession);
        }
        Ok(())
    }

    fn check_settler(&self) -> Result<(), BrokerError> {
        if self.options.status.receives() { Ok(()) } else { Err(BrokerError::Disabled(Traffic::Receive)) }
    }

    /// The first message as it stands; it stays.
    pub(in crate::broker) fn peek(&self, sub_queue: SubQueue) -> Option<Delivery> {
        let shelf = self.shelf(sub_queue);
        let number = shelf.first_ready()?;
        Some(delivery(number, shelf.get(number)?.clone()))
    }

    /// Takes the first message: locked when a token is given, else for good.
    pub(in crate::broker) fn receive(
        &mut self,
        sub_queue: SubQueue,
        token: Option<Uuid>,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Option<Delivery> {
        self.touch(now, out);
        let number = self.shelf(sub_queue).first_ready()?;
        let deliveries = self.shelf(sub_queue).get(number)?.deliveries.saturating_add(1);
        let lock = token.map(|token| Lock { token, until: now.after(self.options.lock_duration) });
        let entry = if lock.is_some() {
            self.stand(sub_queue, number, lock, deliveries, out)?
        } else {
            Entry { deliveries, ..self.take_away(sub_queue, number, out)? }
        };
        Some(delivery(number, entry))
    }

    /// Undoes a delivery whose receiver was gone before it could be answered.
    pub(in crate::broker) fn give_back(
        &mut self,
        sub_queue: SubQueue,
        delivery: Delivery,
        now: UnixMillis,
        out: &mut Outbox,
    ) {
        let number = delivery.sequence_number;
        let deliveries = delivery.entry.deliveries.saturating_sub(1);
        match delivery.entry.lock {
            Some(lock) => {
                // The lock may have ended meanwhile; then there is nothing left to undo.
                if self.shelf(sub_queue).locked_by(lock.token) == Some(number) {
                    let entry = self.stand(sub_queue, number, None, deliveries, out);
                    let end = entry.as_ref().and_then(expires_at).filter(|end| *end <= now);
                    match end {
                        Some(_) if sub_queue == SubQueue::Main => self.expire(number, now, out),
                        _ => out.ready(self.path(sub_queue)),
                    }
                }
            }
            None => self.put(sub_queue, number, Entry { deliveries, ..delivery.entry }, out),
        }
    }

    /// Completes: the message is gone.
    pub(in crate::broker) fn complete(
        &mut self,
        claim: Claim<'_>,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<(), BrokerError> {
        let number = self.find_lock(claim)?;
        self.touch(now, out);
        self.take_away(claim.sub_queue, number, out);
        Ok(())
    }

    /// Abandons: the message is visible again, or dead when it was delivered too often.
    pub(in crate::broker) fn abandon(
        &mut self,
        claim: Claim<'_>,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<(), BrokerError> {
        let number = self.find_lock(claim)?;
        self.touch(now, out);
        self.release(claim.sub_queue, number, now, out);
        Ok(())
    }

    /// Renews: the lock holds for another lock duration from now. The token stays.
    pub(in crate::broker) fn renew(
        &mut self,
        claim: Claim<'_>,
        now: UnixMillis,
        out: &mut Outbox,
    ) -> Result<UnixMillis, BrokerError> {
        let number = self.find_lock(claim)?;
        self.touch(now, out);
        let until = now.after(self.options.lock_duration);
        let deliveries = self.shelf(claim.sub_queue).get(number).map_or(1, |entry| entry.deliveries);
        self.stand(claim.sub_queue, number, Some(Lock { token: claim.token, until }), deliveries, out);
        Ok(until)
    }

    /// Ends a lock before its time, as if it had expired.
    pub(in crate::broker) fn lose_lock(&mut self, sub_queue: SubQueue, token: Uuid, now: UnixMillis, out: &mut Outbox) {
        if let Some(number) = self.shelf(sub_queue).locked_by(token) {
            self.release(sub_queue, number, now, out);
        }
    }

    fn find_lock(&self, claim: Claim<'_>) -> Result<u64, BrokerError> {
        self.check_settler()?;
        let shelf = self.shelf(claim.sub_queue);
        let number = shelf.locked_by(claim.token).ok_or(BrokerError::LockLost)?;
        let entry = shelf.get(number).ok_or(BrokerError::LockLost)?;
        let named = claim.which.names(number, &entry.message.broker.message_id);
        if named { Ok(number) } else { Err(BrokerError::LockLost) }
    }
}

fn delivery(sequence_number: u64, entry: Entry) -> Delivery {
    Delivery { sequence_number, enqueued_sequence_number: entry.message.enqueued_sequence_number, entry }
}
