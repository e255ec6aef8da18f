//! What is explored.
//!
//! Each scenario has much of one kind of trouble and little of the others: states multiply with every kind that is added.

use crate::bounds::{Bounds, Budget, Retention};
use crate::keys::KeyBounds;
use crate::rules::Event;

/// Bounds with a name, and what must be reached within them.
#[derive(Debug, Clone, Copy)]
pub struct Scenario<B = Bounds> {
    /// What it is about.
    pub name: &'static str,
    /// How far it goes.
    pub bounds: B,
    /// What happens in it.
    pub reaches: &'static [Event],
}

/// Two workers and one message that takes one step, and the defaults of a queue.
const PLAIN: Bounds = Bounds {
    workers: 2,
    sent: &["a"],
    steps: 1,
    large_checkpoints: false,
    max_deliveries: 10,
    max_attempts: 3,
    retention: None,
    budget: Budget::NONE,
};

/// Workers die, and sleep until their claims are over. A step may then run twice; everything else is as ever.
pub const DEATHS: Scenario = Scenario {
    name: "deaths and pauses",
    bounds: Bounds { steps: 2, budget: Budget { ticks: 2, lapses: 2, crashes: 1, ..Budget::NONE }, ..PLAIN },
    reaches: &[
        Event::Finished,
        Event::TakenOver,
        Event::Busy,
        Event::Duplicate,
        Event::Fenced,
        Event::Overran,
        Event::Repeated,
        Event::EffectRefused,
        Event::LockLost,
    ],
};

/// Any two writes are not answered, and land or don't.
pub const UNANSWERED: Scenario = Scenario {
    name: "writes without answers",
    bounds: Bounds { steps: 2, budget: Budget { ticks: 2, lapses: 1, unanswered: 2, ..Budget::NONE }, ..PLAIN },
    reaches: &[Event::FoundLanded, Event::LandedTwice, Event::TakenOver, Event::Fenced, Event::Duplicate],
};

/// The sender has sent the message twice, and a worker dies.
pub const TWICE: Scenario = Scenario {
    name: "a message that was sent twice",
    bounds: Bounds { sent: &["a", "a"], budget: Budget { ticks: 2, lapses: 1, crashes: 1, ..Budget::NONE }, ..PLAIN },
    reaches: &[Event::Duplicate, Event::Busy, Event::TakenOver, Event::Fenced],
};

/// The processor fails, rejects, or does not learn what became of its effect.
pub const FAILURES: Scenario = Scenario {
    name: "failures and rejections",
    bounds: Bounds {
        max_attempts: 2,
        budget: Budget { ticks: 1, lapses: 1, failures: 2, rejections: 1, ..Budget::NONE },
        ..PLAIN
    },
    reaches: &[Event::Retried, Event::Deferred, Event::Parked, Event::Repeated, Event::Duplicate],
};

/// The one attempt that there is dies, the one that it gets alone dies as well, and whoever comes next parks the message.
pub const EXHAUSTED: Scenario = Scenario {
    name: "attempts used up by deaths",
    bounds: Bounds {
        workers: 1,
        max_attempts: 1,
        budget: Budget { ticks: 4, lapses: 2, crashes: 2, ..Budget::NONE },
        ..PLAIN
    },
    reaches: &[Event::Apart, Event::Parked, Event::Finished],
};

/// Another payload under the same id, and a processor that fails.
pub const MISMATCH: Scenario = Scenario {
    name: "another payload under the id",
    bounds: Bounds { sent: &["a", "b"], budget: Budget { ticks: 1, lapses: 1, failures: 1, ..Budget::NONE }, ..PLAIN },
    reaches: &[Event::Mismatched, Event::Retried, Event::Finished],
};

/// Work of several steps, that is handed on when the run ends, and renewed between them.
pub const LONG: Scenario = Scenario {
    name: "work in steps over several runs",
    bounds: Bounds {
        steps: 3,
        budget: Budget { ticks: 1, lapses: 1, unanswered: 1, deadlines: 1, ..Budget::NONE },
        ..PLAIN
    },
    reaches: &[Event::HandedOn, Event::TakenOver, Event::FoundLanded, Event::LockLost],
};

/// Claims that are renewed between two steps, and renewals that are not answered.
pub const RENEWED: Scenario = Scenario {
    name: "claims that are renewed",
    bounds: Bounds { budget: Budget { ticks: 2, lapses: 1, unanswered: 1, renewals: 1, ..Budget::NONE }, ..PLAIN },
    reaches: &[Event::TakenOver, Event::Fenced, Event::FoundLanded, Event::LockLost],
};

/// Checkpoints in blobs of their own.
pub const LARGE: Scenario = Scenario {
    name: "large checkpoints",
    bounds: Bounds {
        steps: 2,
        large_checkpoints: true,
        budget: Budget { ticks: 2, lapses: 1, crashes: 1, ..Budget::NONE },
        ..PLAIN
    },
    reaches: &[Event::TakenOver, Event::Fenced, Event::Repeated, Event::Finished],
};

/// A delivery that finds the record busy to the end, and is sent on as a copy.
pub const BUSY: Scenario = Scenario {
    name: "busy until the deliveries run out",
    bounds: Bounds { max_deliveries: 4, budget: Budget { ticks: 1, lapses: 2, waits: 1, ..Budget::NONE }, ..PLAIN },
    reaches: &[Event::Busy, Event::Waited, Event::Duplicate],
};

