//! What was computed about tokens before: what they say, and by which keys they are signed.
//!
//! A client shows the same token with every call until it ends, and to read it and to compute its signature
//! takes longer than most of what the calls do. Both follow from the token's text and a key alone, so what is
//! remembered never becomes wrong. Whatever else decides — which rules there are, their keys and claims, the
//! time, the path — is looked at for each call: a key that no rule has any more opens nothing.
//!
//! Only what some key has signed is remembered, never that a key has not: who has no key finds nothing here
//! and leaves nothing behind. A text is found by its SHA-256, so how long it takes tells nothing of the texts that
//! are remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::service_bus::Token;

/// How many tokens are remembered. Clients that sign every call anew fill it for nothing; then it begins again.
const MOST: usize = 1024;
/// The longest token that is remembered, in bytes. Those of clients have 200 to 400.
const LONGEST: usize = 2048;

/// A token that was read, and the keys that are known to have signed it.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) token: Token,
    pub(super) keys: Vec<String>,
}

/// The tokens that were seen, by their texts' digests. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Memo(Arc<Mutex<HashMap<[u8; 32], Arc<Seen>>>>);

impl Memo {
    pub(super) fn find(&self, text: &str) -> Option<Arc<Seen>> {
        (text.len() <= LONGEST).then(|| self.lock().get(&digest(text)).cloned())?
    }

    pub(super) fn keep(&self, text: &str, seen: Seen) {
        if text.len() <= LONGEST && !seen.keys.is_empty() {
            let mut all = self.lock();
            if all.len() >= MOST {
                all.clear();
            }
            all.insert(digest(text), Arc::new(seen));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There are keys in it.
impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(keys: &[&str]) -> Seen {
        let text = "SharedAccessSignature sr=x&sig=x&se=1&skn=x";
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Seen { token: Token::parse(text).unwrap(), keys }
    }

    #[test]
    fn it_has_bounds() {
        let memo = Memo::default();
        memo.keep("unsigned", seen(&[]));
        memo.keep(&"x".repeat(LONGEST + 1), seen(&["key"]));
        assert_eq!(memo.lock().len(), 0);
        for n in 0..=MOST {
            memo.keep(&n.to_string(), seen(&["key"]));
        }
        assert_eq!(memo.lock().len(), 1);
        assert!(memo.find(&MOST.to_string()).is_some() && memo.find("0").is_none());
    }
}
