//! The queues: are they there, as the configuration says they are, and do the credentials reach them?
//!
//! A right is tried by a request that the broker must refuse for another reason:
//!
//! * **Listen**: renewing a lock that nobody ever had. With the right it is "no such message", without it 401. Receiving
//!   would tell as well, and would lock somebody's message.
//! * **Send**: sending to the dead-letter sub-queue, which takes no messages from outside. Without the right it is 401. An
//!   answer other than that says no more than that the credential was not refused, and the line says no more either. It
//!   does not say that the queue exists: the settings, or the try of Listen, do.
//!
//! Settings are read and queues made over the management API, where the credential has the right Manage. The app itself
//! needs no such right, so not having it is a warning at most.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use oncebus_azure::connection::ServiceBusConnection;
use oncebus_azure::servicebus::{ServiceBus, ServiceBusError, ServiceBusErrorKind, parse_sent, parse_settled};
use oncebus_core::config::{Config, Idempotency};
use oncebus_core::message::{LockRef, Outgoing};
use oncebus_core::record::retention::in_words;
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;

use super::ask;
use super::management::{self, Description, Found, MESSAGE_TTL, Made};
use super::report::{Level, Report};

const TOKEN_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The namespace to look at, by three credentials that may be one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namespace<'a> {
    pub(super) platform: &'a Native,
    pub(super) listen: &'a ServiceBusConnection,
    pub(super) send: &'a ServiceBusConnection,
    pub(super) manage: &'a ServiceBusConnection,
    /// Whether to make queues that are missing.
    pub(super) create: bool,
}

/// What a queue should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    lock_duration: Duration,
    max_delivery_count: u32,
    /// Whether the broker is to drop repetitions: that is chosen when a queue is made.
    detects_duplicates: bool,
    /// Whether the app receives from it: poison queues it only sends to.
    receives: bool,
}

/// What a try of a right came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tried {
    /// The right is there.
    Granted,
    /// 401.
    Denied(String),
    /// The queue itself is missing.
    NoQueue,
    /// Not as expected; what was said.
    Unclear(String),
}

