//! The elements of descriptions: their order, since which api-version they are shown, and their values.
//!
//! The service reads and writes descriptions in one fixed order. An api-version shows only what it
//! knew; requests without one get the oldest form, whose dates have no zone.

use std::time::Duration;

use super::authorization;
use crate::auth::service_bus::AccessRule;
use crate::broker::{Description, QueueOptions, TopicOptions};
use crate::http::escape_xml;
use crate::iso_duration;
use crate::time::UnixMillis;

/// The longest time span, as the service writes "never".
pub(super) const NEVER: &str = "P10675199DT2H48M5.4775807S";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Queue,
    Topic,
    Subscription,
}

/// Which answer a description stands in.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    /// To the request that made it.
    Created,
    /// To the request that changed it: of a queue or topic only what was sent.
    Updated(&'a [String]),
    /// To a look at the entity.
    Read,
    /// In a list.
    Listed,
}

/// Where an element's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// What was sent, or the entity's own, or this.
    Settable(&'static str),
    /// What was sent, else the element is left out.
    Optional,
    /// Always this.
    Fixed(&'static str),
    Created,
    Updated,
    Accessed,
    Size,
    Messages,
    Details,
    Subscriptions,
    LargestMessage,
    AccessRules,
}

use Source::{Fixed, Optional, Settable};

type Row = (&'static str, &'static str, Source);

const QUEUE: &[Row] = &[
    ("LockDuration", "", Settable("PT1M")),
    ("MaxSizeInMegabytes", "", Settable("1024")),
    ("RequiresDuplicateDetection", "", Settable("false")),
    ("RequiresSession", "", Settable("false")),
    ("DefaultMessageTimeToLive", "", Settable(NEVER)),
    ("DeadLetteringOnMessageExpiration", "", Settable("false")),
    ("DuplicateDetectionHistoryTimeWindow", "", Settable("PT10M")),
    ("MaxDeliveryCount", "", Settable("10")),
    ("EnableBatchedOperations", "", Settable("true")),
    ("SizeInBytes", "", Source::Size),
    ("MessageCount", "", Source::Messages),
    ("IsAnonymousAccessible", "2013-07", Settable("false")),
    ("AuthorizationRules", "2013-07", Source::AccessRules),
    ("Status", "2013-07", Settable("Active")),
    ("CreatedAt", "", Source::Created),
    ("UpdatedAt", "", Source::Updated),
    ("AccessedAt", "2013-07", Source::Accessed),
    ("SupportOrdering", "2013-07", Settable("true")),
    ("CountDetails", "2013-07", Source::Details),
    ("AutoDeleteOnIdle", "2013-07", Settable(NEVER)),
    ("EnablePartitioning", "2013-10", Settable("false")),
    ("EntityAvailabilityStatus", "2013-10", Fixed("Available")),
    ("EnableExpress", "2014-01", Settable("false")),
    ("ForwardTo", "2013-07", Optional),
    ("ForwardDeadLetteredMessagesTo", "2014-09", Optional),
    ("UserMetadata", "2013-07", Optional),
    ("MaxMessageSizeInKilobytes", "2021-05", Source::LargestMessage),
];

const TOPIC: &[Row] = &[
    ("DefaultMessageTimeToLive", "", Settable(NEVER)),
    ("MaxSizeInMegabytes", "", Settable("1024")),
    ("RequiresDuplicateDetection", "", Settable("false")),
    ("DuplicateDetectionHistoryTimeWindow", "", Settable("PT10M")),
    ("EnableBatchedOperations", "", Settable("true")),
    ("SizeInBytes", "", Source::Size),
    ("FilteringMessagesBeforePublishing", "2013-07", Settable("false")),
    ("IsAnonymousAccessible", "2013-07", Settable("false")),
    ("AuthorizationRules", "2013-07", Source::AccessRules),
    ("Status", "2013-07", Settable("Active")),
    ("CreatedAt", "", Source::Created),
    ("UpdatedAt", "", Source::Updated),
    ("AccessedAt", "2013-07", Source::Accessed),
    ("SupportOrdering", "2013-07", Settable("true")),
    ("CountDetails", "2013-07", Source::Details),
    ("SubscriptionCount", "2013-07", Source::Subscriptions),
    ("AutoDeleteOnIdle", "2013-07", Settable(NEVER)),
    ("EnablePartitioning", "2013-10", Settable("false")),
    ("EntityAvailabilityStatus", "2013-10", Fixed("Available")),
    ("EnableSubscriptionPartitioning", "2013-10", Settable("false")),
    ("EnableExpress", "2014-01", Settable("false")),
    ("UserMetadata", "2013-07", Optional),
    ("MaxMessageSizeInKilobytes", "2021-05", Source::LargestMessage),
];

const SUBSCRIPTION: &[Row] = &[
    ("LockDuration", "", Settable("PT1M")),
    ("RequiresSession", "", Settable("false")),
    ("DefaultMessageTimeToLive", "", Settable(NEVER)),
    ("DeadLetteringOnMessageExpiration", "", Settable("false")),
    ("DeadLetteringOnFilterEvaluationExceptions", "", Settable("true")),
    ("MessageCount", "", Source::Messages),
    ("MaxDeliveryCount", "", Settable("10")),
    ("EnableBatchedOperations", "", Settable("true")),
    ("Status", "2013-07", Settable("Active")),
    ("ForwardTo", "2013-07", Optional),
    ("CreatedAt", "2013-07", Source::Created),
    ("UpdatedAt", "2013-07", Source::Updated),
    ("AccessedAt", "2013-07", Source::Accessed),
    ("CountDetails", "2013-07", Source::Details),
    ("UserMetadata", "2013-07", Optional),
    ("ForwardDeadLetteredMessagesTo", "2014-09", Optional),
    ("AutoDeleteOnIdle", "2013-07", Settable(NEVER)),
    ("EntityAvailabilityStatus", "2013-10", Fixed("Available")),
    ("IsClientAffine", "2021-05", Settable("false")),
];

impl Kind {
    pub(super) fn root(self) -> &'static str {
        match self {
            Self::Queue => "QueueDescription",
            Self::Topic => "TopicDescription",
            Self::Subscription => "SubscriptionDescription",
        }
    }

    fn rows(self) -> &'static [Row] {
        match self {
            Self::Queue => QUEUE,
            Self::Topic => TOPIC,
            Self::Subscription => SUBSCRIPTION,
        }
    }

    /// Where an element stands in the order, if its place is known for sure.
    pub(super) fn place(self, name: &str) -> Option<usize> {
        self.rows().iter().position(|(row, _, source)| *row == name && *source != Optional)
    }

    /// Whether an api-version knows this element. What nobody knows is ignored.
    pub(super) fn knows(self, name: &str, version: &str) -> bool {
        self.rows().iter().find(|(row, ..)| *row == name).is_none_or(|(_, since, _)| *since <= version)
    }
}

