//! Requests that are signed: HMAC-SHA256 with a shared secret, in the manner of Standard Webhooks.
//!
//! ```text
//! Oncebus-Timestamp: 1795174201
//! Oncebus-Signature: v1,BASE64
//! ```
//!
//! What is signed is five lines with a line feed between them and none at the end: the timestamp (Unix seconds), the method, path and query as they are sent,
//! the value of `Idempotency-Key` as it is sent (empty where there is none), and the SHA-256 of the body in lower-case hex. So a request that was
//! listened in on can be repeated as it is, within the tolerance, and is then the same message; it cannot be made another one.
//! Other headers are not covered: what protects them is TLS.
//!
//! The header may hold several signatures with spaces between them, of which one must be right: a client that changes its secret sends both.
//! The configuration may name several secrets, too. All are tried, in constant time.
//!
//! A timestamp is held against our wall clock, for there is no other: with the tolerance of 5 min a clock that is wrong by more refuses
//! everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{Caller, Grant};
use crate::id::sha256_hex;
use crate::ingest::head::{Head, IDEMPOTENCY_KEY};
use crate::problem::{Kind, Problem};
use crate::secret::Secret;
use crate::time::UnixTime;

/// The header with the time of signing.
pub const TIMESTAMP: &str = "oncebus-timestamp";
/// The header with the signatures.
pub const SIGNATURE: &str = "oncebus-signature";

/// How many signatures of one request are looked at.
const MAX_SIGNATURES: usize = 8;

/// Whose signatures count, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The clients. At least one.
    pub signers: Vec<Signer>,
    /// How far a timestamp may be from our clock, either way.
    pub tolerance: Duration,
}

/// One client that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Who it is, and for what.
    pub grant: Grant,
    /// The variable that has its secret.
    pub variable: String,
}

/// Signatures of a request that came in time, and are still to be held against its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    timestamp: String,
    signatures: Vec<Vec<u8>>,
}

impl Policy {
    /// Reads the two headers. What is refused here is refused before the body is read.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`]: they are missing, or unreadable, or not of our time.
    pub fn read(&self, head: &Head, now: UnixTime) -> Result<Claimed, Problem> {
        let header = |name| head.one(name).ok().flatten().filter(|text: &&str| !text.is_empty());
        let (Some(timestamp), Some(signatures)) = (header(TIMESTAMP), header(SIGNATURE)) else {
            return Err(refused("the request must be signed, with Oncebus-Timestamp and Oncebus-Signature"));
        };
        let at = Some(timestamp).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let at = at.and_then(|text| text.parse().ok()).map(UnixTime);
        let at = at.ok_or_else(|| refused("Oncebus-Timestamp must be whole seconds since 1970"))?;
        if at.since(now).max(now.since(at)) > self.tolerance {
            let seconds = self.tolerance.as_secs();
            return Err(refused(&format!("Oncebus-Timestamp is more than {seconds} s from the time here")));
        }
        let signatures = signatures.split(' ').filter_map(|one| BASE64_STANDARD.decode(one.strip_prefix("v1,")?).ok());
        Ok(Claimed { timestamp: timestamp.to_owned(), signatures: signatures.take(MAX_SIGNATURES).collect() })
    }

    /// Finds the client that has signed. `secrets` are by the names of their variables; one that is missing matches nothing.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`]: none of them has.
    pub fn verify(
        &self,
        claimed: &Claimed,
        head: &Head,
        body: &[u8],
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Caller, Problem> {
        let content = content(&claimed.timestamp, head, body);
        let mut found = None;
        for signer in &self.signers {
            let Some(secret) = secrets.get(&signer.variable).filter(|secret| !secret.is_empty()) else { continue };
            for signature in &claimed.signatures {
                // All are computed, whichever matches.
                if mac(secret, &content).verify_slice(signature).is_ok() {
                    found = Some(signer);
                }
            }
        }
        match found {
            Some(signer) => Ok(Caller::Client(signer.grant.clone())),
            None => Err(refused("no signature in Oncebus-Signature is right for this request")),
        }
    }
}

/// Signs a request: the value of [`SIGNATURE`]. For clients of this crate, and for tests.
#[must_use]
pub fn sign(secret: &Secret, timestamp: UnixTime, head: &Head, body: &[u8]) -> String {
    let content = content(&timestamp.0.to_string(), head, body);
    format!("v1,{}", BASE64_STANDARD.encode(mac(secret, &content).finalize().into_bytes()))
}

/// What is signed.
fn content(timestamp: &str, head: &Head, body: &[u8]) -> Vec<u8> {
    let key = head.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(IDEMPOTENCY_KEY));
    let key = key.map(|(_, value)| value.trim_ascii()).unwrap_or_default();
    let hash = sha256_hex(body);
    let lines = [timestamp.as_bytes(), head.method.as_bytes(), head.target.as_bytes(), key, hash.as_bytes()];
    lines.join(&b'\n')
}

fn mac(secret: &Secret, content: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("any length");
    mac.update(content);
    mac
}

