//! What a run does of itself, after each event and when its timers are due: begin, process, poll, and end.

use std::time::Duration;

use super::keys::Turn;
use super::{Run, Slot, WAIT_FOR_CLAIMS};
use crate::run::delivery::Handling;
use crate::run::{Effect, Outcome, Tag};
use crate::time::Instant;

/// The longest single poll. Azure's load balancer cuts idle connections after about 4 minutes, samples of Service Bus use
/// 60 s; a shorter one notices sooner that something between is broken.
const LONGEST_POLL: Duration = Duration::from_secs(30);

/// The most bytes of bodies and checkpoints in hand with which it still asks for more. An instance has 128 MiB on the smallest platform, and
/// they are copied once for the processor.
const MOST_BYTES: usize = 16 << 20;

/// What a renewal may take (two round trips), so that a call which needs almost all of a claim's time is not preceded by renewals
/// for ever. Decided, not measured.
const ROUND_TRIPS: Duration = Duration::from_secs(1);

/// Whether a message that is ready goes to the processor now.
enum Fit {
    Goes,
    /// For others of its key, or for the lock of its key to be renewed.
    Waits,
    /// Not enough is left of its claim.
    AfterRenewal,
    /// Not enough is left of the claim of its key.
    AfterRenewalOfKey,
    /// Its key's lock is lost: it goes no further.
    Lost,
    /// Not enough is left of the run: it is handed on.
    Late,
}

impl Run {
    /// Does whatever has become possible or due.
    pub(super) fn advance(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.seen = self.seen.max(now);
        if self.over {
            return;
        }
        if now >= self.deadline {
            return self.end(now, effects);
        }
        self.give_back(now, effects);
        self.look_again(now, effects);
        self.begin_after_twins(now, effects);
        self.begin_gathered(now, effects);
        self.begin_alone(now, effects);
        self.keep(now, effects);
        self.drive_keys(now, effects);
        self.process(now, effects);
        self.poll(now, effects);
        let nothing_in_hand = self.polls == 0 && self.slots.is_empty() && self.has_no_keys();
        self.over = !self.probing && nothing_in_hand && !self.may_poll(now);
    }

    /// The deadline: what is not settled comes back when its peek-lock has lapsed.
    fn end(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.over = true;
        self.same_record.clear();
        for tag in self.slots.keys().copied().collect::<Vec<_>>() {
            self.finish(tag, Outcome::Unsettled("the run's time was up".to_owned()), now, effects);
        }
    }

    /// The end is near: whatever has not begun goes back to the broker, once no poll of ours would catch it again.
    fn give_back(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if now < self.release_at() || self.polls > 0 {
            return;
        }
        self.gathered.clear();
        self.after_twin.clear();
        self.apart.clear();
        let unbegun = self.slots.iter().filter(|(_, slot)| slot.handling.is_unbegun()).map(|(tag, _)| *tag);
        for tag in unbegun.filter(|tag| !self.waits_for_key(*tag)).collect::<Vec<_>>() {
            self.step(tag, now, effects, |handling, _| handling.give_back());
        }
    }

    fn look_again(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let alone = self.alone;
        let last_look = now >= self.release_at();
        let due: Vec<Tag> = self
            .slots
            .iter_mut()
            .filter(|(tag, slot)| alone.is_none_or(|alone| alone == **tag) && slot.command.is_none())
            .filter_map(|(tag, slot)| {
                slot.wait_until.take_if(|until| last_look || *until <= now)?;
                Some(*tag)
            })
            .collect();
        for tag in due {
            self.step(tag, now, effects, Handling::on_waited);
        }
    }

    /// A twin whose renewal is under way begins when that is over.
    fn begin_after_twins(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let (new, renewing) = std::mem::take(&mut self.after_twin)
            .into_iter()
            .filter(|tag| self.slots.contains_key(tag))
            .partition::<Vec<Tag>, _>(|tag| self.is_new(*tag));
        self.after_twin = renewing;
        for tag in new {
            self.begin(tag, now, effects);
        }
    }

    /// Whether it was received and nothing is under way for it.
    pub(super) fn is_new(&self, tag: Tag) -> bool {
        self.slots.get(&tag).is_some_and(|slot| slot.handling.is_new())
    }

    fn begin_gathered(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let waited = self.gather_until.is_some_and(|until| until <= now);
        let nothing_more = self.polls == 0 && !self.may_poll(now);
        if self.is_anybody_apart() || now >= self.release_at() {
            return;
        }
        if !(waited || nothing_more || self.gathered.len() >= self.batch) {
            return;
        }
        self.gather_until = None;
        // No more claims than one call of the processor takes: the others would wait for it, and run out.
        let room = self.batch.saturating_sub(self.ready.len() + self.getting_ready());
        // Nor more bodies out of blobs than fit into memory; one of any size always.
        let claimed = |tag: &Tag| self.slots.get(tag).map_or(0, |slot| slot.handling.claimed_bytes());
        let mut bytes: usize =
            self.slots.values().filter(|slot| !slot.handling.is_new()).map(|slot| slot.handling.claimed_bytes()).sum();
        let fits = |tag: &Tag| {
            let more = claimed(tag);
            let fits = more == 0 || bytes == 0 || bytes.saturating_add(more) <= MOST_BYTES;
            bytes = bytes.saturating_add(more);
            fits
        };
        let new = self.gathered.iter().copied().filter(|tag| self.is_new(*tag));
        let begin: Vec<Tag> = new.take(room).take_while(fits).collect();
        self.gathered.retain(|tag| !begin.contains(tag));
        for tag in begin {
            self.begin(tag, now, effects);
        }
        if !self.gathered.is_empty() {
            self.gather_until = Some(now);
        }
    }