/// How many messages there are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Census {
    pub(super) active: usize,
    pub(super) dead: usize,
    pub(super) scheduled: usize,
    /// Messages that could not be forwarded.
    pub(super) stranded: usize,
    pub(super) bytes: u64,
    pub(super) subscriptions: usize,
}

/// An entity as it is shown.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) description: Description,
    /// The entity's own values, where the broker has them: name and text.
    own: Vec<(&'static str, String)>,
    pub(super) census: Census,
    pub(super) largest_message: usize,
    access_rules: Vec<AccessRule>,
}

impl Shown {
    pub(super) fn queue(kind: Kind, options: &QueueOptions, census: Census) -> Self {
        let name = match kind {
            Kind::Subscription => options.name.rsplit('/').next().unwrap_or_default().to_owned(),
            Kind::Queue | Kind::Topic => options.name.clone(),
        };
        let own = vec![
            ("LockDuration", iso_duration::write(options.lock_duration)),
            ("MaxDeliveryCount", options.max_delivery_count.to_string()),
            ("RequiresDuplicateDetection", options.requires_duplicate_detection.to_string()),
            ("DuplicateDetectionHistoryTimeWindow", iso_duration::write(options.duplicate_detection_window)),
            ("DefaultMessageTimeToLive", optional_duration(options.default_time_to_live)),
            ("DeadLetteringOnMessageExpiration", options.dead_lettering_on_expiration.to_string()),
            ("MaxSizeInMegabytes", (options.max_queue_bytes / (1024 * 1024)).to_string()),
        ];
        let (description, access_rules) = (options.description.clone(), options.access_rules.clone());
        Self { kind, name, description, own, census, largest_message: options.max_message_bytes, access_rules }
    }

    pub(super) fn topic(options: &TopicOptions, census: Census) -> Self {
        let own = vec![
            ("RequiresDuplicateDetection", options.requires_duplicate_detection.to_string()),
            ("DuplicateDetectionHistoryTimeWindow", iso_duration::write(options.duplicate_detection_window)),
            ("DefaultMessageTimeToLive", optional_duration(options.default_time_to_live)),
        ];
        let (name, description) = (options.name.clone(), options.description.clone());
        let (largest_message, access_rules) = (options.max_message_bytes, options.access_rules.clone());
        Self { kind: Kind::Topic, name, description, own, census, largest_message, access_rules }
    }

