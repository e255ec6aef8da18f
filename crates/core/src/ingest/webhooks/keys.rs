//! The keys of a webhook, and the comparison of signatures with what they would have made.

use std::fmt;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq as _};

/// A digest to make HMACs of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1: no forgery of an HMAC over it is known, and some providers have nothing else.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    fn mac(self, key: &[u8], content: &[&[u8]]) -> Option<Vec<u8>> {
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(key, content),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, content),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, content),
        }
    }
}

/// `None` if there were a key that is not good for it, which there is not.
fn mac<M: Mac + KeyInit>(key: &[u8], content: &[&[u8]]) -> Option<Vec<u8>> {
    let mut mac = <M as Mac>::new_from_slice(key).ok()?;
    content.iter().for_each(|part| mac.update(part));
    Some(mac.finalize().into_bytes().to_vec())
}

/// The keys of a webhook: one at least, several while secrets are rotated. None of them is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys(Vec<Vec<u8>>);

impl Keys {
    /// These keys, if there are any.
    pub(super) fn new(keys: Vec<Vec<u8>>) -> Option<Self> {
        (!keys.is_empty() && keys.iter().all(|key| !key.is_empty())).then_some(Self(keys))
    }

    /// Whether one of the signatures is that of one of the keys over the content, its parts one after the other.
    ///
    /// Every key is compared with every signature, each in constant time: how long it takes says how many there are.
    pub(super) fn match_any(&self, algorithm: Algorithm, content: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
        let mut found = Choice::from(0);
        for key in &self.0 {
            let Some(expected) = algorithm.mac(key, content) else { continue };
            for signature in signatures {
                // Of another length they differ, and their length is no secret.
                found |= expected.ct_eq(signature);
            }
        }
        found.into()
    }

    /// The signature of the first key over the content: for tests that play the provider's part.
    #[cfg(test)]
    pub(super) fn sign(&self, algorithm: Algorithm, content: &[&[u8]]) -> Vec<u8> {
        algorithm.mac(&self.0[0], content).unwrap()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} …)", self.0.len())
    }
}

/// Bytes of lower-case hex digits; `None` for anything else. A digit in capitals is another signature: providers write small ones.
pub(super) fn lower_hex(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { None } else { hex::decode(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Keys {
        Keys::new(keys.iter().map(|key| key.as_bytes().to_vec()).collect()).unwrap()
    }

    #[test]
    fn any_key_and_any_signature_will_do() {
        // RFC 4231, test case 2, and RFC 2202, test case 2, with the content in parts.
        let content: &[&[u8]] = &[b"what do ya want ", b"", b"for nothing?"];
        for (algorithm, digest) in [
            (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (Algorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                Algorithm::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            let signature = hex::decode(digest).unwrap();
            assert_eq!(keys(&["Jefe"]).sign(algorithm, content), signature);
            for keys in [keys(&["Jefe"]), keys(&["old", "Jefe"]), keys(&["Jefe", "new"])] {
                for signatures in [vec![signature.clone()], vec![vec![0; signature.len()], signature.clone()]] {
                    assert!(keys.match_any(algorithm, content, &signatures));
                }
            }
            let wrong = [vec![], vec![vec![]], vec![signature[1..].to_vec()], vec![vec![0; signature.len()]]];
            for signatures in wrong {
                assert!(!keys(&["Jefe"]).match_any(algorithm, content, &signatures));
            }
            assert!(!keys(&["other"]).match_any(algorithm, content, &[signature]));
        }
    }

    #[test]
    fn there_is_no_empty_key_and_none_is_shown() {
        assert_eq!(Keys::new(vec![]), None);
        assert_eq!(Keys::new(vec![b"a".to_vec(), vec![]]), None);
        assert_eq!(format!("{:?}", keys(&["s3cret"])), "Keys(1 …)");
    }

    #[test]
    fn hex_is_small() {
        assert_eq!(lower_hex("0aff"), Some(vec![10, 255]));
        for other in ["0Aff", "0af", "0ag0", " 0a", "é"] {
            assert_eq!(lower_hex(other), None, "{other}");
        }
    }
}
