//! From a description that was sent to the options of an entity, and what is wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::elements::Kind;
use super::problem::Problem;
use super::xml::Element;
use crate::broker::{Description, QueueOptions, TopicOptions};
use crate::emulator::Tier;

/// What was sent: elements by name, and their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    pub(super) elements: BTreeMap<String, String>,
    /// Every element's name, those that cannot be set included.
    pub(super) names: Vec<String>,
}

/// Elements that only the service sets.
const READ_ONLY: [&str; 9] = [
    "SizeInBytes",
    "MessageCount",
    "CreatedAt",
    "UpdatedAt",
    "AccessedAt",
    "CountDetails",
    "SubscriptionCount",
    "AuthorizationRules",
    "MaxMessageSizeInKilobytes",
];

/// In characters, as documented.
const LONGEST_METADATA: usize = 1024;

impl Sent {
    /// Reads a description and checks what can be said without knowing the entity.
    pub(super) fn read(
        kind: Kind,
        root: &Element,
        version: &str,
        tier: Tier,
        namespace: &str,
    ) -> Result<Self, Problem> {
        let mut sent = Self::default();
        let mut reached = 0;
        for child in &root.children {
            if !kind.knows(&child.name, version) {
                return Err(Problem::bad_request(format!(
                    "The entity description of type '{}' has unsupported properties for api-version '{version}' in \
                     the request. Try including the correct api-version query string in the request.",
                    kind.root()
                )));
            }
            sent.names.push(child.name.clone());
            // The service reads in one order; what comes too late is as if it had not been sent.
            match kind.place(&child.name) {
                Some(place) if place < reached => continue,
                place => reached = place.unwrap_or(reached),
            }
            if !READ_ONLY.contains(&child.name.as_str()) {
                sent.elements.insert(child.name.clone(), child.text.trim().to_owned());
            }
        }
        if kind == Kind::Subscription && sent.elements.contains_key("ForwardTo") {
            // Who forwards is never idle.
            sent.elements.remove("AutoDeleteOnIdle");
        }
        if let Some(size) = root.child("MaxMessageSizeInKilobytes") {
            check_message_size(size.text.trim(), tier, namespace)?;
        }
        let lock = sent.duration("LockDuration")?;
        if lock.is_some_and(|lock| lock > Duration::from_secs(300)) {
            return Err(Problem::bad_request(format!(
                "The supplied lock time exceeds the allowed maximum of '5' minutes. To know more visit \
                 https://aka.ms/sbResourceMgrExceptions. \nParameter name: LockDuration\nActual value was {}.",
                time_span(lock.unwrap_or_default())
            )));
        }
        let window = sent.duration("DuplicateDetectionHistoryTimeWindow")?;
        let allowed = Duration::from_secs(20)..=Duration::from_secs(7 * 86_400);
        if let Some(window) = window.filter(|window| !allowed.contains(window)) {
            return Err(Problem::bad_request(format!(
                "The value supplied must be between 00:00:20 and 7.00:00:00.\nParameter name: \
                 DuplicateDetectionHistoryTimeWindow\nActual value was {}.",
                time_span(window)
            )));
        }
        let shortest = [("AutoDeleteOnIdle", 300), ("DefaultMessageTimeToLive", 1), ("LockDuration", 1)];
        for (name, seconds) in shortest {
            let (given, least) = (sent.duration(name)?, Duration::from_secs(seconds));
            if let Some(given) = given.filter(|given| *given < least) {
                return Err(Problem::bad_request(format!(
                    "The value supplied must be at least {}.\nParameter name: {name}\nActual value was {}.",
                    time_span(least),
                    time_span(given)
                )));
            }
        }
        if sent.elements.get("UserMetadata").is_some_and(|text| text.chars().count() > LONGEST_METADATA) {
            return Err(Problem::bad_request(format!(
                "The length of UserMetadata must not exceed {LONGEST_METADATA} characters."
            )));
        }
        Ok(sent)
    }

    /// A partitioned entity is made with this size in each of its 16 partitions, and shows the sum; between
    /// partitions there is no order.
    pub(super) fn partition(&mut self) {
        let size = self.elements.get("MaxSizeInMegabytes").map_or(Some(1024), |text| text.parse::<u32>().ok());
        if let Some(size) = size
            && self.elements.get("EnablePartitioning").is_some_and(|text| text == "true")
        {
            self.elements.insert("MaxSizeInMegabytes".to_owned(), size.saturating_mul(16).to_string());
            self.elements.insert("SupportOrdering".to_owned(), "false".to_owned());
        }
    }

    /// What an existing entity may not become.
    pub(super) fn check_change(&self, kind: Kind, before: &Description) -> Result<(), Problem> {
        for name in ["RequiresSession", "RequiresDuplicateDetection", "EnablePartitioning"] {
            let is_set = |elements: &BTreeMap<String, String>| elements.get(name).is_some_and(|text| text == "true");
            if self.elements.contains_key(name) && is_set(&self.elements) != is_set(&before.elements) {
                let entity = kind.root().trim_end_matches("Description");
                return Err(Problem::bad_request(format!(
                    "The value for the {name} property of an existing {entity} cannot be changed. To know more visit \
                     https://aka.ms/sbResourceMgrExceptions. ."
                )));
            }
        }
        Ok(())
    }

