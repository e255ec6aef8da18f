//! What must never happen, and what must be able to happen.
//!
//! A rule is judged at the moment of the transition that could break it, against the truth that the model keeps beside the protocol (who
//! claimed how many times, the highest epoch, the furthest step). What was broken stays in the state.
//!
//! Of the states in which a rule is broken, the first that the checker comes to is told: it is the nearest.
//!
//! An event belongs to a transition, and not to the state that it leads to, which may be known from other ways. So the model notes it
//! when it happens.

use stateright::Property;

use crate::watch::{Watch, Watched};

/// What must never happen, by the name of what holds instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// No two claims have the same epoch, and a write never carries an older one.
    EpochsRise,
    /// Whose claim was taken over, or who has none, writes nothing.
    OnlyTheHolderWrites,
    /// What another holds is written over only when it has expired by the storage's clock.
    OnlyExpiredIsTaken,
    /// A step begins only while the record says that its claim holds.
    StepsBeginClaimed,
    /// A record that is done is never written again.
    DoneIsFinal,
    /// The step of a record never falls, and each step begins with what the one before it left.
    CheckpointsStay,
    /// A message that was accepted is at the broker, is done, or is on the poison queue.
    NothingIsLost,
    /// A delivery is completed only when the record is final or its copy is made.
    CompletedLast,
    /// No effect of an older claim is taken after one of a newer.
    EffectsAreFenced,
    /// No effect is taken twice under one claim.
    EffectsAreSingle,
    /// No effect is taken when the record is done.
    NoEffectAfterDone,
    /// When the record is done, each step has had its effect.
    DoneIsComplete,
    /// A step runs again only after time has passed it by, or after a failure of its processor.
    RepeatsHaveReasons,
    /// A poison copy is made only of a message whose record is parked, or of another payload.
    PoisonIsParked,
    /// What is written can be read, and is what was written.
    RecordsAreReadable,
    /// A step of a message with a lock key begins only while the key's lock says that its run holds it.
    KeysAreHeld,
    /// While a message is in a call, or between two steps, no other of its lock key begins one.
    KeysTakeTurns,
    /// No effect of an older claim of the key is taken after one of a newer.
    KeysFenceEffects,
    /// Where a failure holds back the others, none begins before whoever was begun has ended.
    HeldBackWait,
    /// Whoever is left to itself comes to an end: no block outlives its reason.
    BlocksHeal,
    /// An operator reopens what is parked, and nothing else.
    OnlyParkedIsReopened,
    /// An operator's sweep deletes what is over, and nothing else.
    OnlyOverIsSwept,
}

/// All of them.
pub const RULES: [Rule; 22] = [
    Rule::EpochsRise,
    Rule::OnlyTheHolderWrites,
    Rule::OnlyExpiredIsTaken,
    Rule::StepsBeginClaimed,
    Rule::DoneIsFinal,
    Rule::CheckpointsStay,
    Rule::NothingIsLost,
    Rule::CompletedLast,
    Rule::EffectsAreFenced,
    Rule::EffectsAreSingle,
    Rule::NoEffectAfterDone,
    Rule::DoneIsComplete,
    Rule::RepeatsHaveReasons,
    Rule::PoisonIsParked,
    Rule::RecordsAreReadable,
    Rule::KeysAreHeld,
    Rule::KeysTakeTurns,
    Rule::KeysFenceEffects,
    Rule::HeldBackWait,
    Rule::BlocksHeal,
    Rule::OnlyParkedIsReopened,
    Rule::OnlyOverIsSwept,
];

/// Something that must be able to happen, so that the rules are not kept by nothing happening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A message was done.
    Finished,
    /// A claim was taken over.
    TakenOver,
    /// Another held the record, and the delivery was left to lapse.
    Busy,
    /// Another held the record, and the delivery waited to look again.
    Waited,
    /// A delivery of a message that was finished before was completed.
    Duplicate,
    /// A write without an answer was found to have landed.
    FoundLanded,
    /// A write without an answer was sent again, and its first try had landed meanwhile.
    LandedTwice,
    /// A worker whose claim was taken over was refused.
    Fenced,
    /// A worker saw by its own clock that its call took too long.
    Overran,
    /// The processor failed, and the message was sent on for later.
    Retried,
    /// Released, and not due yet: sent on for the rest.
    Deferred,
    /// The run ended between two steps, and the message was sent on.
    HandedOn,
    /// The message was given up, and its poison copy marked.
    Parked,
    /// Another payload under the same id went to the poison queue.
    Mismatched,
    /// It has killed instances, and was claimed alone.
    Apart,
    /// A step had its effect again, under a newer claim.
    Repeated,
    /// The store refused the effect of an older claim.
    EffectRefused,
    /// The broker's lock was gone.
    LockLost,
    /// A lock key that another run held expired, and was taken over.
    KeyTakenOver,
    /// A look found the lock key held by another run.
    KeyBusy,
    /// A run that had lost its lock key was refused.
    KeyFenced,
    /// A message waited for an earlier one of its key to end.
    HeldBack,
    /// Who was named by a lock had ended, or went first: the block was void.
    Healed,
    /// The store refused the effect of an older claim of the key.
    KeyEffectRefused,
    /// An operator reopened a record, and sent its message back.
    Reopened,
    /// An operator sent a message back whose record was open already.
    SentBack,
    /// An operator found that a letter had nothing more to say.
    LetterSettled,
    /// An operator lost the race for a record.
    RedriveRefused,
    /// A record was swept.
    Swept,
}

