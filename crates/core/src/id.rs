//! Identifiers: of messages, of their records, of runs and writes.

use std::fmt;

use sha2::{Digest, Sha256};

/// `MessageId` holds at most so many characters (Service Bus quotas).
pub const MAX_BROKER_ID: usize = 128;

/// The most bytes of a logical id: it travels in a header, and a URL holds it percent-encoded.
pub const MAX_LOGICAL_ID: usize = 512;

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 as 64 lower-case hex digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(sha256(bytes))
}

/// Why an id was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there.
    #[error("an id cannot be empty")]
    Empty,
    /// Longer than [`MAX_LOGICAL_ID`].
    #[error("an id can have at most {MAX_LOGICAL_ID} bytes")]
    TooLong,
    /// A control character, which no header carries.
    #[error("an id cannot contain control characters")]
    Control,
    /// `.` or `..`, which clients take out of a path before they send it: no status could be asked for.
    #[error("an id cannot be a dot or two")]
    Dots,
}

/// Checks a logical id: 1 to [`MAX_LOGICAL_ID`] bytes without control characters, and neither `.` nor `..`.
///
/// # Errors
/// What is wrong with it.
pub fn check_logical_id(id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        Err(IdError::Empty)
    } else if id.len() > MAX_LOGICAL_ID {
        Err(IdError::TooLong)
    } else if id.chars().any(char::is_control) {
        Err(IdError::Control)
    } else if matches!(id, "." | "..") {
        Err(IdError::Dots)
    } else {
        Ok(())
    }
}

/// The `MessageId` under which a logical id is sent: itself, or its SHA-256 where it is too long for the broker.
#[must_use]
pub fn broker_id(logical_id: &str) -> String {
    if logical_id.chars().count() <= MAX_BROKER_ID { logical_id.to_owned() } else { sha256_hex(logical_id.as_bytes()) }
}

/// The name of a message's record: `{first 3 hex of h}/{group}/{h}` with h the SHA-256 of the logical id.
///
/// The hash comes first because Blob Storage partitions by ranges of names: ids and times in front would send all
/// load to one partition server. Group names need no escaping, and neither does hex.
#[must_use]
pub fn record_name(group: &str, logical_id: &str) -> String {
    let hash = sha256_hex(logical_id.as_bytes());
    let prefix = hash.get(..3).unwrap_or_default();
    format!("{prefix}/{group}/{hash}")
}

/// The name of a lock key's blob: `keys/{first 3 hex of h}/{group}/{h}` with h the SHA-256 of the key.
#[must_use]
pub fn key_name(group: &str, key: &str) -> String {
    format!("keys/{}", record_name(group, key))
}

/// The name of the record of an idempotency key: `door/{first 3 hex of h}/{group}/{h}` with h the SHA-256 of the client, by its
/// name or nobody, and of its key.
#[must_use]
pub fn door_name(group: &str, client: Option<&str>, key: &str) -> String {
    let mut digest = Sha256::new();
    // A client without a name is none with an empty one, and no name runs into a key.
    digest.update([u8::from(client.is_some())]);
    let client = client.unwrap_or_default();
    digest.update(u64::try_from(client.len()).unwrap_or(u64::MAX).to_be_bytes());
    digest.update(client);
    digest.update(key);
    let hash = hex::encode(digest.finalize());
    let prefix = hash.get(..3).unwrap_or_default();
    format!("door/{prefix}/{group}/{hash}")
}

/// A `UUIDv7` (RFC 9562): time-ordered, so that what is listed by id is listed by time.
#[must_use]
pub fn uuid_v7(unix_millis: u64, random: [u8; 10]) -> String {
    uuid::Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid().hyphenated().to_string()
}

/// The digest that tells whether two messages are the same: over the content type with its length, so that no two pairs
/// run into each other, and the SHA-256 of the body. Of the body only its digest counts, so that a message whose body lies in a blob
/// ([`crate::claim`]) is the same as one that carries it.
#[must_use]
pub fn payload_hash(content_type: Option<&str>, body: &[u8]) -> String {
    payload_hash_of(content_type, &sha256_hex(body))
}

