//! Lock keys: the messages of one key take turns.
//!
//! A message with a key stands in the line of that key from when it is to be begun until it is over. The run takes the key's lock for
//! the whole line, before any of their records; renews it as it renews them; and lets go of it when the line is empty. Within the line
//! the order is that of the broker's first sequence numbers, and one at a time is given to the processor: it stays the one until it is over,
//! through all its steps.
//!
//! `continue`: all of the line claim their records at once, so that the next is ready when one is over. `hold`: one claims at a
//! time, and the lock names it first. When it ends without being done or parked, the lock is let go with its name on it, and the rest of the
//! line leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Run, Slot};
use crate::config::OnKeyFailure;
use crate::message::property;
use crate::record::{ETag, Record};
use crate::run::command::{CommandKind, Context, Reply};
use crate::run::delivery::Handling;
use crate::run::lock::{KeyLock, KeyNext, Line};
use crate::run::{Effect, Outcome, Tag};
use crate::time::Instant;

/// How many keys a run remembers after it has let go of them. Each saves a look when it comes again.
const MOST_REMEMBERED: usize = 1_024;

/// A lock as this run let go of it.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) struct Remembered {
    lock: (Box<Record>, ETag),
    /// Of the line that had it. Later lines have higher ones.
    line: Tag,
}

/// A delivery's place in the line of its key.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) struct Place {
    /// The key.
    pub(super) key: String,
    /// Kept by copies: the order within the key.
    sequence: i64,
    /// Begun, under the key's lock.
    begun: bool,
    /// The lock was lost after it was begun: it must not go on.
    lost: bool,
}

/// The line of one key, and its lock.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) struct KeyLine {
    lock: KeyLock,
    tag: Tag,
    command: Option<CommandKind>,
    wait_until: Option<Instant>,
    /// Too little is left of the lock for the next call.
    renew: bool,
    /// In order.
    members: Vec<Tag>,
    /// The one that was given to the processor and is not over.
    current: Option<Tag>,
    /// The record of the one that must end before others are begun: it was begun, here or before. Only where a failure holds back
    /// the others.
    owed: Option<String>,
}

/// Whether it is a message's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// After another, or when the lock is renewed.
    Later,
    /// Not in this run: the one before it waits to be alone.
    HandOn,
    /// Its key's lock is lost.
    Lost,
}

impl Place {
    pub(super) fn of(slot: &Handling) -> Option<Self> {
        let delivery = slot.delivery();
        let key = delivery.key()?.to_owned();
        let first = delivery.properties.get(property::SEQUENCE).and_then(|value| value.to_string().parse().ok());
        let sequence = first.unwrap_or(delivery.lock.sequence_number);
        Some(Self { key, sequence, begun: false, lost: false })
    }
}

impl Run {
    const fn holds_back(&self) -> bool {
        matches!(self.queue.on_key_failure, OnKeyFailure::Hold)
    }

    /// Begins a delivery, or lets it stand in line for its key.
    pub(super) fn begin(&mut self, tag: Tag, now: Instant, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get(&tag) else { return };
        let Some(place) = &slot.place else {
            return self.begin_now(tag, now, effects);
        };
        let (key, sequence) = (place.key.clone(), place.sequence);
        let before = |other: &Tag| {
            let other_place = self.slots.get(other).and_then(|slot| slot.place.as_ref());
            other_place.is_some_and(|other| other.sequence <= sequence)
        };
        let at = self.keys.get(&key).map_or(0, |line| line.members.partition_point(before));
        if !self.keys.contains_key(&key) {
            let own_tag = self.fresh_tag();
            let known = self.remembered.remove(&key).map(|known| known.lock);
            let lock = KeyLock::new(&self.queue.group, &key, known);
            self.key_tags.insert(own_tag, key.clone());
            self.keys.insert(key.clone(), KeyLine::new(lock, own_tag));
        }
        if let Some(line) = self.keys.get_mut(&key) {
            line.members.insert(at.min(line.members.len()), tag);
        }
    }

