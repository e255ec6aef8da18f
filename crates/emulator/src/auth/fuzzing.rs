//! A fuzz target: the `Authorization` header of Service Bus.
//!
//! The first line of an input is a path, decoded; the second a header. The path is also signed for, by
//! a key that the rules know, as no fuzzer guesses a signature.

use std::collections::BTreeMap;

use base64::Engine as _;
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use super::service_bus::{AccessRule, Claim, Refusal, Rules};
use crate::time::UnixMillis;

const KEY: &str = "root-key";
const NOW: UnixMillis = UnixMillis(1_795_000_000_000);
const LATER: i64 = 1_795_000_001;
const CLAIMS: [Claim; 3] = [Claim::Send, Claim::Listen, Claim::Manage];

/// A header means the same each time it is read, and a token is good for its path and what is below it, until
/// it ends, as it was signed, and for nothing else.
pub fn service_bus_sas(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, header) = text.split_once('\n').unwrap_or((text, ""));
    let rules = rules();
    for claim in CLAIMS {
        let outcome = rules.check(Some(header), path, claim, NOW, no_own);
        assert_eq!(rules.check(Some(header), path, claim, NOW, no_own), outcome);
        if let Err(refusal) = outcome {
            assert!(!refusal.to_string().contains(KEY));
        }
    }
    // A URI's path ends at the first two; a `%` may be an escape that was escaped again.
    if path.contains(['?', '#', '%']) {
        return;
    }
    let check = |header: &str, path: &str, now| rules.check(Some(header), path, Claim::Manage, now, no_own);
    let resource = format!("http://localhost:80/{}", path.trim_matches('/'));
    let good = token(&resource, &LATER.to_string());
    for below in [path.to_owned(), format!("/{path}/"), format!("{path}/messages/head"), path.to_uppercase()] {
        // Upper and lower case are one only where one has a single other.
        if below.is_ascii() {
            assert_eq!(check(&good, &below, NOW), Ok(()), "{good} for {below}");
        }
    }
    assert_eq!(check(&good, path, UnixMillis(LATER * 1000)), Err(Refusal::Expired));
    if !path.trim_matches('/').is_empty() {
        let beside = format!("{}x", path.trim_end_matches('/'));
        assert_eq!(check(&good, &beside, NOW), Err(Refusal::Scope), "{good} for {beside}");
    }
    let longer = good.replace(&format!("se={LATER}"), &format!("se={LATER}0"));
    assert_eq!(check(&longer, path, NOW), Err(Refusal::Invalid));
    let wider = good.replace("sr=", "sr=x");
    assert_eq!(check(&wider, path, NOW), Err(Refusal::Invalid));
    // Whatever stands for the time is refused in the right words.
    let odd = check(&token(&resource, header), path, NOW);
    assert!(odd.is_ok() || matches!(odd, Err(Refusal::Expired | Refusal::Malformed | Refusal::Invalid)), "{odd:?}");
}

fn no_own(_: &str, _: &str) -> Vec<AccessRule> {
    Vec::new()
}

fn rules() -> Rules {
    let listener = AccessRule::new("Listener", "listen-key", &[Claim::Listen]);
    let own = AccessRule::new("Own", "entity-key", &[Claim::Send]);
    Rules {
        namespace: vec![AccessRule::new("Root", KEY, &[Claim::Manage]), listener],
        entities: BTreeMap::from([("guarded".to_owned(), vec![own])]),
        ..Rules::default()
    }
}

/// A token of the namespace's rule.
pub(crate) fn token(resource: &str, expiry: &str) -> String {
    let resource = utf8_percent_encode(resource, NON_ALPHANUMERIC);
    let signature = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).map(|mut mac| {
        mac.update(format!("{resource}\n{expiry}").as_bytes());
        base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
    });
    let signature = signature.unwrap_or_default();
    let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn=Root")
}

/// The rule whose tokens [`token`] makes.
pub(crate) fn root() -> AccessRule {
    AccessRule::new("Root", KEY, &[Claim::Manage])
}
