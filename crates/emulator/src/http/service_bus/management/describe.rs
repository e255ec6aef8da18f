//! From a description that was sent to the options of an entity, and what is wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::authorization;
use super::elements::Kind;
use super::problem::Problem;
use super::xml::Element;
use crate::auth::service_bus::AccessRule;
use crate::broker::{Description, EntityStatus, QueueOptions, TopicOptions};
use crate::emulator::Tier;
use crate::iso_duration;

/// What was sent: elements by name, and their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    pub(super) elements: BTreeMap<String, String>,
    /// Every element's name, those that cannot be set included.
    pub(super) names: Vec<String>,
    pub(super) access_rules: Vec<AccessRule>,
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

/// Flags that take effect.
const FLAGS: [&str; 4] =
    ["RequiresSession", "RequiresDuplicateDetection", "EnablePartitioning", "DeadLetteringOnMessageExpiration"];

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
                let text = child.text.replace(char::is_control, " ");
                sent.elements.insert(child.name.clone(), text.trim().to_owned());
            }
        }
        if kind == Kind::Subscription && sent.elements.contains_key("ForwardTo") {
            // Who forwards is never idle.
            sent.elements.remove("AutoDeleteOnIdle");
        }
        if let Some(rules) = root.child("AuthorizationRules").filter(|_| kind != Kind::Subscription) {
            sent.access_rules = authorization::read(rules)?;
        }
        sent.check_effects()?;
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

    /// Whether what takes effect can be understood. A flag is kept in one of its spellings.
    fn check_effects(&mut self) -> Result<(), Problem> {
        for name in FLAGS {
            if self.elements.contains_key(name) {
                let flag = self.flag(name)?;
                self.elements.insert(name.to_owned(), flag.to_string());
            }
        }
        self.get("Status", EntityStatus::parse)?;
        Ok(())
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
            let is_set = |elements: &BTreeMap<String, String>| elements.get(name).is_some_and(|text| is_true(text));
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
        let mut options = QueueOptions {
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
            max_queue_bytes: self.size()?.unwrap_or(defaults.max_queue_bytes),
            access_rules: self.access_rules.clone(),
            description: self.description(),
            ..defaults
        };
        options.obey_description();
        Ok(options)
    }

    pub(super) fn topic(&self, name: String, largest: usize) -> Result<TopicOptions, Problem> {
        let defaults = TopicOptions::default();
        let mut options = TopicOptions {
            name,
            requires_duplicate_detection: self.flag("RequiresDuplicateDetection")?,
            duplicate_detection_window: self
                .duration("DuplicateDetectionHistoryTimeWindow")?
                .unwrap_or(defaults.duplicate_detection_window),
            default_time_to_live: self.time_to_live()?,
            max_message_bytes: largest,
            max_topic_bytes: self.size()?.unwrap_or(defaults.max_topic_bytes),
            access_rules: self.access_rules.clone(),
            description: self.description(),
            ..defaults
        };
        options.obey_description();
        Ok(options)
    }

    fn size(&self) -> Result<Option<u64>, Problem> {
        Ok(self.number("MaxSizeInMegabytes")?.map(|megabytes| u64::from(megabytes) * 1024 * 1024))
    }

    fn description(&self) -> Description {
        Description { elements: self.elements.clone(), ..Description::default() }
    }

    fn time_to_live(&self) -> Result<Option<Duration>, Problem> {
        Ok(self.duration("DefaultMessageTimeToLive")?.filter(|duration| !iso_duration::is_for_ever(*duration)))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        self.get(name, iso_duration::parse)
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

/// Of a flag that can be read. Descriptions that an earlier version kept have both spellings.
fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1")
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

/// As error texts write a time span: `25.00:00:00`.
fn time_span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let days = seconds / 86_400;
    let days = if days > 0 { format!("{days}.") } else { String::new() };
    format!("{days}{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}