    pub(super) fn created_at(&self) -> UnixMillis {
        self.description.created_at.unwrap_or(UnixMillis(0))
    }

    pub(super) fn updated_at(&self) -> UnixMillis {
        self.description.updated_at.unwrap_or(UnixMillis(0))
    }

    /// The description element with everything in it.
    pub(super) fn xml(&self, version: &str, view: View<'_>) -> String {
        let root = self.kind.root();
        let mut xml = format!("<{root} xmlns=\"{CONNECT}\" xmlns:i=\"{INSTANCE}\">");
        for (name, since, source) in self.kind.rows() {
            if *since <= version
                && self.is_in(name, *source, version, view)
                && let Some(value) = self.value(name, *source, version, view)
            {
                match source {
                    Source::Details => xml.push_str(&value),
                    _ => xml.push_str(&format!("<{name}>{value}</{name}>")),
                }
            }
        }
        xml.push_str(&format!("</{root}>"));
        xml
    }

    fn is_in(&self, name: &str, source: Source, version: &str, view: View<'_>) -> bool {
        let only_read = match self.kind {
            Kind::Subscription => matches!(source, Source::Details),
            Kind::Queue | Kind::Topic => {
                matches!(source, Source::Details | Source::Accessed | Source::Subscriptions)
            }
        };
        match view {
            View::Read | View::Listed => !(version.is_empty() && matches!(source, Source::Created | Source::Updated)),
            View::Updated(sent) if self.kind != Kind::Subscription => sent.iter().any(|sent| sent == name),
            View::Created | View::Updated(_) => !only_read,
        }
    }

    fn value(&self, name: &str, source: Source, version: &str, view: View<'_>) -> Option<String> {
        let sent = || self.description.elements.get(name).map(|text| escape_xml(text));
        Some(match source {
            Settable(default) => {
                let own = || self.own.iter().find(|(own, _)| *own == name).map(|(_, text)| text.clone());
                sent().or_else(own).unwrap_or_else(|| default.to_owned())
            }
            Optional => sent()?,
            Fixed(text) => text.to_owned(),
            Source::Created => date(self.created_at(), version),
            Source::Updated => date(self.updated_at(), version),
            // Never: the service notes it on subscriptions only, and tells a subscription's with a look.
            Source::Accessed => match (self.kind, view) {
                (Kind::Subscription, View::Read | View::Listed) => date(self.created_at(), version),
                (Kind::Subscription, _) => "0001-01-01T00:00:00".to_owned(),
                (Kind::Queue | Kind::Topic, _) => "0001-01-01T00:00:00Z".to_owned(),
            },
            Source::Size => self.census.bytes.to_string(),
            Source::Messages => {
                (self.census.active + self.census.dead + self.census.scheduled + self.census.stranded).to_string()
            }
            Source::Subscriptions => self.census.subscriptions.to_string(),
            Source::AccessRules => authorization::write(&self.access_rules),
            Source::LargestMessage => (self.largest_message / 1024).to_string(),
            // The prefix follows from how deep the service's writer is.
            Source::Details => match (self.kind, view) {
                (Kind::Subscription, View::Read) => details(self.census).replace("d2p1", "d3p1"),
                _ => details(self.census),
            },
        })
    }
}

pub(super) const CONNECT: &str = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";
pub(super) const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

fn details(census: Census) -> String {
    let counts = [
        ("Active", census.active),
        ("DeadLetter", census.dead),
        ("Scheduled", census.scheduled),
        // A transfer is part of the operation that it follows: none is ever under way.
        ("Transfer", 0),
        ("TransferDeadLetter", census.stranded),
    ];
    let mut xml =
        "<CountDetails xmlns:d2p1=\"http://schemas.microsoft.com/netservices/2011/06/servicebus\">".to_owned();
    for (name, count) in counts {
        xml.push_str(&format!("<d2p1:{name}MessageCount>{count}</d2p1:{name}MessageCount>"));
    }
    xml + "</CountDetails>"
}

/// Milliseconds, without trailing zeros; the oldest form has no zone.
fn date(at: UnixMillis, version: &str) -> String {
    let millis = at.0.rem_euclid(1000);
    let fraction = format!(".{millis:03}");
    let fraction = if millis == 0 { "" } else { fraction.trim_end_matches('0') };
    let zone = if version.is_empty() { "" } else { "Z" };
    format!("{}{fraction}{zone}", at.iso_seconds())
}

fn optional_duration(duration: Option<Duration>) -> String {
    duration
        .filter(|duration| !iso_duration::is_for_ever(*duration))
        .map_or_else(|| NEVER.to_owned(), iso_duration::write)
}