    fn begin_now(&mut self, tag: Tag, now: Instant, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get_mut(&tag) else { return };
        if let Some(place) = &mut slot.place {
            place.begun = true;
            if let Some(line) =
                self.keys.get_mut(&place.key).filter(|_| self.queue.on_key_failure == OnKeyFailure::Hold)
            {
                line.owed = Some(slot.handling.record_name().to_owned());
            }
        }
        let begin = if slot.after_twin { Handling::begin_after_twin } else { Handling::begin };
        self.step(tag, now, effects, begin);
    }

    /// Does for each key what has become possible or due.
    pub(super) fn drive_keys(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for key in self.keys.keys().cloned().collect::<Vec<_>>() {
            self.drive_key(&key, now, effects);
        }
    }

    fn drive_key(&mut self, key: &str, now: Instant, effects: &mut Vec<Effect>) {
        let ending = now >= self.release_at();
        let renew_after = self.queue.renew_after();
        let Some(line) = self.keys.get_mut(key) else { return };
        if line.command.is_some() || line.wait_until.is_some_and(|until| until > now && !ending) {
            return;
        }
        line.wait_until = None;
        if line.lock.is_free() {
            if line.members.is_empty() {
                self.forget(key);
            } else if !ending || line.lock.is_busy() {
                // Towards the end, one last look at a key that was busy: what waits for it must not come straight back.
                self.with_lock(key, now, effects, KeyLock::take);
            }
            return;
        }
        let Some(first) = self.first_in_line(key) else {
            return self.let_go(key, now, effects);
        };
        let Some(line) = self.keys.get_mut(key) else { return };
        let is_old =
            std::mem::take(&mut line.renew) || line.lock.held().is_some_and(|held| held.since.plus(renew_after) <= now);
        let named = line.lock.held().and_then(|held| held.record.blocked_by.clone());
        let turn = if self.holds_back() { self.record_of(first) } else { None };
        if named != turn || (is_old && self.is_needed(key)) {
            self.with_lock(key, now, effects, |lock, _, context| lock.keep(turn, context));
        }
        if !ending {
            self.begin_line(key, now, effects);
        }
    }

    /// The line is empty, or who must go first is not in it.
    fn let_go(&mut self, key: &str, now: Instant, effects: &mut Vec<Effect>) {
        let owed = self.keys.get_mut(key).and_then(|line| line.owed.take());
        self.with_lock(key, now, effects, |lock, _, context| lock.let_go(owed, context));
    }

    /// Whether anybody in line has more to do than to be settled.
    fn is_needed(&self, key: &str) -> bool {
        let needs = |tag: &Tag| self.slots.get(tag).is_some_and(|slot| !slot.handling.is_settling());
        self.keys.get(key).is_some_and(|line| line.members.iter().any(needs))
    }

    /// Renews the lock of its key before it is due.
    pub(super) fn renew_key_of(&mut self, tag: Tag, now: Instant, effects: &mut Vec<Effect>) {
        let Some(key) = self.place(tag).map(|place| place.key.clone()) else { return };
        if let Some(line) = self.keys.get_mut(&key) {
            line.renew = true;
        }
        self.drive_key(&key, now, effects);
    }

    /// The line of a key that is held is begun: all of it, or the one whose turn it is.
    fn begin_line(&mut self, key: &str, now: Instant, effects: &mut Vec<Effect>) {
        if self.is_anybody_apart() {
            return;
        }
        let members = match self.keys.get(key) {
            Some(_) if self.holds_back() => self.first_in_line(key).into_iter().collect(),
            Some(line) => line.members.clone(),
            None => Vec::new(),
        };
        for tag in members {
            if self.is_new(tag) {
                self.begin_now(tag, now, effects);
            }
        }
    }

    /// Whose turn it is: who must end before others; else who was given to the processor; else the first of those that were begun;
    /// else the first.
    fn first_in_line(&self, key: &str) -> Option<Tag> {
        let line = self.keys.get(key)?;
        if let Some(owed) = &line.owed {
            return line.members.iter().find(|tag| self.record_of(**tag).as_ref() == Some(owed)).copied();
        }
        let begun = |tag: &&Tag| self.place(**tag).is_some_and(|place| place.begun);
        let alone = self.alone.filter(|alone| line.members.contains(alone));
        line.current
            .or(alone)
            .or_else(|| line.members.iter().find(begun).copied())
            .or_else(|| line.members.first().copied())
    }

    fn place(&self, tag: Tag) -> Option<&Place> {
        self.slots.get(&tag)?.place.as_ref()
    }