/// [`payload_hash`], of a body whose SHA-256 is known, in lower-case hex.
#[must_use]
pub fn payload_hash_of(content_type: Option<&str>, body_sha256: &str) -> String {
    let content_type = content_type.unwrap_or_default();
    let mut digest = Sha256::new();
    digest.update(u64::try_from(content_type.len()).unwrap_or(u64::MAX).to_be_bytes());
    digest.update(content_type);
    digest.update(body_sha256);
    hex::encode(digest.finalize())
}

/// The id of an item of a batch that brings none, where the batch has a key of its own: the key and the item's place. The same
/// for a batch that is repeated as it was.
#[must_use]
pub fn derived_id(key: &str, index: usize) -> String {
    let id = format!("{key}/{index}");
    if id.len() > MAX_LOGICAL_ID { format!("sha256:{}/{index}", sha256_hex(key.as_bytes())) } else { id }
}

/// A source of names that no other run uses: 128 random bits drawn once, and a counter.
///
/// Keeps the core free of randomness: the draw happens outside, and the same draw gives the same names again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Names {
    run: String,
    next: u64,
}

impl Names {
    /// Names for a run, out of bits that were drawn for it.
    #[must_use]
    pub fn new(random: u128) -> Self {
        Self { run: format!("{random:032x}"), next: 0 }
    }

    /// The run itself: 32 hex digits.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The next name: the run and a number.
    pub fn fresh(&mut self) -> Mark {
        self.next = self.next.saturating_add(1);
        Mark(format!("{}-{}", self.run, self.next))
    }

    /// The next draw: 64 bits that depend on the run's bits and on how many were drawn before.
    pub fn draw(&mut self) -> u64 {
        let Mark(name) = self.fresh();
        let digest = Sha256::digest(name.as_bytes());
        digest.iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
    }
}

/// A name out of [`Names`]: marks one write, so that its author can recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark(String);

impl Mark {
    /// The mark as text: printable ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A mark read back from a record.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_by_hash_group_hash() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(record_name("orders", "abc"), format!("ba7/orders/{hash}"));
    }

    #[test]
    fn a_key_at_the_door_is_its_clients_alone() {
        let names = [
            door_name("q", None, "ab"),
            door_name("q", Some(""), "ab"),
            door_name("q", Some("a"), "b"),
            door_name("q", Some("ab"), ""),
            door_name("r", None, "ab"),
        ];
        assert!(names.iter().all(|name| name.starts_with("door/")));
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_long_id_travels_as_its_hash() {
        assert_eq!(broker_id("short"), "short");
        assert_eq!(broker_id(&"x".repeat(128)).len(), 128);
        assert_eq!(broker_id(&"x".repeat(129)).len(), 64);
    }

    #[test]
    fn ids_that_no_header_carries_are_refused() {
        assert_eq!(check_logical_id(""), Err(IdError::Empty));
        assert_eq!(check_logical_id("a\nb"), Err(IdError::Control));
        assert_eq!(check_logical_id(&"x".repeat(513)), Err(IdError::TooLong));
        for dots in [".", ".."] {
            assert_eq!(check_logical_id(dots), Err(IdError::Dots));
        }
        assert_eq!(check_logical_id("..."), Ok(()));
        assert_eq!(check_logical_id("Bestellung 7/ä"), Ok(()));
    }

    #[test]
    fn a_payload_differs_by_body_or_by_content_type() {
        let hash = payload_hash(Some("text/plain"), b"a");
        assert_eq!(hash, payload_hash(Some("text/plain"), b"a"));
        assert_ne!(hash, payload_hash(Some("text/plain"), b"b"));
        assert_ne!(hash, payload_hash(Some("text/plaina"), b""));
        assert_ne!(hash, payload_hash(None, b"text/plaina"));
    }

    #[test]
    fn names_are_fresh_and_come_again_from_the_same_bits() {
        let (mut one, mut two) = (Names::new(7), Names::new(7));
        assert_eq!(one.fresh(), two.fresh());
        assert_ne!(one.fresh(), one.fresh());
        assert_ne!(one.draw(), one.draw());
        assert_eq!(uuid_v7(0x0123_4567_89ab, [0; 10]), "01234567-89ab-7000-8000-000000000000");
    }
}