fn refused(detail: &str) -> Problem {
    Problem::new(Kind::Unauthorized, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_174_201);

    fn policy() -> Policy {
        let signer = |name: &str, variable: &str| Signer {
            grant: Grant { name: name.to_owned(), queues: None },
            variable: variable.to_owned(),
        };
        let signers = vec![signer("shop", "access_secret"), signer("till", "till_secret"), signer("none", "unset")];
        Policy { signers, tolerance: Duration::from_secs(300) }
    }

    fn secrets() -> BTreeMap<String, Secret> {
        let pairs = [("access_secret", "s3cret"), ("till_secret", "t1ll"), ("unset", "")];
        pairs.into_iter().map(|(name, secret)| (name.to_owned(), Secret::new(secret))).collect()
    }

    fn request(headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Head { method: "POST".to_owned(), target: "/queues/orders/messages?x=1".to_owned(), headers }
    }

    fn who(head: &Head, body: &str) -> Result<String, Problem> {
        let caller = policy().verify(&policy().read(head, NOW)?, head, body.as_bytes(), &secrets())?;
        Ok(caller.name().unwrap_or_default().to_owned())
    }

    fn signed(secret: &str, timestamp: u64, body: &str) -> Head {
        let key = ("Idempotency-Key", "\"order-7\"");
        let signature = sign(&Secret::new(secret), UnixTime(timestamp), &request(&[key]), body.as_bytes());
        request(&[key, ("Oncebus-Timestamp", &timestamp.to_string()), ("Oncebus-Signature", &signature)])
    }

    /// Computed apart, with openssl: `printf '1795174201\nPOST\n/queues/orders/messages?x=1\n"order-7"\n'SHA | openssl dgst -sha256 -hmac s3cret`.
    #[test]
    fn what_is_signed_is_five_lines() {
        let content = content("1795174201", &signed("s3cret", NOW.0, "hi"), b"hi");
        let expected = "1795174201\nPOST\n/queues/orders/messages?x=1\n\"order-7\"\n8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";
        assert_eq!(String::from_utf8(content).unwrap(), expected);
        let signature = signed("s3cret", NOW.0, "hi").one(SIGNATURE).unwrap().map(str::to_owned);
        assert_eq!(signature.as_deref(), Some("v1,1Efr99o5L8hg4stCZdlVOISXCxGsylv1MSVRExnMPXY="));
    }

    #[test]
    fn the_signer_is_found_by_its_secret() {
        assert_eq!(who(&signed("s3cret", NOW.0, "hi"), "hi").as_deref(), Ok("shop"));
        assert_eq!(who(&signed("t1ll", NOW.0, ""), "").as_deref(), Ok("till"));
    }

    #[test]
    fn one_right_signature_of_several_is_enough() {
        let mut head = signed("s3cret", NOW.0, "hi");
        let right = head.headers.pop().unwrap().1;
        let text = format!("v1a,xyz v1,AAAA {} v2,AA", String::from_utf8(right).unwrap());
        head.headers.push(("Oncebus-Signature".to_owned(), text.into_bytes()));
        assert_eq!(who(&head, "hi").as_deref(), Ok("shop"));
    }

    #[test]
    fn what_was_not_signed_is_refused() {
        let good = signed("s3cret", NOW.0, "hi");
        let mut heads = vec![
            (request(&[]), "hi"),
            (good.clone(), "ho"),
            (Head { method: "GET".to_owned(), ..good.clone() }, "hi"),
            (Head { target: "/queues/texts/messages?x=1".to_owned(), ..good.clone() }, "hi"),
            (signed("wrong", NOW.0, "hi"), "hi"),
            // A secret that is not set opens nothing, not even to who signs with nothing.
            (signed("", NOW.0, "hi"), "hi"),
        ];
        for (name, value) in
            [("Idempotency-Key", "\"order-8\""), ("Oncebus-Timestamp", "1795174202"), ("Oncebus-Signature", "v1,")]
        {
            let mut head = good.clone();
            head.headers.retain(|(known, _)| known != name);
            heads.push((head.clone(), "hi"));
            head.headers.push((name.to_owned(), value.as_bytes().to_vec()));
            heads.push((head, "hi"));
        }
        for (head, body) in heads {
            assert_eq!(who(&head, body).map_err(|problem| problem.kind), Err(Kind::Unauthorized), "{head:?}");
        }
    }

    #[test]
    fn a_signature_is_good_for_a_while_before_and_after() {
        for (age, good) in [(0_i64, true), (300, true), (301, false), (-300, true), (-301, false)] {
            let timestamp = NOW.0.checked_add_signed(-age).unwrap();
            assert_eq!(who(&signed("s3cret", timestamp, "hi"), "hi").is_ok(), good, "{age}");
        }
    }

    proptest! {
        #[test]
        fn no_headers_panic(timestamp in "\\PC{0,25}", signature in "(v1,)?\\PC{0,60}", now in any::<u64>()) {
            let head = request(&[("oncebus-timestamp", &timestamp), ("oncebus-signature", &signature)]);
            if let Ok(claimed) = policy().read(&head, UnixTime(now)) {
                prop_assert!(policy().verify(&claimed, &head, b"", &secrets()).is_err());
            }
        }
    }
}
