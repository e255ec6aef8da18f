//! SAS tokens, read once.
//!
//! A client sends the same token for as long as it lasts, and reading one — four percent-decodings and
//! an HMAC for each key — was a seventh of the work of a receive. So what was read is kept, by the text
//! it was read from. Only what cannot become wrong is kept: what a text says, and which key signed it.
//! Whether a rule still has that key, expiry, scope and claims are asked for every request.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use subtle::ConstantTimeEq as _;

use super::{decode, is_signed};

/// A token's fields, decoded.
pub(super) struct Token {
    /// The whole header.
    text: Box<str>,
    /// What was signed: resource and expiry as they stand in the token.
    signed: String,
    signature: String,
    pub(super) expires_at_seconds: i64,
    /// The path of its resource.
    pub(super) scope: String,
    /// The name of the rule that it claims to be signed by.
    pub(super) rule: String,
    /// The key that was found to have signed it.
    signer: OnceLock<Box<str>>,
}

impl Token {
    /// Reads the fields in any order; unknown ones are ignored.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, fields) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("SharedAccessSignature") {
            return None;
        }
        let (mut resource, mut signature, mut expiry, mut rule) = (None, None, None, None);
        for field in fields.trim().split('&') {
            let (name, value) = field.split_once('=')?;
            match name {
                "sr" => resource = Some(value),
                "sig" => signature = Some(decode(value)),
                "se" => expiry = Some(value),
                "skn" => rule = Some(decode(value)),
                _ => {}
            }
        }
        let (resource, expiry) = (resource?, expiry?);
        Some(Self {
            text: header.into(),
            signed: format!("{resource}\n{expiry}"),
            signature: signature?,
            expires_at_seconds: expiry.parse().ok()?,
            scope: scope_path(resource),
            rule: rule?,
            signer: OnceLock::new(),
        })
    }

    /// Whether one of these keys signed it. All are always tried: the time taken does not tell which one
    /// fits, only whether this token was used before.
    pub(super) fn is_signed_by<'a>(&self, keys: impl Iterator<Item = &'a str>) -> bool {
        if let Some(signer) = self.signer.get() {
            // No other key has the same signature.
            return keys.fold(false, |fits, key| bool::from(signer.as_bytes().ct_eq(key.as_bytes())) | fits);
        }
        let fitting = |key: &&str| is_signed(key.as_bytes(), &self.signed, &self.signature);
        let signer = keys.filter(fitting).last();
        signer.inspect(|key| drop(self.signer.set((*key).into()))).is_some()
    }

    fn was_read_from(&self, header: &str) -> bool {
        self.text.as_bytes().ct_eq(header.as_bytes()).into()
    }
}

/// The tokens that were good lately.
#[derive(Default)]
pub(crate) struct KnownTokens {
    hashes: RandomState,
    by_hash: RwLock<HashMap<u64, Arc<Token>>>,
}

impl KnownTokens {
    /// More than a test suite has clients. When there are more, all are read again.
    const MOST: usize = 1024;

    /// Finds or reads a token.
    pub(super) fn read(&self, header: &str) -> Option<Arc<Token>> {
        let known = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&self.hashes.hash_one(header)) {
            Some(token) if token.was_read_from(header) => Some(Arc::clone(token)),
            _ => Token::parse(header).map(Arc::new),
        }
    }

    /// Keeps a token that a key has signed; what anybody may have made up is not worth the room.
    pub(super) fn keep(&self, token: &Arc<Token>) {
        if Arc::strong_count(token) > 1 {
            // It is from here.
            return;
        }
        let mut known = self.by_hash.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(self.hashes.hash_one(&*token.text), Arc::clone(token));
    }
}

impl std::fmt::Debug for KnownTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownTokens").finish_non_exhaustive()
    }
}

/// The path that a resource URI names: scheme, host, port, query and outer slashes gone, lower case. Escapes
/// that were escaped again (`%2524DeadLetterQueue`) are undone too: no name holds a `%`.
fn scope_path(resource: &str) -> String {
    let uri = decode(resource);
    let rest = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = path.split(['?', '#']).next().unwrap_or("");
    decode(path).trim_matches('/').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "SharedAccessSignature sr=https%3A%2F%2Fns.servicebus.windows.net\
        &sig=Aei0vbH2BBNr%2FL0t5qMKv1%2BHS6iL1Yyku0zYcqKUJu4%3D&se=1795177676&skn=Root";

    #[test]
    fn a_token_that_was_good_is_not_read_again() {
        let known = KnownTokens::default();
        let first = known.read(HEADER).unwrap();
        assert!(first.is_signed_by(["abc="].into_iter()));
        known.keep(&first);
        let second = known.read(HEADER).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(second.signer.get().map(|key| &**key), Some("abc="));
        known.keep(&second);
        assert_eq!(known.by_hash.read().unwrap().len(), 1);
    }

    #[test]
    fn another_text_is_another_token() {
        let known = KnownTokens::default();
        let good = known.read(HEADER).unwrap();
        assert!(good.is_signed_by(["abc="].into_iter()));
        known.keep(&good);
        for changed in [HEADER.replace("1795177676", "1795177677"), HEADER.replace("Aei", "aei")] {
            assert!(!known.read(&changed).unwrap().is_signed_by(["abc="].into_iter()), "{changed}");
        }
    }

    #[test]
    fn a_key_that_was_taken_away_signs_nothing_any_more() {
        let token = Token::parse(HEADER).unwrap();
        assert!(token.is_signed_by(["other", "abc="].into_iter()));
        assert!(!token.is_signed_by(["other"].into_iter()));
        assert!(token.is_signed_by(["abc="].into_iter()));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let known = KnownTokens::default();
        for n in 0..=KnownTokens::MOST {
            let header = format!("SharedAccessSignature sr=x&sig=y&se={n}&skn=z");
            known.keep(&Arc::new(Token::parse(&header).unwrap()));
        }
        assert_eq!(known.by_hash.read().unwrap().len(), 1);
    }

    #[test]
    fn odd_scopes_are_read_as_the_service_reads_them() {
        for (resource, path) in [
            ("http%3A%2F%2F127.0.0.1%3A8080%3A80%2FQ%2F", "q"),
            ("sb://ns.servicebus.windows.net/ut/Queue", "ut/queue"),
            ("ns.servicebus.windows.net/q?timeout=3", "q"),
            ("https://ns.servicebus.windows.net:443", ""),
        ] {
            assert_eq!(scope_path(resource), path, "{resource}");
        }
    }
}