impl Namespace<'_> {
    pub(super) async fn check(&self, config: &Config, report: &mut Report) {
        let now = self.platform.wall();
        for (name, connection) in [("listen credential", self.listen), ("send credential", self.send)] {
            if let Some(expires) = connection.token_expires_at() {
                report.expiry(name, expires, now);
            }
        }
        let mut unsaid = Vec::new();
        for wanted in wanted(config) {
            match self.check_queue(&wanted, report).await {
                Ok(why) => unsaid.extend(why.map(|why| (why, wanted))),
                // What is true of one queue of a namespace that does not answer is true of all.
                Err(failure) => return report.fail("service bus", format!("{} {failure}", self.listen.origin())),
            }
        }
        if let Some((why, _)) = unsaid.first() {
            let should = should_be(unsaid.iter().map(|(_, wanted)| wanted));
            report.warn("queue settings", format!("not checked: {why}. They should be: {should}"));
        }
    }

    /// Looks at one queue. Returns why its settings are not known, where that is so.
    async fn check_queue(&self, wanted: &Wanted, report: &mut Report) -> Result<Option<String>, Failure> {
        let settings = self.settings(wanted, report).await?;
        if settings == Settings::Missing {
            return Ok(None);
        }
        let listens = self.try_listen(&wanted.name).await?;
        let sends = self.try_send(&wanted.name).await?;
        let unsaid = match settings {
            Settings::NotSaid(why) if listens == Tried::NoQueue => {
                report.fail(format!("queue {}", wanted.name), format!("missing ({why}). {}", wanted.remedy()));
                return Ok(None);
            }
            Settings::NotSaid(why) => Some(why),
            Settings::Read | Settings::Missing => None,
        };
        // A lock that is not known is a queue that is.
        let seen = unsaid.is_none() || listens == Tried::Granted;
        let sends = match sends {
            Tried::Granted | Tried::NoQueue if seen => Tried::Granted,
            Tried::Granted | Tried::NoQueue => {
                Tried::Unclear("the credential is not refused, and whether the queue exists cannot be seen".to_owned())
            }
            other => other,
        };
        // A poison queue is asked only for whether it is there: nothing is received from it.
        if wanted.receives {
            tell(report, &format!("listen {}", wanted.name), "Listen", "may receive and settle", listens);
        }
        let granted = "the queue is there and the credential is not refused (nothing was sent to find out)";
        tell(report, &format!("send {}", wanted.name), "Send", granted, sends);
        Ok(unsaid)
    }

    /// Reads the settings and says what is wrong with them; makes the queue if that is what is wrong.
    async fn settings(&self, wanted: &Wanted, report: &mut Report) -> Result<Settings, Failure> {
        let name = format!("queue {}", wanted.name);
        let request = management::get(self.manage, &wanted.name, self.platform.wall());
        match management::read_found(&ask(self.platform, request).await?) {
            Found::Queue(found) => {
                let (level, sentence) = compare(&found, wanted);
                match level {
                    Level::Ok => report.ok(name, sentence),
                    Level::Warn => report.warn(name, sentence),
                    Level::Fail => report.fail(name, sentence),
                }
                Ok(Settings::Read)
            }
            Found::NotSaid(why) => Ok(Settings::NotSaid(why)),
            Found::Missing if self.create => match self.make(wanted).await? {
                Made::There => {
                    report.ok(name, format!("made: {}, message TTL {MESSAGE_TTL}", wanted.settings()));
                    Ok(Settings::Read)
                }
                Made::Refused(why) => {
                    report.fail(name, format!("missing, and could not be made ({why}). {}", wanted.remedy()));
                    Ok(Settings::Missing)
                }
            },
            Found::Missing => {
                report.fail(name, format!("missing. {}", wanted.remedy()));
                Ok(Settings::Missing)
            }
        }
    }

    async fn make(&self, wanted: &Wanted) -> Result<Made, Failure> {
        let (lock, count, detects) = (wanted.lock_duration, wanted.max_delivery_count, wanted.detects_duplicates);
        let request = management::put(self.manage, &wanted.name, lock, count, detects, self.platform.wall());
        Ok(management::read_made(&ask(self.platform, request).await?))
    }

    async fn try_listen(&self, queue: &str) -> Result<Tried, Failure> {
        // Sequence numbers start at 1, and no lock has this token.
        let nobodys = LockRef { sequence_number: 0, lock_token: "00000000-0000-0000-0000-000000000000".to_owned() };
        let service = ServiceBus::new(self.listen, self.platform.wall(), TOKEN_LIFETIME);
        let answer = ask(self.platform, service.renew(queue, &nobodys)).await?;
        Ok(match parse_settled(answer) {
            Ok(()) => Tried::Unclear("a lock that nobody has was renewed".to_owned()),
            Err(error) => match error.kind {
                ServiceBusErrorKind::Unauthorized => Tried::Denied(error.to_string()),
                ServiceBusErrorKind::EntityNotFound => Tried::NoQueue,
                ServiceBusErrorKind::LockLost if is_about_queue(&error) => Tried::NoQueue,
                ServiceBusErrorKind::LockLost => Tried::Granted,
                _ => Tried::Unclear(error.to_string()),
            },
        })
    }

    async fn try_send(&self, queue: &str) -> Result<Tried, Failure> {
        let service = ServiceBus::new(self.send, self.platform.wall(), TOKEN_LIFETIME);
        let probe = Outgoing { body: Bytes::from_static(b"oncebus doctor"), ..Outgoing::default() };
        let request = service.send(&format!("{queue}/$DeadLetterQueue"), &probe)?;
        Ok(match parse_sent(ask(self.platform, request).await?) {
            Ok(()) => Tried::Unclear(format!("{queue}/$DeadLetterQueue took a message of 14 bytes: remove it")),
            Err(error) => match error.kind {
                ServiceBusErrorKind::Unauthorized => Tried::Denied(error.to_string()),
                // Of a queue that is there it may be said too: its dead-letter queue is no place to send to.
                ServiceBusErrorKind::EntityNotFound => Tried::NoQueue,
                ServiceBusErrorKind::BadRequest | ServiceBusErrorKind::QuotaOrSize => Tried::Granted,
                _ => Tried::Unclear(error.to_string()),
            },
        })
    }
}