/// Gives each variant its name, and its property: a condition cannot capture which one it is of.
macro_rules! properties {
    ($of:ident, $kind:ident, $holds:expr, $($variant:ident: $name:literal,)*) => {
        impl $of {
            /// Its name, which is the name of the property.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            fn property<M: Watched>(self) -> Property<M> {
                match self {
                    $(Self::$variant => Property::$kind($name, |model: &M, state: &M::State| {
                        $holds(model.watch(), M::broken(state), $of::$variant)
                    }),)*
                }
            }
        }
    };
}

properties! {
    Rule, always, |watch: &Watch, broken: Broken, rule: Rule| !(broken.contains(rule) && watch.tells(rule)),
    EpochsRise: "no two claims share an epoch, and no write has an older one",
    OnlyTheHolderWrites: "only the holder of the claim writes",
    OnlyExpiredIsTaken: "a claim is taken over only when it has expired",
    StepsBeginClaimed: "a step begins only under a claim that holds",
    DoneIsFinal: "done is final",
    CheckpointsStay: "a checkpoint never goes back",
    NothingIsLost: "nothing accepted is lost",
    CompletedLast: "nothing is completed before its record is final or its copy made",
    EffectsAreFenced: "no effect of an older claim after one of a newer",
    EffectsAreSingle: "no effect twice under one claim",
    NoEffectAfterDone: "no effect after done",
    DoneIsComplete: "done means that each step has had its effect",
    RepeatsHaveReasons: "a step runs again only after a pause or a failure",
    PoisonIsParked: "a poison copy is made of nothing but a parked message",
    RecordsAreReadable: "what is written can be read again",
    KeysAreHeld: "a step begins only under a lock of its key that holds",
    KeysTakeTurns: "one message of a key at a time",
    KeysFenceEffects: "no effect of an older claim of the key after one of a newer",
    HeldBackWait: "none of a key that holds back begins before whoever was begun has ended",
    BlocksHeal: "nobody waits for ever",
    OnlyParkedIsReopened: "nothing is reopened but what is parked",
    OnlyOverIsSwept: "nothing is swept but what is over",
}

properties! {
    Event, sometimes, |watch: &Watch, _: Broken, event: Event| watch.has_seen(event),
    Finished: "a message is done",
    TakenOver: "a claim is taken over",
    Busy: "a record is busy",
    Waited: "a busy record is looked at again",
    Duplicate: "a duplicate is skipped",
    FoundLanded: "a write without an answer has landed",
    LandedTwice: "a write was repeated, and its first try lands first",
    Fenced: "a sleeper is fenced",
    Overran: "a call overruns its claim",
    Retried: "a failure is retried",
    Deferred: "a message that is not due is sent on",
    HandedOn: "a message goes on in a later run",
    Parked: "a message is parked, and its poison copy marked",
    Mismatched: "another payload is sent to the poison queue",
    Apart: "a message that kills is claimed alone",
    Repeated: "a step has its effect again",
    EffectRefused: "the store refuses an effect of an older claim",
    LockLost: "the broker's lock is lost",
    KeyTakenOver: "a lock key is taken over",
    KeyBusy: "a lock key is busy",
    KeyFenced: "a run that lost its lock key is refused",
    HeldBack: "a message is held back",
    Healed: "a block is found to be void",
    KeyEffectRefused: "the store refuses an effect of an older claim of the key",
    Reopened: "an operator reopens a record",
    SentBack: "an operator sends back what is open already",
    LetterSettled: "an operator finds that a letter has nothing more to say",
    RedriveRefused: "an operator loses the race for a record",
    Swept: "a record is swept",
}

impl Event {
    #[expect(clippy::as_conversions, reason = "the number of a variant; there are fewer than 32")]
    pub(crate) const fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// What the checker looks for: every rule, and the events that a scenario must reach.
pub(crate) fn properties<M: Watched>(reached: &[Event]) -> Vec<Property<M>> {
    let rules = RULES.iter().map(|rule| rule.property());
    rules.chain(reached.iter().map(|event| event.property())).collect()
}

/// The rules that were broken on the way to a state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Broken(u32);

impl Rule {
    #[expect(clippy::as_conversions, reason = "the number of a variant; there are fewer than 32")]
    pub(crate) const fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

impl Broken {
    /// Notes the rule unless what it asks for is the case.
    pub(crate) fn unless(&mut self, holds: bool, rule: Rule) {
        if !holds {
            self.0 |= rule.bit();
        }
    }

    pub(crate) const fn contains(self, rule: Rule) -> bool {
        self.0 & rule.bit() != 0
    }
}
