//! Faults as data: which calls they strike, how often, and what they do.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clocks::Clocks;
use crate::ids::Dice;

/// One of the emulated services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Service Bus.
    ServiceBus,
    /// Blob Storage.
    Blob,
}

impl Service {
    /// As in the names of operations: `service-bus.send`, `blob.put`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceBus => "service-bus",
            Self::Blob => "blob",
        }
    }
}

/// A rule that makes matching calls fail. What is absent matches everything; the first rule that
/// strikes decides alone.
///
/// A rule with `drop_after`, `lose_lock` or `duplicate` is about what a call did: on receives it counts
/// only calls that found a message. A rule with `lose_lock` counts only receives under peek-lock and
/// settling calls, one with `duplicate` only receives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Which service.
    pub service: Option<Service>,
    /// Which operation, without the service: `send`, `peek-lock`, `put`, `set-metadata`, ….
    pub operation: Option<String>,
    /// How the entity path, or `container/blob`, begins. Case does not matter.
    pub prefix: Option<String>,
    /// Let this many matching calls pass first.
    pub skip: u64,
    /// Strike this many calls, then no more. Absent: no limit.
    pub count: Option<u64>,
    /// Strike with this probability between 0 and 1. Absent: always.
    pub probability: Option<f64>,
    /// Seed of the dice for `probability`: the same seed strikes the same calls.
    pub seed: u64,
    /// Wait this long first, in milliseconds of real time.
    pub delay_ms: u64,
    /// Answer with this status instead of doing anything.
    pub status: Option<u16>,
    /// Close the connection without having done anything.
    pub drop_before: bool,
    /// Do it, then close the connection without an answer.
    pub drop_after: bool,
    /// Settling finds its lock gone; a lock just taken ends at once.
    pub lose_lock: bool,
    /// What was received is delivered once more, to the next receiver, with the same delivery count: the
    /// broker forgets the delivery behind its receiver's back, as after a failover. The first receiver
    /// still has the message; its lock is unknown from then on.
    pub duplicate: bool,
    /// Moves the clock of the service that is called by so many milliseconds before anything else, back
    /// when negative.
    pub move_clock_ms: i64,
}

/// What is wrong with a rule: it could never do anything, or not what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No such operation.
    #[error("operation {0}: no service has it")]
    Operation(String),
    /// No probability.
    #[error("probability must be between 0 and 1")]
    Probability,
    /// No failure.
    #[error("status {0}: must be between 400 and 599")]
    Status(u16),
    /// It strikes and does nothing.
    #[error("the rule says nothing that happens to the calls it strikes")]
    Nothing,
    /// It never strikes.
    #[error("{0} does not apply to these calls")]
    Never(&'static str),
}

const SERVICE_BUS: [&str; 8] =
    ["send", "send-batch", PEEK_LOCK, RECEIVE_AND_DELETE, "complete", "abandon", "renew", "manage"];
const BLOB: [&str; 10] = [
    "put",
    "get",
    "head",
    "set-metadata",
    "get-metadata",
    "delete",
    "list",
    "create-container",
    "container-properties",
    "delete-container",
];
const PEEK_LOCK: &str = "peek-lock";
const RECEIVE_AND_DELETE: &str = "receive-and-delete";

/// Whether an operation holds a lock, or takes one.
fn has_lock(operation: &str) -> bool {
    matches!(operation, PEEK_LOCK | "complete" | "abandon" | "renew")
}

fn is_receive(operation: &str) -> bool {
    matches!(operation, PEEK_LOCK | RECEIVE_AND_DELETE)
}

impl Fault {
    /// A rule about one operation; say next what it does.
    #[must_use]
    pub fn on(service: Service, operation: &str) -> Self {
        Self { service: Some(service), operation: Some(operation.to_owned()), ..Self::default() }
    }

