//! Who may send, and ask: `[access]`.
//!
//! | mode | a request shows | what is stored here |
//! |---|---|---|
//! | `none` | nothing | nothing: for a machine of one's own, and said loudly at the start |
//! | `keys` | an API key: `Authorization: Bearer KEY`, or `X-Api-Key: KEY` | its SHA-256, in the configuration |
//! | `hmac` | a signature over the request ([`signature`]) | the secret, in a variable |
//!
//! Each key has a name, which is who the client is: at the door ([`super::door`]) its idempotency keys are its own. It may be good for some
//! queues only. Several are good at once, so that one can replace another.
//!
//! An API key is 256 random bits, so its SHA-256 needs neither salt nor stretching. All are compared, in constant time, and whichever
//! matches.
//!
//! Health and the list of paths are open to all. A webhook has a signature of its own.

pub mod signature;

use std::fmt;

use subtle::{Choice, ConstantTimeEq as _};

use super::head::Head;
use crate::id::sha256;
use crate::problem::{Kind, Problem};

/// The header of an API key, beside `Authorization`.
pub const API_KEY: &str = "x-api-key";

/// What an API key that `oncebus access new-key` makes begins with, so that it is known when it turns up where it should not.
pub const KEY_PREFIX: &str = "ocb_";

/// `[access]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Who has one of these keys. At least one.
    Keys(Vec<ApiKey>),
    /// Who signs with one of these secrets.
    Signatures(signature::Policy),
}

impl Access {
    /// What a request that shows nothing is told to show: `WWW-Authenticate`.
    #[must_use]
    pub const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Keys(_) => Some("Bearer realm=\"oncebus\""),
            Self::Signatures(_) => Some("Oncebus-Signature realm=\"oncebus\""),
        }
    }
}

/// One API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose it is, and for what.
    pub grant: Grant,
    /// The SHA-256 of the key.
    pub sha256: Digest,
}

/// A client and its queues.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The client's name.
    pub name: String,
    /// The queues that it may send to and ask about; `None`: all of them.
    pub queues: Option<Vec<String>>,
}

/// A SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Debug for Digest {
    /// The beginning: enough to tell two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex::encode(self.0.get(..4).unwrap_or_default()))
    }
}

/// Who has sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody was asked: access is open, or it is a webhook, which shows who it is by other means.
    Anybody,
    /// A client.
    Client(Grant),
}

impl Caller {
    /// The client's name; `None` where nobody was asked.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Anybody => None,
            Self::Client(grant) => Some(&grant.name),
        }
    }

    /// Whether a queue is the caller's business. A queue that is not is not said to exist, either.
    ///
    /// # Errors
    /// [`Kind::Forbidden`].
    pub fn may_use(&self, queue: &str) -> Result<(), Problem> {
        match self {
            Self::Client(Grant { queues: Some(queues), .. }) if !queues.iter().any(|known| known == queue) => {
                Err(Problem::new(Kind::Forbidden, format!("this key is not for the queue {queue:?}"))
                    .with("queue", queue))
            }
            _ => Ok(()),
        }
    }
}

/// Finds the client whose API key a request shows.
///
/// # Errors
/// [`Kind::Unauthorized`]: it shows none, or none that is known.
pub fn check_key(head: &Head, keys: &[ApiKey]) -> Result<Caller, Problem> {
    let missing = || {
        let detail = "send an API key, as Authorization: Bearer KEY or as X-Api-Key: KEY";
        Problem::new(Kind::Unauthorized, detail)
    };
    let shown = shown(head).ok_or_else(missing)?;
    let digest = sha256(shown.as_bytes());
    // All are looked at, whichever matches.
    let mut found: Option<&ApiKey> = None;
    for key in keys {
        let same: Choice = key.sha256.0.ct_eq(&digest);
        if bool::from(same) {
            found = Some(key);
        }
    }
    match found {
        Some(key) => Ok(Caller::Client(key.grant.clone())),
        None => Err(Problem::new(Kind::Unauthorized, "the API key is not known here")),
    }
}

/// The key that a request shows. An `Authorization` of another scheme is somebody else's: a proxy's, say.
fn shown(head: &Head) -> Option<&str> {
    let authorization = head.one("authorization").ok().flatten();
    let bearer = authorization.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_matches(' '))
    });
    bearer.or_else(|| head.one(API_KEY).ok().flatten()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Head { headers, ..Head::default() }
    }

    fn keys() -> Vec<ApiKey> {
        let key = |name: &str, key: &str, queues: Option<Vec<String>>| ApiKey {
            grant: Grant { name: name.to_owned(), queues },
            sha256: Digest(sha256(key.as_bytes())),
        };
        vec![
            key("shop", "s3cret", None),
            key("shop-old", "old", None),
            key("till", "t1ll", Some(vec!["sales".to_owned()])),
        ]
    }

    fn who(headers: &[(&str, &str)]) -> Option<String> {
        match check_key(&head(headers), &keys()) {
            Ok(caller) => caller.name().map(str::to_owned),
            Err(problem) => {
                assert_eq!(problem.kind, Kind::Unauthorized);
                assert!(!problem.detail.contains("s3cret"));
                None
            }
        }
    }

    #[test]
    fn a_key_is_shown_in_either_header() {
        assert_eq!(who(&[("authorization", "Bearer s3cret")]).as_deref(), Some("shop"));
        assert_eq!(who(&[("Authorization", "bearer  s3cret ")]).as_deref(), Some("shop"));
        assert_eq!(who(&[("x-api-key", "old")]).as_deref(), Some("shop-old"));
        assert_eq!(who(&[("authorization", "Basic eA=="), ("x-api-key", "t1ll")]).as_deref(), Some("till"));
    }

    #[test]
    fn whatever_is_no_known_key_is_refused() {
        for headers in [
            vec![],
            vec![("authorization", "Bearer")],
            vec![("authorization", "Bearer ")],
            vec![("authorization", "s3cret")],
            vec![("authorization", "Bearer S3cret")],
            vec![("authorization", "Bearer s3cret x")],
            vec![("authorization", "Bearer x"), ("x-api-key", "s3cret")],
            vec![("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")],
            vec![("x-api-key", "")],
        ] {
            assert_eq!(who(&headers), None, "{headers:?}");
        }
        // The hash that the configuration has opens nothing.
        assert_eq!(who(&[("x-api-key", &hex::encode(sha256(b"s3cret")))]), None);
    }

    #[test]
    fn a_key_for_some_queues_is_for_no_other() {
        let till = check_key(&head(&[("x-api-key", "t1ll")]), &keys()).unwrap();
        assert_eq!(till.may_use("sales"), Ok(()));
        let refused = till.may_use("orders").unwrap_err();
        assert_eq!((refused.kind, &refused.extensions["queue"]), (Kind::Forbidden, &"orders".into()));
        assert_eq!(Caller::Anybody.may_use("orders"), Ok(()));
    }

    #[test]
    fn a_digest_is_64_hex_digits() {
        assert_eq!(Digest::parse(&"0a".repeat(32)), Some(Digest([10; 32])));
        for wrong in ["", "0a", &"0g".repeat(32), &"0a".repeat(33)] {
            assert_eq!(Digest::parse(wrong), None);
        }
        assert_eq!(format!("{:?}", Digest([10; 32])), "0a0a0a0a…");
    }
}