    fn record_of(&self, tag: Tag) -> Option<String> {
        Some(self.slots.get(&tag)?.handling.record_name().to_owned())
    }

    /// Whether a message that is ready may be given to the processor.
    pub(super) fn turn(&self, tag: Tag) -> Turn {
        let Some(place) = self.place(tag) else { return Turn::Now };
        let Some(line) = self.keys.get(&place.key) else { return Turn::Lost };
        if place.lost {
            return Turn::Lost;
        }
        match self.first_in_line(&place.key) {
            Some(first) if first == tag => {
                let named = line.lock.held().is_some_and(|held| held.record.blocked_by == self.record_of(tag));
                let may = line.lock.is_held() && (named || !self.holds_back());
                if may { Turn::Now } else { Turn::Later }
            }
            Some(first) if self.apart.contains(&first) => Turn::HandOn,
            _ => Turn::Later,
        }
    }

    /// It is given to the processor. The epoch of its key is the fence for what it does.
    pub(super) fn took_its_turn(&mut self, tag: Tag) -> Option<u64> {
        let key = self.place(tag)?.key.clone();
        let line = self.keys.get_mut(&key)?;
        line.current = Some(tag);
        Some(line.lock.held()?.record.epoch)
    }

    /// Until when the lock of its key may be used; `None` where it has no key.
    pub(super) fn key_ends(&self, tag: Tag) -> Option<Instant> {
        let place = self.place(tag)?;
        let ends = self.keys.get(&place.key).and_then(|line| line.lock.ends(self.queue.working_time()));
        Some(ends.filter(|_| !place.lost).unwrap_or_default())
    }

    /// It is over, and leaves the line.
    pub(super) fn leave_line(&mut self, tag: Tag, slot: &Slot, outcome: &Outcome) {
        let Some(place) = &slot.place else { return };
        let Some(line) = self.keys.get_mut(&place.key) else { return };
        line.members.retain(|member| *member != tag);
        line.current.take_if(|current| *current == tag);
        if place.begun && outcome.is_final() {
            line.owed.take_if(|owed| owed == slot.handling.record_name());
        }
    }

    /// Whether it waits for a key that another holds.
    pub(super) fn waits_for_key(&self, tag: Tag) -> bool {
        let line = self.place(tag).and_then(|place| self.keys.get(&place.key));
        line.is_some_and(|line| line.lock.is_busy() && line.members.contains(&tag))
    }

    /// How many keys will be held in a moment.
    pub(super) fn keys_being_taken(&self) -> usize {
        self.keys.values().filter(|line| line.lock.is_being_taken()).count()
    }

    /// Whether no key is held, and nothing is under way for one.
    pub(super) fn has_no_keys(&self) -> bool {
        self.keys.is_empty()
    }

    /// When keys want to be looked at: their renewals, and the ends of their waits.
    pub(super) fn key_timers(&self) -> impl Iterator<Item = Instant> {
        let after = self.queue.renew_after();
        self.keys.values().flat_map(move |line| {
            let renewal = line.lock.held().map(|held| held.since.plus(after));
            [line.wait_until, renewal].into_iter().flatten()
        })
    }

    /// What a command for a key is about.
    pub(super) fn key_target(&self, tag: Tag) -> Option<&str> {
        Some(self.keys.get(self.key_tags.get(&tag)?)?.lock.name())
    }

    /// The reply to a command for a key.
    pub(super) fn on_key_replied(
        &mut self,
        tag: Tag,
        kind: CommandKind,
        reply: Reply,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(key) = self.key_tags.get(&tag).cloned() else { return };
        let asked = self.keys.get_mut(&key).and_then(|line| line.command.take_if(|asked| *asked == kind));
        if asked.is_some() {
            self.with_lock(&key, now, effects, |lock, line, context| lock.on_reply(reply, line, context));
        }
    }