    /// Strike this many calls only.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Whether the rule can do what it says.
    ///
    /// # Errors
    /// When it cannot, and why.
    pub fn check(&self) -> Result<(), FaultError> {
        let known: Vec<&str> = match self.service {
            Some(Service::ServiceBus) => SERVICE_BUS.to_vec(),
            Some(Service::Blob) => BLOB.to_vec(),
            None => [SERVICE_BUS.as_slice(), BLOB.as_slice()].concat(),
        };
        let meant: Vec<&str> = match &self.operation {
            None => known,
            Some(operation) if known.contains(&operation.as_str()) => vec![operation.as_str()],
            Some(operation) => return Err(FaultError::Operation(operation.clone())),
        };
        if self.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return Err(FaultError::Probability);
        }
        if let Some(status) = self.status.filter(|status| !(400..=599).contains(status)) {
            return Err(FaultError::Status(status));
        }
        if self.lose_lock && !meant.iter().any(|operation| has_lock(operation)) {
            return Err(FaultError::Never("lose_lock"));
        }
        if self.duplicate && !meant.iter().any(|operation| is_receive(operation)) {
            return Err(FaultError::Never("duplicate"));
        }
        let does =
            self.delay_ms > 0 || self.status.is_some() || self.drop_before || self.is_late() || self.move_clock_ms != 0;
        if does { Ok(()) } else { Err(FaultError::Nothing) }
    }

    fn is_late(&self) -> bool {
        self.drop_after || self.lose_lock || self.duplicate
    }

    fn matches(&self, service: Service, operation: &str, name: &str) -> bool {
        let applies = match service {
            Service::ServiceBus => {
                (!self.lose_lock || has_lock(operation)) && (!self.duplicate || is_receive(operation))
            }
            Service::Blob => !self.lose_lock && !self.duplicate,
        };
        applies
            && self.service.is_none_or(|wanted| wanted == service)
            && self.operation.as_ref().is_none_or(|wanted| wanted == operation)
            && self.prefix.as_ref().is_none_or(|prefix| name.to_lowercase().starts_with(&prefix.to_lowercase()))
    }
}

/// What strikes one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) delay: Duration,
    pub(crate) status: Option<u16>,
    pub(crate) drop_before: bool,
    pub(crate) drop_after: bool,
    pub(crate) lose_lock: bool,
    pub(crate) duplicate: bool,
}

impl Strike {
    /// Waits as long as the fault says.
    pub(crate) async fn wait(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    seen: u64,
    struck: u64,
    dice: Dice,
}

/// The rules in force.
#[derive(Debug)]
pub(crate) struct Faults {
    armed: Mutex<Vec<Armed>>,
    clocks: Clocks,
}

/// Which rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Rules that need not know what the call will find.
    Early,
    /// Rules about what the call did.
    Late,
    /// All: the call's outcome does not matter.
    Any,
}

impl Faults {
    pub(crate) fn new(clocks: Clocks) -> Self {
        Self { armed: Mutex::default(), clocks }
    }

