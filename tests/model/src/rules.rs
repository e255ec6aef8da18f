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

use crate::ProtocolModel;
use crate::state::State;

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
}

/// All of them.
pub const RULES: [Rule; 15] = [
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
}

impl Rule {
    /// Its name, which is the name of the property.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.property_parts().0
    }

    fn property(self) -> Property<ProtocolModel> {
        let (name, holds) = self.property_parts();
        Property::always(name, holds)
    }

    const fn property_parts(self) -> (&'static str, Condition) {
        macro_rules! rule {
            ($rule:ident, $name:literal) => {
                ($name, |model: &ProtocolModel, state: &State| {
                    !(state.is_broken(Rule::$rule) && model.tells(Rule::$rule))
                })
            };
        }
        match self {
            Self::EpochsRise => rule!(EpochsRise, "no two claims share an epoch, and no write has an older one"),
            Self::OnlyTheHolderWrites => rule!(OnlyTheHolderWrites, "only the holder of the claim writes"),
            Self::OnlyExpiredIsTaken => rule!(OnlyExpiredIsTaken, "a claim is taken over only when it has expired"),
            Self::StepsBeginClaimed => rule!(StepsBeginClaimed, "a step begins only under a claim that holds"),
            Self::DoneIsFinal => rule!(DoneIsFinal, "done is final"),
            Self::CheckpointsStay => rule!(CheckpointsStay, "a checkpoint never goes back"),
            Self::NothingIsLost => rule!(NothingIsLost, "nothing accepted is lost"),
            Self::CompletedLast => {
                rule!(CompletedLast, "nothing is completed before its record is final or its copy made")
            }
            Self::EffectsAreFenced => rule!(EffectsAreFenced, "no effect of an older claim after one of a newer"),
            Self::EffectsAreSingle => rule!(EffectsAreSingle, "no effect twice under one claim"),
            Self::NoEffectAfterDone => rule!(NoEffectAfterDone, "no effect after done"),
            Self::DoneIsComplete => rule!(DoneIsComplete, "done means that each step has had its effect"),
            Self::RepeatsHaveReasons => rule!(RepeatsHaveReasons, "a step runs again only after a pause or a failure"),
            Self::PoisonIsParked => rule!(PoisonIsParked, "a poison copy is made of nothing but a parked message"),
            Self::RecordsAreReadable => rule!(RecordsAreReadable, "what is written can be read again"),
        }
    }
}

impl Event {
    /// Its name, which is the name of the property.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.property_parts().0
    }

    fn property(self) -> Property<ProtocolModel> {
        let (name, happens) = self.property_parts();
        Property::sometimes(name, happens)
    }

    const fn property_parts(self) -> (&'static str, Condition) {
        macro_rules! event {
            ($event:ident, $name:literal) => {
                ($name, |model: &ProtocolModel, _: &State| model.has_seen(Event::$event))
            };
        }
        match self {
            Self::Finished => event!(Finished, "a message is done"),
            Self::TakenOver => event!(TakenOver, "a claim is taken over"),
            Self::Busy => event!(Busy, "a record is busy"),
            Self::Waited => event!(Waited, "a busy record is looked at again"),
            Self::Duplicate => event!(Duplicate, "a duplicate is skipped"),
            Self::FoundLanded => event!(FoundLanded, "a write without an answer has landed"),
            Self::LandedTwice => event!(LandedTwice, "a write was repeated, and its first try lands first"),
            Self::Fenced => event!(Fenced, "a sleeper is fenced"),
            Self::Overran => event!(Overran, "a call overruns its claim"),
            Self::Retried => event!(Retried, "a failure is retried"),
            Self::Deferred => event!(Deferred, "a message that is not due is sent on"),
            Self::HandedOn => event!(HandedOn, "a message goes on in a later run"),
            Self::Parked => event!(Parked, "a message is parked, and its poison copy marked"),
            Self::Mismatched => event!(Mismatched, "another payload is sent to the poison queue"),
            Self::Apart => event!(Apart, "a message that kills is claimed alone"),
            Self::Repeated => event!(Repeated, "a step has its effect again"),
            Self::EffectRefused => event!(EffectRefused, "the store refuses an effect of an older claim"),
            Self::LockLost => event!(LockLost, "the broker's lock is lost"),
        }
    }
}

impl Event {
    #[expect(clippy::as_conversions, reason = "the number of a variant; there are fewer than 32")]
    pub(crate) const fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

type Condition = fn(&ProtocolModel, &State) -> bool;

/// What the checker looks for: every rule, and the events that a scenario must reach.
pub(crate) fn properties(reached: &[Event]) -> Vec<Property<ProtocolModel>> {
    let rules = RULES.iter().map(|rule| rule.property());
    rules.chain(reached.iter().map(|event| event.property())).collect()
}

/// The rules that were broken on the way to a state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken(u16);

impl Rule {
    #[expect(clippy::as_conversions, reason = "the number of a variant; there are fewer than 16")]
    pub(crate) const fn bit(self) -> u16 {
        1 << (self as u16)
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