    /// Lets the lock of a key take one step, and follows what it asks for.
    fn with_lock(
        &mut self,
        key: &str,
        now: Instant,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut KeyLock, &Line, &mut Context<'_>) -> KeyNext,
    ) {
        let names = |line: &KeyLine| line.members.iter().filter_map(|tag| self.record_of(*tag)).collect();
        let names: Vec<String> = self.keys.get(key).map(names).unwrap_or_default();
        let in_line = Line { first: self.first_in_line(key).and_then(|tag| self.record_of(tag)), names };
        let last_look = now >= self.release_at();
        let Some(line) = self.keys.get_mut(key) else { return };
        let mut context = Context { queue: &self.queue, names: &mut self.names, now, ending: last_look, last_look };
        match act(&mut line.lock, &in_line, &mut context) {
            KeyNext::Do(command) => {
                line.command = Some(command.kind());
                effects.push(Effect::Perform { tag: line.tag, command });
            }
            KeyNext::Taken { owed } => {
                line.owed = owed;
                self.summary.lock_keys.taken += 1;
            }
            KeyNext::Kept | KeyNext::Free => {}
            KeyNext::Wait(time) => line.wait_until = Some(now.plus(time)),
            KeyNext::Leave(outcome, remaining) => self.leave(key, &outcome, remaining, now, effects),
            KeyNext::Lost => self.key_lost(key),
            KeyNext::Failed(outcome) => {
                for tag in self.unbegun(key) {
                    self.finish(tag, outcome.clone(), now, effects);
                }
            }
        }
    }

    /// The members that nothing is under way for.
    fn unbegun(&self, key: &str) -> Vec<Tag> {
        let members = self.keys.get(key).map(|line| line.members.clone()).unwrap_or_default();
        members.into_iter().filter(|tag| self.is_new(*tag)).collect()
    }

    /// The key cannot be had now: its messages are busy with it.
    fn leave(&mut self, key: &str, outcome: &Outcome, remaining: Duration, now: Instant, effects: &mut Vec<Effect>) {
        for tag in self.unbegun(key) {
            self.step(tag, now, effects, |handling, context| handling.key_busy(outcome.clone(), remaining, context));
        }
    }

    /// Whoever was begun under it stops before its next step; the others wait for it again.
    fn key_lost(&mut self, key: &str) {
        self.summary.lock_keys.lost += 1;
        let Some(line) = self.keys.get_mut(key) else { return };
        (line.current, line.owed) = (None, None);
        let mut waiting = Vec::new();
        for tag in std::mem::take(&mut line.members) {
            match self.slots.get_mut(&tag).and_then(|slot| slot.place.as_mut()) {
                Some(place) if place.begun => place.lost = true,
                _ => waiting.push(tag),
            }
        }
        line.members = waiting;
    }

    /// Nobody stands in line, and the lock is let go.
    fn forget(&mut self, key: &str) {
        let Some(line) = self.keys.remove(key) else { return };
        self.key_tags.remove(&line.tag);
        let Some(lock) = line.lock.into_known() else { return };
        self.remembered.insert(key.to_owned(), Remembered { lock, line: line.tag });
        keep_latest(&mut self.remembered, MOST_REMEMBERED);
    }
}

impl KeyLine {
    const fn new(lock: KeyLock, tag: Tag) -> Self {
        Self {
            lock,
            tag,
            command: None,
            wait_until: None,
            renew: false,
            members: Vec::new(),
            current: None,
            owed: None,
        }
    }
}

/// Forgets whose line was formed first.
fn keep_latest(remembered: &mut BTreeMap<String, Remembered>, most: usize) {
    while remembered.len() > most {
        let oldest = remembered.iter().min_by_key(|(_, known)| known.line).map(|(key, _)| key.clone());
        oldest.and_then(|key| remembered.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Mark;
    use crate::record::Author;

    #[test]
    fn what_is_forgotten_is_the_oldest_and_not_the_first_of_the_alphabet() {
        let author = Author { owner: "o".into(), mark: Mark::parse("m") };
        let lock = Record::first_key("k", Duration::from_secs(45), None, author)
            .let_go_key(None, Author { owner: "o".into(), mark: Mark::parse("n") });
        let known =
            |line| Remembered { lock: (Box::new(lock.clone()), ETag::parse("\"1\"").unwrap()), line: Tag(line) };
        let mut remembered: BTreeMap<_, _> =
            [("c", 1), ("a", 3), ("b", 2)].map(|(key, line)| (key.to_owned(), known(line))).into();
        keep_latest(&mut remembered, 2);
        assert_eq!(remembered.keys().collect::<Vec<_>>(), ["a", "b"]);
    }
}
