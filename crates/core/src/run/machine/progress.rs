//! What a run does of itself, after each event and when its timers are due: begin, process, poll, and end.

use std::time::Duration;

use super::{Run, WAIT_FOR_CLAIMS};
use crate::run::delivery::Handling;
use crate::run::{Effect, Outcome, Tag, Work};
use crate::time::Instant;

/// The longest single poll. Azure's load balancer cuts idle connections after about 4 minutes, samples of Service Bus use
/// 60 s; a shorter one notices sooner that something between is broken.
const LONGEST_POLL: Duration = Duration::from_secs(30);

/// The most bytes of bodies in hand with which it still asks for more. An instance has 128 MiB on the smallest platform, and
/// bodies are copied once for the processor.
const MOST_BYTES: usize = 16 << 20;

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
        self.begin_gathered(now, effects);
        self.begin_alone(now, effects);
        self.process(now, effects);
        self.poll(now, effects);
        self.over = !self.probing && self.polls == 0 && self.slots.is_empty() && !self.may_poll(now);
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
        self.apart.clear();
        let unbegun = self.slots.iter().filter(|(_, slot)| slot.handling.is_unbegun()).map(|(tag, _)| *tag);
        for tag in unbegun.collect::<Vec<_>>() {
            self.step(tag, now, effects, |handling, _| handling.give_back());
        }
    }

    fn look_again(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let alone = self.alone;
        let last_look = now >= self.release_at();
        let due: Vec<Tag> = self
            .slots
            .iter_mut()
            .filter(|(tag, _)| alone.is_none_or(|alone| alone == **tag))
            .filter_map(|(tag, slot)| {
                slot.wait_until.take_if(|until| last_look || *until <= now)?;
                Some(*tag)
            })
            .collect();
        for tag in due {
            self.step(tag, now, effects, Handling::on_waited);
        }
    }

    fn begin_gathered(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let waited = self.gather_until.is_some_and(|until| until <= now);
        let nothing_more = self.polls == 0 && !self.may_poll(now);
        let somebody_apart = self.alone.is_some() || !self.apart.is_empty();
        if somebody_apart || now >= self.release_at() {
            return;
        }
        if !(waited || nothing_more || self.gathered.len() >= self.batch) {
            return;
        }
        self.gather_until = None;
        // No more claims than one call of the processor takes: the others would wait for it, and run out.
        let room = self.batch.saturating_sub(self.ready.len() + self.claiming());
        for tag in self.gathered.drain(..room.min(self.gathered.len())).collect::<Vec<_>>() {
            self.step(tag, now, effects, Handling::begin);
        }
        if !self.gathered.is_empty() {
            self.gather_until = Some(now);
        }
    }

    /// How many deliveries are on their way to a claim.
    fn claiming(&self) -> usize {
        self.slots.values().filter(|slot| slot.command.is_some() && slot.handling.is_claiming()).count()
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
        let complete = waited || self.ready.len() >= self.batch || self.claiming() == 0;
        if self.processing || self.ready.is_empty() || !complete {
            return;
        }
        let tags: Vec<Tag> = self.ready.drain(..self.ready.len().min(self.batch)).collect();
        // Whose claim would end before a call like the longest so far is handed on; the others have their time.
        let (tags, late): (Vec<Tag>, Vec<Tag>) =
            tags.into_iter().partition(|tag| self.time_left(*tag, now) > self.longest_call && now < self.release_at());
        for tag in late {
            self.step(tag, now, effects, Handling::on_deadline);
        }
        let time_left = tags.iter().map(|tag| self.time_left(*tag, now)).min().unwrap_or_default();
        let work = tags.iter().filter_map(|tag| self.slots.get(tag)?.handling.work(*tag, &self.queue, time_left));
        let work: Vec<Work> = work.collect();
        if !work.is_empty() {
            self.processing = true;
            effects.push(Effect::Process(work));
        }
    }

    /// How long a call with this message may take: until its claim must not be used any more, or the run must write down
    /// what the call did.
    fn time_left(&self, tag: Tag, now: Instant) -> Duration {
        let claim_ends = self.slots.get(&tag).and_then(|slot| Some(slot.handling.held()?.since));
        let claim_ends = claim_ends.map(|since| since.plus(self.queue.working_time())).unwrap_or_default();
        let write_by = Instant(self.deadline.0.saturating_sub(self.rest.0 / 2));
        now.until(claim_ends.min(write_by))
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
        let bytes = || self.slots.values().map(|slot| slot.handling.delivery().body.len()).sum::<usize>();
        if self.polls >= wanted || bytes() >= MOST_BYTES {
            return;
        }
        while self.polls < wanted {
            self.polls += 1;
            effects.push(Effect::Poll { timeout_seconds: self.poll_seconds(now) });
        }
    }
}