    pub(crate) fn add(&self, fault: Fault) {
        let dice = Dice::new(fault.seed);
        self.lock().push(Armed { fault, seen: 0, struck: 0, dice });
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn list(&self) -> Vec<(Fault, u64)> {
        self.lock().iter().map(|armed| (armed.fault.clone(), armed.struck)).collect()
    }

    /// Asks the rules about a call. A clock that a rule moves has moved when this returns.
    pub(crate) fn strike(&self, service: Service, operation: &str, name: &str, moment: Moment) -> Strike {
        for armed in self.lock().iter_mut() {
            let fault = &armed.fault;
            let asked = match moment {
                Moment::Early => !fault.is_late(),
                Moment::Late => fault.is_late(),
                Moment::Any => true,
            };
            if !asked || !fault.matches(service, operation, name) {
                continue;
            }
            armed.seen += 1;
            if armed.seen <= fault.skip || fault.count.is_some_and(|count| armed.struck >= count) {
                continue;
            }
            if fault.probability.is_some_and(|probability| !armed.dice.strikes(probability)) {
                continue;
            }
            armed.struck += 1;
            if fault.move_clock_ms != 0 {
                self.clocks.shift(Some(service), fault.move_clock_ms);
            }
            return Strike {
                delay: Duration::from_millis(fault.delay_ms),
                status: fault.status,
                drop_before: fault.drop_before,
                drop_after: fault.drop_after,
                lose_lock: fault.lose_lock,
                duplicate: fault.duplicate,
            };
        }
        Strike::default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::store::Journal;

    fn no_faults() -> (Faults, Clock, Clock) {
        let (broker, storage) = (Clock::real(), Clock::real());
        let clocks = Clocks::new(broker.clone(), storage.clone(), Arc::new(Journal::default()));
        (Faults::new(clocks), broker, storage)
    }

    fn struck(faults: &Faults, operation: &str, name: &str) -> bool {
        faults.strike(Service::ServiceBus, operation, name, Moment::Any) != Strike::default()
    }

    #[test]
    fn a_rule_strikes_what_it_names_and_as_often_as_it_says() {
        let (faults, ..) = no_faults();
        let fault = Fault { drop_before: true, skip: 1, prefix: Some("Q".to_owned()), ..Fault::default() };
        faults.add(Fault { service: Some(Service::ServiceBus), operation: Some("send".to_owned()), ..fault.times(2) });
        let calls = ["q", "other", "q", "q", "q"].map(|name| struck(&faults, "send", name));
        assert_eq!(calls, [false, false, true, true, false]);
        assert!(!struck(&faults, "complete", "q"));
    }

    #[test]
    fn the_same_seed_strikes_the_same_calls() {
        let run = |seed| {
            let (faults, ..) = no_faults();
            faults.add(Fault { status: Some(503), probability: Some(0.3), seed, ..Fault::default() });
            (0..200).map(|_| struck(&faults, "send", "q")).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hits = run(7).into_iter().filter(|hit| *hit).count();
        assert!((30..=90).contains(&hits), "{hits} of 200");
    }

    #[test]
    fn a_rule_about_locks_leaves_calls_alone_that_have_none() {
        let (faults, ..) = no_faults();
        faults.add(Fault { lose_lock: true, ..Fault::default() }.times(1));
        assert!(!struck(&faults, "send", "q") && !struck(&faults, "receive-and-delete", "q"));
        assert!(struck(&faults, "renew", "q"));
        faults.add(Fault { duplicate: true, ..Fault::default() }.times(1));
        assert!(!struck(&faults, "complete", "q"));
        assert!(struck(&faults, "receive-and-delete", "q"));
    }

    #[test]
    fn a_rule_moves_the_clock_of_the_service_that_is_called_and_no_other() {
        let (faults, broker, storage) = no_faults();
        faults.add(Fault { move_clock_ms: 61_000, ..Fault::default() }.times(1));
        faults.add(Fault { move_clock_ms: -5_000, ..Fault::on(Service::ServiceBus, "renew") });
        assert_eq!(faults.strike(Service::ServiceBus, "complete", "q", Moment::Any), Strike::default());
        assert_eq!((broker.offset_millis(), storage.offset_millis()), (61_000, 0));
        faults.strike(Service::ServiceBus, "renew", "q", Moment::Any);
        faults.strike(Service::Blob, "put", "c/b", Moment::Any);
        assert_eq!((broker.offset_millis(), storage.offset_millis()), (56_000, 0));
    }

    #[test]
    fn a_rule_that_could_not_do_what_it_says_is_told_so() {
        let of = |json: &str| serde_json::from_str::<Fault>(json).unwrap().check();
        assert_eq!(of(r#"{"operation":"snd","status":503}"#), Err(FaultError::Operation("snd".to_owned())));
        assert_eq!(
            of(r#"{"service":"blob","operation":"renew","status":503}"#).unwrap_err().to_string(),
            "operation renew: no service has it"
        );
        assert_eq!(of(r#"{"probability":1.5,"status":503}"#), Err(FaultError::Probability));
        assert_eq!(of(r#"{"status":200}"#), Err(FaultError::Status(200)));
        assert_eq!(of(r#"{"operation":"send"}"#), Err(FaultError::Nothing));
        assert_eq!(of(r#"{"operation":"send","lose_lock":true}"#), Err(FaultError::Never("lose_lock")));
        assert_eq!(of(r#"{"service":"blob","duplicate":true}"#), Err(FaultError::Never("duplicate")));
        for good in [
            r#"{"operation":"put","move_clock_ms":-1}"#,
            r#"{"duplicate":true}"#,
            r#"{"operation":"renew","lose_lock":true,"probability":0.5,"seed":7}"#,
            r#"{"delay_ms":5}"#,
        ] {
            assert_eq!(of(good), Ok(()), "{good}");
        }
    }
}
