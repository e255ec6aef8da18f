//! What neither recordings nor documents settle about the service: each open point is a setting.
//!
//! The defaults are what is documented, or recorded once; where there is neither, the field says whose
//! guess it is. A test that must hold whatever Azure does runs with both values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::{Policy, SessionLess, Stranded};

/// The open points. Absent fields of a file have their defaults; unknown ones are an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Behaviour {
    /// Status of a data-plane call to an entity that is absent: 404 or 410. The operations' pages say 410,
    /// an older one says 404 for what never existed. Default 404.
    pub missing_entity_status: u16,
    /// What a settling call is told whose lock is lost; the status is 404. Default: the documented sentence.
    pub lost_lock_text: String,
    /// Status of a throttled call: 503 or 429. The text (error 50009) is documented, the status is not.
    /// Default 503. It is what the fault `throttle` answers.
    pub throttled_status: u16,
    /// Status of a call that an entity's status forbids. Nothing is documented for HTTP but the exception's
    /// text. Default 403.
    pub disabled_entity_status: u16,
    /// Status of a receive from an entity that requires sessions: it is documented only that HTTP cannot.
    /// Default 400.
    pub session_receive_status: u16,
    /// What such a receive is told.
    pub session_receive_text: String,
    /// Status of a receive from an entity that forwards: documented only as an invalid operation. Default
    /// 400.
    pub forwarding_receive_status: u16,
    /// What a send is told that is too large; the status is 403 as documented. `{size}` and `{limit}` stand
    /// for bytes.
    pub oversize_text: String,
    /// What a send is told when the entity is full; the status is 403 as documented. `{limit}` stands for
    /// bytes.
    pub quota_text: String,
    /// Seconds that a receive without `timeout` waits. Recorded: four to five seconds, in 2014. Default 5.
    pub default_receive_timeout_seconds: u64,
    /// The longest wait in seconds; what asks for more gets this. No maximum is documented; the front end
    /// closes idle connections after about four minutes. Default 240.
    pub longest_receive_timeout_seconds: u64,
    /// Request headers, in any case, that are not stored as custom properties, besides the standard ones
    /// of HTTP. A name that ends in `*` stands for all that begin so. By the one recorded precedent
    /// everything is stored, trace headers included; so the default is the gateway's own header only.
    pub headers_not_stored: Vec<String>,
    /// What `GET {entity}/messages/head` does. Undocumented; two clients report that it shows the first
    /// message. Default: refused.
    pub get_head: GetHead,
    /// Where a message goes that cannot be forwarded. The documents contradict each other. Default
    /// `{source}/$Transfer/$DeadLetterQueue`.
    pub stranded_messages: Stranded,
    /// What becomes of a message without a session id in an entity that requires sessions. Default: it is
    /// dead-lettered, as documented.
    pub session_less_messages: SessionLess,
    /// Whether a batch for a partitioned entity must have one partition key. Documented for transactions
    /// only. Default yes.
    pub one_partition_per_batch: bool,
    /// Whether `ForwardTo` needs the header `ServiceBusSupplementaryAuthorization`, and
    /// `ForwardDeadLetteredMessagesTo` its own. The SDKs always send them, and one that is sent is always
    /// checked. Default no.
    pub forwarding_needs_authorization: bool,
    /// Whether an entity can only be told to forward to one that is there; documented for its creation, and
    /// reported with the words of the refusal. What is declared at the start, or through the admin port, may come
    /// in any order. Default yes.
    pub forwarding_target_must_exist: bool,
}

/// What `GET {entity}/messages/head` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GetHead {
    /// 405.
    #[default]
    Refused,
    /// 200 with the first visible message, which stays where it is, or 204.
    Peek,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            missing_entity_status: 404,
            lost_lock_text: "No message was found with the specified MessageId or LockToken.".to_owned(),
            throttled_status: 503,
            disabled_entity_status: 403,
            session_receive_status: 400,
            session_receive_text: "40000: The entity requires sessions, which cannot be received over HTTP.".to_owned(),
            forwarding_receive_status: 400,
            oversize_text: "40300: The message of {size} bytes exceeds the limit of {limit} bytes.".to_owned(),
            quota_text: "40300: Quota exceeded: the entity has reached its maximum size of {limit} bytes.".to_owned(),
            default_receive_timeout_seconds: 5,
            longest_receive_timeout_seconds: 240,
            headers_not_stored: vec!["x-ms-retrypolicy".to_owned()],
            get_head: GetHead::default(),
            stranded_messages: Stranded::default(),
            session_less_messages: SessionLess::default(),
            one_partition_per_batch: true,
            forwarding_needs_authorization: false,
            forwarding_target_must_exist: true,
        }
    }
}

impl Behaviour {
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            stranded: self.stranded_messages,
            session_less: self.session_less_messages,
            one_partition_per_batch: self.one_partition_per_batch,
        }
    }

    /// How long a receive waits that asks for so many seconds.
    pub(crate) fn patience(&self, asked_seconds: Option<u64>) -> Duration {
        let seconds = asked_seconds.unwrap_or(self.default_receive_timeout_seconds);
        Duration::from_secs(seconds.min(self.longest_receive_timeout_seconds))
    }

    /// Whether a request header of this name, in lower case, is a custom property.
    pub(crate) fn stores_header(&self, name: &str) -> bool {
        let is_listed = |listed: &String| match listed.strip_suffix('*') {
            Some(head) => name.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head)),
            None => listed.eq_ignore_ascii_case(name),
        };
        !self.headers_not_stored.iter().any(is_listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_only_what_differs() {
        let read = |json: &str| serde_json::from_str::<Behaviour>(json);
        assert_eq!(read("{}").unwrap(), Behaviour::default());
        let json = r#"{"missing-entity-status": 410, "get-head": "peek", "stranded-messages": "dead-letter"}"#;
        let behaviour = read(json).unwrap();
        assert_eq!((behaviour.missing_entity_status, behaviour.get_head), (410, GetHead::Peek));
        assert_eq!(behaviour.stranded_messages, Stranded::DeadLetter);
        assert!(read(r#"{"missing-entity": 410}"#).is_err());
    }

    #[test]
    fn waits_have_a_default_and_a_limit() {
        let behaviour = Behaviour { longest_receive_timeout_seconds: 60, ..Behaviour::default() };
        assert_eq!(behaviour.patience(None), Duration::from_secs(5));
        assert_eq!(behaviour.patience(Some(0)), Duration::ZERO);
        assert_eq!(behaviour.patience(Some(3600)), Duration::from_secs(60));
    }

    #[test]
    fn headers_are_left_out_by_name_or_by_their_beginning() {
        let headers_not_stored = vec!["Traceparent".to_owned(), "x-forwarded-*".to_owned()];
        let behaviour = Behaviour { headers_not_stored, ..Behaviour::default() };
        for (name, stored) in [("traceparent", false), ("x-forwarded-for", false), ("x-forward", true), ("n", true)] {
            assert_eq!(behaviour.stores_header(name), stored, "{name}");
        }
    }
}