    pub(super) fn queue(&self, name: String, largest: usize) -> Result<QueueOptions, Problem> {
        let defaults = QueueOptions::default();
        Ok(QueueOptions {
            name,
            lock_duration: self.duration("LockDuration")?.unwrap_or(defaults.lock_duration),
            max_delivery_count: self.number("MaxDeliveryCount")?.unwrap_or(defaults.max_delivery_count),
            requires_duplicate_detection: self.flag("RequiresDuplicateDetection")?,
            duplicate_detection_window: self
                .duration("DuplicateDetectionHistoryTimeWindow")?
                .unwrap_or(defaults.duplicate_detection_window),
            default_time_to_live: self.time_to_live()?,
            dead_lettering_on_expiration: self.flag("DeadLetteringOnMessageExpiration")?,
            max_message_bytes: largest,
            max_queue_bytes: self
                .number("MaxSizeInMegabytes")?
                .map_or(defaults.max_queue_bytes, |megabytes| u64::from(megabytes) * 1024 * 1024),
            description: self.description(),
        })
    }

    pub(super) fn topic(&self, name: String, largest: usize) -> Result<TopicOptions, Problem> {
        let defaults = TopicOptions::default();
        Ok(TopicOptions {
            name,
            requires_duplicate_detection: self.flag("RequiresDuplicateDetection")?,
            duplicate_detection_window: self
                .duration("DuplicateDetectionHistoryTimeWindow")?
                .unwrap_or(defaults.duplicate_detection_window),
            default_time_to_live: self.time_to_live()?,
            max_message_bytes: largest,
            subscriptions: BTreeMap::new(),
            description: self.description(),
        })
    }

    fn description(&self) -> Description {
        Description { elements: self.elements.clone(), ..Description::default() }
    }

    fn time_to_live(&self) -> Result<Option<Duration>, Problem> {
        Ok(self.duration("DefaultMessageTimeToLive")?.filter(|duration| !for_ever(*duration)))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        self.get(name, parse_duration)
    }

    fn number(&self, name: &str) -> Result<Option<u32>, Problem> {
        self.get(name, |text| text.parse().ok().filter(|number| *number > 0))
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        let read = |text: &str| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        Ok(self.get(name, read)?.unwrap_or(false))
    }

    fn get<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        match self.elements.get(name) {
            None => Ok(None),
            Some(text) => match read(text) {
                Some(value) => Ok(Some(value)),
                None => Err(Problem::bad_request(format!("The value of {name} cannot be read."))),
            },
        }
    }
}

fn check_message_size(text: &str, tier: Tier, namespace: &str) -> Result<(), Problem> {
    match (tier, text.parse::<u64>()) {
        (Tier::Standard, Ok(256)) | (Tier::Premium, Ok(1024..=102_400)) => Ok(()),
        (Tier::Standard, _) | (_, Err(_)) => Err(Problem::bad_request(
            "Bad Request. To know more visit https://aka.ms/sbResourceMgrExceptions. .".to_owned(),
        )),
        (Tier::Premium, Ok(other)) => Err(Problem::bad_request(format!(
            "The property value for 'MaxMessageSizeInKilobytes' must be between 1024 and 102400 when the namespace \
             '{namespace}' is using 'Premium' tier.\nParameter name: MaxMessageSizeInKilobytes\nActual value was \
             {other}."
        ))),
    }
}

/// Longer than anybody waits: the service's "never" is 10,675,199 days.
pub(super) fn for_ever(duration: Duration) -> bool {
    duration >= Duration::from_secs(10_675_199 * 86_400)
}

/// Reads an ISO 8601 duration of days, hours, minutes and seconds: `P1DT2H3M4.5S`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (text.strip_prefix('P')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut add = |number: &str, unit_seconds: u32| -> Option<()> {
        let seconds = if unit_seconds == 1 {
            Duration::try_from_secs_f64(number.parse().ok()?).ok()?
        } else {
            Duration::from_secs(u64::from(number.parse::<u32>().ok()?) * u64::from(unit_seconds))
        };
        total = total.checked_add(seconds)?;
        Some(())
    };
    if !days.is_empty() {
        add(days.strip_suffix('D')?, 86_400)?;
    }
    let mut rest = time;
    for (unit, seconds) in [('H', 3600), ('M', 60), ('S', 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            add(number, seconds)?;
            rest = after;
        }
    }
    rest.is_empty().then_some(total)
}

/// Writes an ISO 8601 duration, as the service does: no weeks, no zero parts.
pub(super) fn iso_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let mut out = "P".to_owned();
    if seconds >= 86_400 {
        out.push_str(&format!("{}D", seconds / 86_400));
    }
    let parts = [(seconds / 3600 % 24, 'H'), (seconds / 60 % 60, 'M')];
    let mut time: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    let (rest, millis) = (seconds % 60, duration.subsec_millis());
    if rest > 0 || millis > 0 || (time.is_empty() && seconds < 86_400) {
        let fraction = if millis > 0 { format!(".{millis:03}") } else { String::new() };
        time.push_str(&format!("{rest}{}S", fraction.trim_end_matches('0')));
    }
    if !time.is_empty() {
        out.push('T');
        out.push_str(&time);
    }
    out
}

/// As error texts write a time span: `25.00:00:00`.
fn time_span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let days = seconds / 86_400;
    let days = if days > 0 { format!("{days}.") } else { String::new() };
    format!("{days}{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for text in ["PT1M", "PT13S", "PT11M2S", "P25D", "P1DT2H3M", "PT0.5S", "PT0S", "P10675199DT2H48M5.477S"] {
            assert_eq!(parse_duration(text).map(iso_duration).as_deref(), Some(text));
        }
        for text in ["", "P", "PT", "1M", "PT1", "PTM", "P1M", "PT1S1M", "PT-1S", "PTNaNS", "PT1e400S"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