/// A message that kills whoever has it.
pub const KILLER: Scenario = Scenario {
    name: "a message that kills",
    bounds: Bounds {
        workers: 1,
        max_attempts: 4,
        budget: Budget { ticks: 4, lapses: 2, crashes: 2, ..Budget::NONE },
        ..PLAIN
    },
    reaches: &[Event::Apart, Event::TakenOver, Event::Repeated],
};

/// Nothing fails, but the broker redelivers what is in hand: then each step runs once, and an effect needs no fence.
pub const CALM: Scenario = Scenario {
    name: "redeliveries alone",
    bounds: Bounds { workers: 3, sent: &["a", "a"], steps: 2, budget: Budget { lapses: 2, ..Budget::NONE }, ..PLAIN },
    reaches: &[Event::Busy, Event::Duplicate, Event::Finished, Event::LockLost],
};

/// Three workers that sleep.
pub const THREE: Scenario = Scenario {
    name: "three workers",
    bounds: Bounds { workers: 3, budget: Budget { ticks: 2, lapses: 2, ..Budget::NONE }, ..PLAIN },
    reaches: &[Event::TakenOver, Event::Fenced, Event::EffectRefused, Event::Duplicate],
};

/// Operators send back what was parked, while the original and second letters are on their way.
pub const REDRIVEN: Scenario = Scenario {
    name: "redrive beside a late original",
    bounds: Bounds { budget: Budget { lapses: 1, rejections: 1, redrives: 2, ..Budget::NONE }, ..PLAIN },
    reaches: &[Event::Parked, Event::Reopened, Event::Finished, Event::Duplicate],
};

/// Workers and operators die, and letters are doubled by it.
pub const REDRIVEN_DEATHS: Scenario = Scenario {
    name: "redrive and deaths",
    bounds: Bounds {
        workers: 1,
        budget: Budget { lapses: 1, crashes: 1, rejections: 1, redrives: 2, ..Budget::NONE },
        ..PLAIN
    },
    reaches: &[Event::Reopened, Event::SentBack, Event::LetterSettled, Event::RedriveRefused, Event::Finished],
};

/// T10 is not answered.
pub const REDRIVEN_UNANSWERED: Scenario = Scenario {
    name: "redrive without answers",
    bounds: Bounds {
        workers: 1,
        budget: Budget { lapses: 1, unanswered: 1, rejections: 1, redrives: 2, ..Budget::NONE },
        ..PLAIN
    },
    reaches: &[Event::Reopened, Event::RedriveRefused, Event::Finished],
};

/// Records are swept while messages are on their way again.
pub const SWEPT: Scenario = Scenario {
    name: "sweeping beside redeliveries",
    bounds: Bounds {
        sent: &["a", "a"],
        retention: Some(Retention { messages: 1, records: 4 }),
        budget: Budget { ticks: 6, lapses: 1, sweeps: 2, ..Budget::NONE },
        ..PLAIN
    },
    reaches: &[Event::Finished, Event::Duplicate, Event::Swept],
};

/// Two messages of one key, two instances, and the defaults of a queue.
const KEYED: KeyBounds =
    KeyBounds { instances: 2, sent: &["1", "2"], steps: 1, hold: false, max_attempts: 3, budget: Budget::NONE };

/// Instances die with a lock key in hand.
pub const KEY_DEATHS: Scenario<KeyBounds> = Scenario {
    name: "lock keys: deaths",
    bounds: KeyBounds { budget: Budget { crashes: 1, ..Budget::NONE }, ..KEYED },
    reaches: &[Event::Finished, Event::KeyTakenOver, Event::KeyBusy, Event::Repeated, Event::Duplicate],
};

/// Instances sleep until the lock of their key is over.
pub const KEY_PAUSES: Scenario<KeyBounds> = Scenario {
    name: "lock keys: pauses",
    bounds: KeyBounds { budget: Budget { ticks: 2, ..Budget::NONE }, ..KEYED },
    reaches: &[Event::Finished, Event::KeyTakenOver, Event::KeyFenced, Event::KeyEffectRefused],
};

/// Writes of the lock and of records are not answered.
pub const KEY_UNANSWERED: Scenario<KeyBounds> = Scenario {
    name: "lock keys: writes without answers",
    bounds: KeyBounds { budget: Budget { unanswered: 1, ..Budget::NONE }, ..KEYED },
    reaches: &[Event::Finished, Event::KeyBusy],
};

/// Steps of two messages, of which one fails, and nobody is held back.
pub const KEY_CONTINUE: Scenario<KeyBounds> = Scenario {
    name: "lock keys: a failure lets the next go on",
    bounds: KeyBounds { steps: 2, budget: Budget { failures: 1, ..Budget::NONE }, ..KEYED },
    reaches: &[Event::Finished, Event::Retried, Event::Repeated, Event::KeyBusy],
};

/// Who fails, or can never succeed, holds back the others until it has ended.
pub const KEY_HOLD: Scenario<KeyBounds> = Scenario {
    name: "lock keys: a failure holds back",
    bounds: KeyBounds {
        hold: true,
        max_attempts: 2,
        budget: Budget { failures: 1, rejections: 1, ..Budget::NONE },
        ..KEYED
    },
    reaches: &[Event::Finished, Event::Retried, Event::Parked, Event::HeldBack, Event::Healed],
};

/// Who dies holds back the others as well.
pub const KEY_HOLD_DEATHS: Scenario<KeyBounds> = Scenario {
    name: "lock keys: a death holds back",
    bounds: KeyBounds { hold: true, budget: Budget { crashes: 1, ..Budget::NONE }, ..KEYED },
    reaches: &[Event::Finished, Event::KeyTakenOver, Event::HeldBack, Event::Healed, Event::Repeated],
};