    /// How many deliveries will be ready in a moment; of those that wait for a key, one for each key.
    fn getting_ready(&self) -> usize {
        let claiming = |slot: &&Slot| slot.command.is_some() && slot.handling.is_getting_ready();
        self.slots.values().filter(claiming).count() + self.keys_being_taken()
    }

    /// Whether somebody waits to be alone, or is.
    pub(super) fn is_anybody_apart(&self) -> bool {
        self.alone.is_some() || !self.apart.is_empty()
    }

    /// When whatever else was begun is over, the next that must be alone goes.
    fn begin_alone(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let others = self.slots.values().any(|slot| slot.command.is_some() || slot.handling.held().is_some());
        if self.alone.is_some() || others {
            return;
        }
        self.alone = self.apart.pop_front();
        if let Some(tag) = self.alone {
            self.step(tag, now, effects, Handling::on_alone);
        }
    }

    fn process(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let waited = now >= self.ready_since.plus(WAIT_FOR_CLAIMS);
        let complete = waited || self.ready.len() >= self.batch || self.getting_ready() == 0;
        if self.processing || self.ready.is_empty() || !complete {
            return;
        }
        let mut tags = Vec::new();
        for tag in std::mem::take(&mut self.ready) {
            match self.fit(tag, now) {
                Fit::Goes if tags.len() < self.batch => tags.push(tag),
                Fit::Goes | Fit::Waits => self.ready.push_back(tag),
                Fit::AfterRenewal => self.step(tag, now, effects, Handling::keep),
                Fit::AfterRenewalOfKey => {
                    self.ready.push_back(tag);
                    self.renew_key_of(tag, now, effects);
                }
                Fit::Late => self.step(tag, now, effects, Handling::on_deadline),
                Fit::Lost => self.step(tag, now, effects, Handling::lose),
            }
        }
        let time_left = tags.iter().map(|tag| self.time_left(*tag, now)).min().unwrap_or_default();
        let mut work = Vec::new();
        for tag in tags {
            let key_epoch = self.took_its_turn(tag);
            let Some(slot) = self.slots.get_mut(&tag) else { continue };
            work.extend(slot.handling.work(tag, &self.queue, time_left, key_epoch));
        }
        if !work.is_empty() {
            self.processing = true;
            effects.push(Effect::Process(work));
        }
    }

    /// Whether a call like the longest so far would end while the claim holds and before the run does.
    fn fit(&self, tag: Tag, now: Instant) -> Fit {
        let turn = self.turn(tag);
        if turn == Turn::Lost {
            return Fit::Lost;
        }
        if turn == Turn::HandOn || now >= self.release_at() || now.until(self.write_by()) <= self.longest_call {
            return Fit::Late;
        }
        if turn == Turn::Later {
            return Fit::Waits;
        }
        if self.time_left(tag, now) > self.longest_call {
            return Fit::Goes;
        }
        let renewed = self.queue.working_time().saturating_sub(self.longest_call);
        let key_is_old = self.key_ends(tag).is_some_and(|ends| now.until(ends) <= self.longest_call);
        match (renewed > ROUND_TRIPS, key_is_old) {
            (false, _) => Fit::Late,
            (true, true) => Fit::AfterRenewalOfKey,
            (true, false) => Fit::AfterRenewal,
        }
    }

    /// How long a call with this message may take: until its claim must not be used any more, or the run must write down
    /// what the call did.
    fn time_left(&self, tag: Tag, now: Instant) -> Duration {
        let claim_ends = self.slots.get(&tag).and_then(|slot| Some(slot.handling.held()?.since));
        let claim_ends = claim_ends.map(|since| since.plus(self.queue.working_time())).unwrap_or_default();
        let key_ends = self.key_ends(tag).unwrap_or(claim_ends);
        now.until(claim_ends.min(key_ends).min(self.write_by()))
    }

    /// When a call must have ended for what it did to be written down before the deadline.
    fn write_by(&self) -> Instant {
        Instant(self.deadline.0.saturating_sub(self.rest.0 / 2))
    }

    fn may_poll(&self, now: Instant) -> bool {
        self.receiving && !self.probing && !self.drained && now < self.receive_until()
    }

    /// Whole seconds that a poll begun now may wait. With less than one left it does not wait: what is there is taken until
    /// the first empty answer.
    pub(super) fn poll_seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.until(self.receive_until()).min(LONGEST_POLL).as_secs()).unwrap_or(0)
    }

    /// Keeps as many polls going as the window says, while there is room for what they bring: one batch in work
    /// and one being gathered.
    fn poll(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.may_poll(now) {
            return;
        }
        let room = self.batch.saturating_mul(2).saturating_sub(self.slots.len());
        let wanted = self.window.min(room);
        let bytes = || self.slots.values().map(|slot| slot.handling.bytes()).sum::<usize>();
        if self.polls >= wanted || bytes() >= MOST_BYTES {
            return;
        }
        while self.polls < wanted {
            self.polls += 1;
            effects.push(Effect::Poll { timeout_seconds: self.poll_seconds(now) });
        }
    }
}