/// What is known of a queue's settings; what was to be said about them is said, but for `NotSaid`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Settings {
    Read,
    Missing,
    NotSaid(String),
}

/// The settings of many queues, each kind of settings once.
fn should_be<'a>(queues: impl Iterator<Item = &'a Wanted>) -> String {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for wanted in queues {
        alike.entry(wanted.settings()).or_default().push(&wanted.name);
    }
    let kinds: Vec<String> =
        alike.iter().map(|(settings, names)| format!("{settings} ({})", names.join(", "))).collect();
    kinds.join("; ")
}

fn tell(report: &mut Report, name: &str, right: &str, granted: &str, tried: Tried) {
    match tried {
        Tried::Granted => report.ok(name, granted),
        Tried::Denied(why) => report.fail(name, format!("{why}. The credential needs the right {right} there")),
        Tried::NoQueue => report.fail(name, "there is no such queue"),
        Tried::Unclear(what) => report.warn(name, format!("not checked: {what}")),
    }
}

/// A 404 to a settling call means a lost lock or a missing queue; the documented sub-codes are the same, the words are not.
fn is_about_queue(error: &ServiceBusError) -> bool {
    let said = error.detail.to_ascii_lowercase();
    !said.contains("lock") && (said.contains("endpoint") || said.contains("entity"))
}

/// Each queue once: those that are received from first, then the poison queues that are none of them. A poison queue has the
/// times of the first queue that names it.
fn wanted(config: &Config) -> Vec<Wanted> {
    let mut seen = BTreeMap::new();
    let own = config.queues.values().map(|queue| (&queue.name, queue, true));
    let poison = config.queues.values().map(|queue| (&queue.poison_queue, queue, false));
    own.chain(poison)
        .filter(|(name, ..)| seen.insert(name.to_ascii_lowercase(), ()).is_none())
        .map(|(name, queue, receives)| Wanted {
            name: name.clone(),
            lock_duration: queue.lock_duration,
            max_delivery_count: queue.max_delivery_count,
            detects_duplicates: receives && queue.door.idempotency == Idempotency::Broker,
            receives,
        })
        .collect()
}

impl Wanted {
    fn settings(&self) -> String {
        let detection = if self.detects_duplicates { ", duplicate detection" } else { "" };
        let lock = self.lock_duration.as_secs();
        format!("lock duration {lock} s, max delivery count {}{detection}", self.max_delivery_count)
    }

    fn remedy(&self) -> String {
        format!(
            "Make it: az servicebus queue create --name {} --lock-duration PT{}S --max-delivery-count {} \
             --default-message-time-to-live {MESSAGE_TTL}{}; or run this with a connection string that has the right Manage",
            self.name,
            self.lock_duration.as_secs(),
            self.max_delivery_count,
            if self.detects_duplicates { " --enable-duplicate-detection true" } else { "" }
        )
    }
}

