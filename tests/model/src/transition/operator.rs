//! Operators: letters that are sent back, and records that are swept.

use std::time::Duration;

use oncebus_core::id::{payload_hash, record_name};
use oncebus_core::message::{Delivery, property};
use oncebus_core::record::redrive::{Letter, Origin};
use oncebus_core::record::retention::{Goes, Policy, Sweep, Verdict};
use oncebus_core::run::redrive::{Next, Outcome, Redrive, Subject};
use oncebus_core::run::{Command, Reply};

use super::Transition;
use crate::TICK;
use crate::broker::DeliveryId;
use crate::rules::Event;
use crate::shared::Shared;
use crate::state::{Late, Operator, State};
use crate::switch::Switch;

/// For how long records are kept where they are not swept.
const LONG: Duration = Duration::from_secs(14 * 86_400);

impl Transition<'_> {
    /// A letter is received, as `oncebus dead-letters redrive` does.
    pub(super) fn take_up(&mut self, sequence: i64) -> Option<()> {
        self.state.left.redrives -= 1;
        let age = TICK * u32::from(self.state.broker.age_of(sequence));
        let (id, delivery) = self.state.broker.receive(sequence)?;
        let random = u128::from(id.sequence.unsigned_abs()) << 8 | u128::from(id.count);
        let mut redrive = Redrive::new(self.subject(delivery, age), random);
        let next = redrive.begin();
        self.operator_goes_on(id, redrive, next);
        Some(())
    }

    fn subject(&self, delivery: Delivery, age: Duration) -> Subject {
        let payload = payload_hash(delivery.sent_content_type(), &delivery.body);
        let mismatch = delivery.properties.text(property::DEAD_LETTER_REASON) == Some("payload-mismatch");
        let epoch = delivery.properties.text(property::EPOCH).and_then(|epoch| epoch.parse().ok());
        let origin = if mismatch { Origin::Mismatch } else { Origin::Poison(epoch) };
        let kept = self.model.bounds.retention.map_or(LONG, |retention| TICK * u32::from(retention.records));
        Subject {
            id: delivery.logical_id().to_owned(),
            delivery,
            letter: Letter { origin, payload: payload.clone(), sent: payload, age: Some(age) },
            queue: self.model.queue.clone(),
            kept,
            anew: false,
            dry_run: false,
        }
    }

    fn operator_goes_on(&mut self, id: DeliveryId, redrive: Redrive, next: Next) {
        match next {
            Next::Do(asks) => self.state.operators.push(Shared::new(Operator { id, redrive, asks })),
            Next::Over(ended) => match ended.outcome {
                Outcome::Reopened { .. } => self.happens(Event::Reopened),
                Outcome::Sent => self.happens(Event::SentBack),
                Outcome::Settled(_) => self.happens(Event::LetterSettled),
                Outcome::Left(_) | Outcome::Failed { .. } => {}
            },
        }
    }

    fn take_operator(&mut self, id: DeliveryId) -> Option<Operator> {
        let index = self.state.operators.iter().position(|operator| operator.id == id)?;
        Some(Operator::clone(&self.state.operators.swap_remove(index)))
    }

    pub(super) fn operate(&mut self, id: DeliveryId) -> Option<()> {
        let Operator { mut redrive, asks, .. } = self.take_operator(id)?;
        if matches!(asks, Command::Send(_)) && self.model.switch == Some(Switch::LetterFirst) {
            self.complete(id);
        }
        let request = self.model.request(self.state, None);
        let State { broker, storage, broken, .. } = &mut *self.state;
        let reply = match asks {
            Command::Look => storage.look(&request),
            Command::Write { .. } => storage.write(&asks, &request, broken).reply,
            Command::Send(copy) => {
                broker.send(id, *copy, &self.model.queue, storage, broken);
                Reply::Settled
            }
            Command::Complete => broker.complete(id, storage, broken),
            _ => return None,
        };
        if reply == Reply::Refused {
            self.happens(Event::RedriveRefused);
        }
        let next = redrive.on_reply(reply);
        self.operator_goes_on(id, redrive, next);
        Some(())
    }

    pub(super) fn operate_unanswered(&mut self, id: DeliveryId) -> Option<()> {
        let Operator { mut redrive, asks, .. } = self.take_operator(id)?;
        self.state.left.unanswered -= 1;
        self.state.late.push(Shared::new(Late::Request { from: id, claim: None, command: asks }));
        let next = redrive.on_reply(Reply::Unknown);
        self.operator_goes_on(id, redrive, next);
        Some(())
    }

    pub(super) fn operator_crash(&mut self, id: DeliveryId) -> Option<()> {
        self.state.left.crashes -= 1;
        let Operator { asks, .. } = self.take_operator(id)?;
        if asks != Command::Look {
            self.state.late.push(Shared::new(Late::Request { from: id, claim: None, command: asks }));
        }
        Some(())
    }

    /// `oncebus records sweep` comes to the record in its listing.
    pub(super) fn list(&mut self) -> Option<()> {
        self.state.left.sweeps -= 1;
        let (metadata, age, etag) = self.state.storage.list(&self.model.request(self.state, None))?;
        let kept = self.model.bounds.retention.map_or(0, |retention| retention.records);
        let kept = if self.model.switch == Some(Switch::SweptTooEarly) { 0 } else { kept };
        let policy = Policy { older_than: TICK * u32::from(kept), keys: false };
        let verdict = Sweep::new(policy).judge(&record_name("q", "m"), age, &metadata);
        self.state.listed = (verdict == Verdict::Goes(Goes::Record)).then_some(etag);
        Some(())
    }

    pub(super) fn sweep(&mut self) -> Option<()> {
        let etag = self.state.listed.take()?;
        let request = self.model.request(self.state, None);
        if self.state.storage.delete(&etag, &request, &mut self.state.broken) {
            self.happens(Event::Swept);
        }
        Some(())
    }
}
