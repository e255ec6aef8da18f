//! Claim checks: a body that is too large for the broker waits in a blob, and the message says where.
//!
//! # The protocol
//!
//! 1. **Ingest** puts the body under `{record}.claim/{sha256}`, if there is nothing (`If-None-Match: *`), and only then sends a message with an empty body and
//!    the properties `oncebus-claim` (the blob's name in the container), `oncebus-claim-size` (bytes) and `oncebus-claim-sha256` (hex). The name
//!    holds the message's id and the content's digest, so what is there already is this very body, from a try before: a repetition is harmless, and
//!    another body under the same id overwrites nothing.
//! 2. **The queue handler** claims the record first, as for every message; a duplicate is known without reading a body. Then it reads the
//!    blob, and gives the processor the message with its body once size and digest are right.
//! 3. A blob that is **missing or wrong** parks the message (`claim-lost`): nothing that could be repeated brings the body back. A storage that does not **answer** lets the
//!    message come back later.
//! 4. The blob goes **with its record**: names sort behind it, so a sweep finds them together. With `release = "delete"` the handler deletes both.
//!
//! The payload's digest in the record is that of the body in the blob ([`payload_hash`](crate::id::payload_hash)), so the same message is one
//! message whether it was small enough or not. A message cannot point at another's blob: its name is compared with what its own id and digest make it.

use crate::id::{record_name, sha256_hex};
use crate::message::{Properties, property};

/// Where a body lies, and how to tell that it is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The blob.
    pub blob: String,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hex.
    pub sha256: String,
}

/// Why a claim cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ClaimError {
    /// One of its properties is missing, or cannot be read.
    #[error("its properties cannot be read")]
    Properties,
    /// It names a blob that is not this message's.
    #[error("its blob is that of another message")]
    Foreign,
    /// The blob is not there.
    #[error("its blob is missing")]
    Missing,
    /// The blob has another size.
    #[error("its blob has another size")]
    Size,
    /// The blob has another content.
    #[error("its blob has another content")]
    Content,
}

impl Claim {
    /// The claim for this body of a message of a group.
    #[must_use]
    pub fn new(group: &str, id: &str, body: &[u8]) -> Self {
        let sha256 = sha256_hex(body);
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
        Self { blob: blob_name(&record_name(group, id), &sha256), size, sha256 }
    }

    /// The claim in a message's properties, if it has one.
    #[must_use]
    pub fn of(properties: &Properties) -> Option<Result<Self, ClaimError>> {
        let blob = properties.get(property::CLAIM)?;
        let text = |name| properties.get(name).map(ToString::to_string);
        let read = || {
            let size = text(property::CLAIM_SIZE)?.parse().ok()?;
            let sha256 = text(property::CLAIM_SHA256).filter(|hex| is_sha256(hex))?;
            Some(Self { blob: blob.to_string(), size, sha256 })
        };
        Some(read().ok_or(ClaimError::Properties))
    }

    /// Puts it into a message's properties.
    pub fn write(&self, properties: &mut Properties) {
        properties.set(property::CLAIM, self.blob.as_str());
        properties.set(property::CLAIM_SIZE, self.size.to_string());
        properties.set(property::CLAIM_SHA256, self.sha256.as_str());
    }

    /// Takes it out again, where a message gets a body of its own.
    pub fn remove(properties: &mut Properties) {
        for name in [property::CLAIM, property::CLAIM_SIZE, property::CLAIM_SHA256] {
            properties.remove(name);
        }
    }

    /// Checks that the blob is the message's whose record this is.
    ///
    /// # Errors
    /// It is another's.
    pub fn check_name(&self, record: &str) -> Result<(), ClaimError> {
        if self.blob == blob_name(record, &self.sha256) { Ok(()) } else { Err(ClaimError::Foreign) }
    }

    /// Checks that this is what was stored.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, content: &[u8]) -> Result<(), ClaimError> {
        if u64::try_from(content.len()) != Ok(self.size) {
            Err(ClaimError::Size)
        } else if sha256_hex(content) != self.sha256 {
            Err(ClaimError::Content)
        } else {
            Ok(())
        }
    }
}

fn blob_name(record: &str, sha256: &str) -> String {
    format!("{record}{INFIX}{sha256}")
}

/// Between the name of a record and the digest of a body in the name of its blob.
pub const INFIX: &str = ".claim/";

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{payload_hash, payload_hash_of};
    use crate::message::PropertyValue;

    fn properties(claim: &Claim) -> Properties {
        let mut properties = Properties::new();
        claim.write(&mut properties);
        properties
    }

    #[test]
    fn a_claim_comes_back_out_of_its_properties() {
        let claim = Claim::new("orders", "order-7", b"body");
        let mut properties = properties(&claim);
        assert_eq!(Claim::of(&properties), Some(Ok(claim.clone())));
        // A broker may make a number of what looks like one.
        properties.set(property::CLAIM_SIZE, PropertyValue::Integer(4));
        assert_eq!(Claim::of(&properties), Some(Ok(claim)));
        Claim::remove(&mut properties);
        assert_eq!((Claim::of(&properties), properties.len()), (None, 0));
    }

    #[test]
    fn what_is_no_claim_is_told_from_none() {
        let claim = Claim::new("orders", "order-7", b"body");
        for (name, value) in [(property::CLAIM_SIZE, "-1"), (property::CLAIM_SIZE, ""), (property::CLAIM_SHA256, "ABC")]
        {
            let mut properties = properties(&claim);
            properties.set(name, value);
            assert_eq!(Claim::of(&properties), Some(Err(ClaimError::Properties)), "{name} {value}");
        }
        assert_eq!(Claim::of(&Properties::new()), None);
    }

    #[test]
    fn only_the_messages_own_blob_with_its_own_content_counts() {
        let record = record_name("orders", "order-7");
        let claim = Claim::new("orders", "order-7", b"body");
        assert_eq!(claim.check_name(&record), Ok(()));
        assert_eq!(claim.check_name(&record_name("orders", "order-8")), Err(ClaimError::Foreign));
        assert_eq!(claim.check(b"body"), Ok(()));
        assert_eq!(claim.check(b"bodies"), Err(ClaimError::Size));
        assert_eq!(claim.check(b"bode"), Err(ClaimError::Content));
        assert_ne!(claim.blob, Claim::new("orders", "order-7", b"bode").blob);
    }

    #[test]
    fn a_payload_is_the_same_wherever_its_body_lies() {
        let claim = Claim::new("orders", "order-7", b"body");
        assert_eq!(payload_hash_of(Some("text/plain"), &claim.sha256), payload_hash(Some("text/plain"), b"body"));
    }
}
