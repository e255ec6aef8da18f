//! Faults as data: which calls they strike, how often, and what they do.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
/// A rule with `drop_after` or `lose_lock` is about what a call did: on receives it counts only calls
/// that found a message.
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

    fn is_late(&self) -> bool {
        self.drop_after || self.lose_lock
    }

    fn matches(&self, service: Service, operation: &str, name: &str) -> bool {
        self.service.is_none_or(|wanted| wanted == service)
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
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Armed>>);

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

    /// Asks the rules about a call.
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
            return Strike {
                delay: Duration::from_millis(fault.delay_ms),
                status: fault.status,
                drop_before: fault.drop_before,
                drop_after: fault.drop_after,
                lose_lock: fault.lose_lock,
            };
        }
        Strike::default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(faults: &Faults, operation: &str, name: &str) -> bool {
        faults.strike(Service::ServiceBus, operation, name, Moment::Any) != Strike::default()
    }

    #[test]
    fn a_rule_strikes_what_it_names_and_as_often_as_it_says() {
        let faults = Faults::default();
        let fault = Fault { drop_before: true, skip: 1, prefix: Some("Q".to_owned()), ..Fault::default() };
        faults.add(Fault { service: Some(Service::ServiceBus), operation: Some("send".to_owned()), ..fault.times(2) });
        let calls = ["q", "other", "q", "q", "q"].map(|name| struck(&faults, "send", name));
        assert_eq!(calls, [false, false, true, true, false]);
        assert!(!struck(&faults, "complete", "q"));
    }

    #[test]
    fn the_same_seed_strikes_the_same_calls() {
        let run = |seed| {
            let faults = Faults::default();
            faults.add(Fault { status: Some(503), probability: Some(0.3), seed, ..Fault::default() });
            (0..200).map(|_| struck(&faults, "send", "q")).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hits = run(7).into_iter().filter(|hit| *hit).count();
        assert!((30..=90).contains(&hits), "{hits} of 200");
    }
}