/// The broker's settings against ours. A lock that ends sooner than we reckon with loses messages to others while they
/// are worked on, and a count that is used up sooner sends them to the dead-letter queue: both fail. The other way
/// round things only take longer.
fn compare(found: &Description, wanted: &Wanted) -> (Level, String) {
    if found.requires_session {
        return (Level::Fail, "it requires sessions, which REST cannot receive from: make one without".to_owned());
    }
    if let Some(status) = &found.inactive {
        return (Level::Fail, format!("its status is {status}, not Active"));
    }
    if wanted.detects_duplicates && found.detects_duplicates.is_none() {
        let sentence = "it detects no duplicates, which idempotency = \"broker\" rests on, and a queue gets that when it is made: \
                        make it anew, or say \"record\"";
        return (Level::Fail, sentence.to_owned());
    }
    let (Some(lock), Some(count)) = (found.lock_duration, found.max_delivery_count) else {
        return (Level::Warn, format!("there; its settings cannot be read. They should be: {}", wanted.settings()));
    };
    // Nothing is received from a poison queue here: its times are nobody's business.
    if !wanted.receives || (lock == wanted.lock_duration && count == wanted.max_delivery_count) {
        let window = found.detects_duplicates.filter(|_| wanted.detects_duplicates);
        let detection = window.map(|window| format!(", duplicates detected over {}", in_words(window)));
        let detection = detection.unwrap_or_default();
        return (
            Level::Ok,
            format!("there: lock duration {} s, max delivery count {count}{detection}", lock.as_secs()),
        );
    }
    let worse = lock < wanted.lock_duration || count < wanted.max_delivery_count;
    let sentence = format!(
        "lock duration {} s, max delivery count {count}; configured are lock_duration_seconds {}, max_delivery_count {}: \
         make the two agree",
        lock.as_secs(),
        wanted.lock_duration.as_secs(),
        wanted.max_delivery_count
    );
    (if worse { Level::Fail } else { Level::Warn }, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Wanted {
        Wanted {
            name: "orders".into(),
            lock_duration: Duration::from_secs(60),
            max_delivery_count: 10,
            detects_duplicates: false,
            receives: true,
        }
    }

    fn described(lock: u64, count: u32) -> Description {
        Description {
            lock_duration: Some(Duration::from_secs(lock)),
            max_delivery_count: Some(count),
            ..Description::default()
        }
    }

    #[test]
    fn settings_that_lose_messages_fail_and_others_warn() {
        for (found, level) in [
            (described(60, 10), Level::Ok),
            (described(59, 10), Level::Fail),
            (described(60, 9), Level::Fail),
            (described(120, 9), Level::Fail),
            (described(120, 20), Level::Warn),
            (Description::default(), Level::Warn),
            (Description { requires_session: true, ..described(60, 10) }, Level::Fail),
            (Description { inactive: Some("Disabled".into()), ..described(60, 10) }, Level::Fail),
        ] {
            assert_eq!(compare(&found, &orders()).0, level, "{found:?}");
        }
        let detecting = Wanted { detects_duplicates: true, ..orders() };
        assert_eq!(compare(&described(60, 10), &detecting).0, Level::Fail);
        let found = Description { detects_duplicates: Some(Duration::from_secs(600)), ..described(60, 10) };
        let sentence = "there: lock duration 60 s, max delivery count 10, duplicates detected over 10 min";
        assert_eq!(compare(&found, &detecting), (Level::Ok, sentence.to_owned()));
        assert!(detecting.remedy().contains("--enable-duplicate-detection true"));
        let poison = Wanted { receives: false, ..orders() };
        assert_eq!(compare(&described(5, 1), &poison).0, Level::Ok);
    }

    #[test]
    fn a_queue_that_is_another_ones_poison_queue_is_looked_at_once() {
        let config = Config::parse("[queues.a]\npoison_queue = 'b'\n[queues.b]\n[queues.c]\n").unwrap();
        let names: Vec<(String, bool)> =
            wanted(&config).into_iter().map(|queue| (queue.name, queue.receives)).collect();
        let expected = [("a", true), ("b", true), ("c", true), ("b.poison", false), ("c.poison", false)];
        assert_eq!(names, expected.map(|(name, receives)| (name.to_owned(), receives)));
    }
}
