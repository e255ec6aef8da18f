//! Service Bus SAS tokens: `SharedAccessSignature sr=…&sig=…&se=…&skn=…`.
//!
//! The scope is read as tolerantly as the live service reads it: any scheme or none, any host and port,
//! any case, a trailing slash, a query, escapes within escapes, and anything from the namespace down to the
//! full request URL. What was signed is the scope as it stands in the token, so the case of its escapes is
//! the signer's own affair.
//!
//! A rule is good where it is made and below: the rules of an entity for the entity and what is under it,
//! those of the namespace everywhere. Tokens of Microsoft Entra ID (`Bearer …`) cannot be checked here; they
//! are refused, or all accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::memo::{Memo, Seen};
use super::{decode, is_signed};
use crate::time::UnixMillis;

/// What a rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// Put messages in.
    Send,
    /// Receive and settle messages.
    Listen,
    /// Make, change and remove entities. Implies the others.
    Manage,
}

/// A shared access rule: a name, one or two keys, and what they allow.
#[derive(Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct AccessRule {
    /// The rule's name (`SharedAccessKeyName`).
    pub name: String,
    /// The key as text: its bytes are the HMAC key, it is not base64-decoded.
    pub primary_key: String,
    /// A second key, for rotation.
    pub secondary_key: Option<String>,
    /// What it allows.
    pub claims: Vec<Claim>,
}

impl AccessRule {
    /// A rule with one key.
    #[must_use]
    pub fn new(name: &str, key: &str, claims: &[Claim]) -> Self {
        Self { name: name.to_owned(), primary_key: key.to_owned(), secondary_key: None, claims: claims.to_vec() }
    }

    fn allows(&self, claim: Claim) -> bool {
        self.claims.contains(&claim) || self.claims.contains(&Claim::Manage)
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        [Some(&self.primary_key), self.secondary_key.as_ref()].into_iter().flatten().map(String::as_str)
    }
}

/// The rule that every namespace begins with, under the key that the official emulator has.
impl Default for AccessRule {
    fn default() -> Self {
        Self::new("RootManageSharedAccessKey", "SAS_KEY_VALUE", &[Claim::Manage, Claim::Send, Claim::Listen])
    }
}

impl std::fmt::Debug for AccessRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessRule").field("name", &self.name).field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// The rules of a namespace: its own, and those of entities by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) namespace: Vec<AccessRule>,
    pub(crate) entities: BTreeMap<String, Vec<AccessRule>>,
    /// Whether any bearer token, unless it is empty, has all claims.
    pub(crate) accept_bearer: bool,
    pub(crate) memo: Memo,
}

/// Why a request is not let in. The words are those of the live service where they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("MissingToken: The authorization header wasn't found.")]
    Missing,
    #[error("MalformedToken: The credentials contained in the authorization header are not in the correct format.")]
    Malformed,
    #[error("ExpiredToken: The token is expired.")]
    Expired,
    #[error("40103: Invalid authorization token signature")]
    Signature,
    /// As [`Self::Signature`], in the words of the management plane.
    #[error("claim is empty or token is invalid.")]
    Invalid,
    #[error("InvalidAudience: The authorization header contains a token that isn't for this resource.")]
    Scope,
    #[error("{}", claims_text(*.0))]
    Claim(Claim),
}

fn claims_text(claim: Claim) -> &'static str {
    match claim {
        Claim::Send => "Send claims required for this operation.",
        Claim::Listen => "Listen claims required for this operation.",
        Claim::Manage => "Manage,EntityRead claims required for this operation.",
    }
}

impl Rules {
    /// Whether a request for `path` (decoded, without the query) may use `claim`. `own` finds the rules of a
    /// name that descriptions of entities carry, at a path and at its parents.
    pub(crate) fn check(
        &self,
        authorization: Option<&str>,
        path: &str,
        claim: Claim,
        now: UnixMillis,
        own: impl FnOnce(&str, &str) -> Vec<AccessRule>,
    ) -> Result<(), Refusal> {
        let header = authorization.map(str::trim).filter(|header| !header.is_empty()).ok_or(Refusal::Missing)?;
        let unsigned = if claim == Claim::Manage { Refusal::Invalid } else { Refusal::Signature };
        if let Some(token) = bearer(header) {
            return if self.accept_bearer && !token.is_empty() { Ok(()) } else { Err(unsigned) };
        }
        let seen = match self.memo.find(header) {
            Some(seen) => seen,
            None => {
                let token = Token::parse(header).ok_or(Refusal::Malformed)?;
                Arc::new(Seen { token, keys: Vec::new() })
            }
        };
        let Token { scope, rule, expires_at_seconds, .. } = &seen.token;
        let own = if scope.is_empty() { Vec::new() } else { own(scope, rule) };
        let mut signers = Vec::new();
        // All of them are tried, and both keys of each that has none that is known to fit: the time taken does not tell
        // which one fits.
        let rules = own.iter().chain(self.named(scope, rule));
        let mut fitting: Vec<&AccessRule> = rules.filter(|rule| seen.is_signed_by(rule, &mut signers)).collect();
        if !signers.is_empty() {
            signers.extend_from_slice(&seen.keys);
            self.memo.keep(header, Seen { token: seen.token.clone(), keys: signers });
        }
        if fitting.is_empty() {
            return Err(unsigned);
        }
        if *expires_at_seconds <= now.seconds() {
            return Err(Refusal::Expired);
        }
        if !scope.is_empty() && !is_within(&path.trim_matches('/').to_lowercase(), scope) {
            return Err(Refusal::Scope);
        }
        fitting.retain(|rule| rule.allows(claim));
        if fitting.is_empty() { Err(Refusal::Claim(claim)) } else { Ok(()) }
    }

    /// The rules of this name at the scope and at its parents.
    fn named(&self, scope: &str, name: &str) -> impl Iterator<Item = &AccessRule> {
        let at_entity = self.entities.iter().filter(move |(key, _)| is_within(scope, key)).flat_map(|(_, rules)| rules);
        at_entity.chain(&self.namespace).filter(move |rule| rule.name.eq_ignore_ascii_case(name))
    }
}

/// What stands after `Bearer`, if that is the scheme.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

/// What a token says.
#[derive(Clone)]
pub(super) struct Token {
    scope: String,
    rule: String,
    expires_at_seconds: i64,
    /// What was signed: the resource and the time as they stand in the token.
    signed: String,
    signature: String,
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
            scope: scope_path(resource),
            rule: rule?,
            expires_at_seconds: expiry.parse().ok()?,
            signed: format!("{resource}\n{expiry}"),
            signature: signature?,
        })
    }
}

impl Seen {
    /// Whether one of the rule's keys signed the token. Those of which it was not known are noted.
    fn is_signed_by(&self, rule: &AccessRule, signers: &mut Vec<String>) -> bool {
        if rule.keys().any(|key| self.keys.iter().any(|known| known == key)) {
            return true;
        }
        let Token { signed, signature, .. } = &self.token;
        let before = signers.len();
        signers.extend(rule.keys().filter(|key| is_signed(key.as_bytes(), signed, signature)).map(str::to_owned));
        signers.len() > before
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

/// Whether `path` is `scope` or below it, segment by segment.
fn is_within(path: &str, scope: &str) -> bool {
    match path.strip_prefix(scope) {
        Some(rest) => scope.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens that real clients made: key, `sr`, `se`, `sig`, each as it stands in the token.
    const VECTORS: [(&str, &str, &str, &str); 3] = [
        (
            "abc123=",
            "http%3a%2f%2f127.0.0.1%3a18991%2fq%3fapi-version%3d2016-07",
            "1795174201",
            "XIP9M%2BqGIDur37kT5IlYOvj0L4qcU7BgUYVXs%2BHxwmQ%3D",
        ),
        (
            "abc=",
            "https%3a%2f%2fns.servicebus.windows.net%3a443%2fq%2fmessages%2fhead%3ftimeout%3d5",
            "1795174240",
            "SsZW1ATch5W9aSF%2FNqvmqS%2FaJ9u%2FaPdPaQ5CEQCIPok%3D",
        ),
        (
            "abc=",
            "https%3A%2F%2Fns.servicebus.windows.net",
            "1795177676",
            "Aei0vbH2BBNr%2FL0t5qMKv1%2BHS6iL1Yyku0zYcqKUJu4%3D",
        ),
    ];

    const BEFORE: UnixMillis = UnixMillis(1_795_000_000_000);

    fn rules(key: &str, claims: &[Claim]) -> Rules {
        Rules { namespace: vec![AccessRule::new("Root", key, claims)], ..Rules::default() }
    }

    fn nothing(_: &str, _: &str) -> Vec<AccessRule> {
        Vec::new()
    }

    fn token(index: usize) -> (Rules, String) {
        let (key, sr, se, sig) = VECTORS[index];
        let header = format!("SharedAccessSignature sig={sig}&se={se}&skn=Root&sr={sr}");
        (rules(key, &[Claim::Listen]), header)
    }

    #[test]
    fn tokens_of_real_clients_are_accepted() {
        for index in 0..3 {
            let (rules, header) = token(index);
            let path = "/q/messages/head";
            assert_eq!(rules.check(Some(&header), path, Claim::Listen, BEFORE, nothing), Ok(()), "vector {index}");
        }
    }

    #[test]
    fn a_token_is_good_below_its_scope_and_nowhere_else() {
        let (rules, header) = token(0);
        for path in ["/q", "/Q/messages/head", "/q/$DeadLetterQueue/messages/head"] {
            assert_eq!(rules.check(Some(&header), path, Claim::Listen, BEFORE, nothing), Ok(()), "{path}");
        }
        for path in ["/", "/q2/messages/head", "/other"] {
            assert_eq!(rules.check(Some(&header), path, Claim::Listen, BEFORE, nothing), Err(Refusal::Scope), "{path}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (good, header) = token(2);
        let path = "/q/messages";
        let check = |rules: &Rules, header, claim, now| rules.check(header, path, claim, now, nothing);
        assert_eq!(check(&good, None, Claim::Listen, BEFORE), Err(Refusal::Missing));
        assert_eq!(check(&good, Some(" "), Claim::Listen, BEFORE), Err(Refusal::Missing));
        for malformed in
            ["SharedAccessSignature", "Basic YTpi", "SharedAccessSignature sr=x&sig", "WRAP access_token=\"x\""]
        {
            assert_eq!(check(&good, Some(malformed), Claim::Listen, BEFORE), Err(Refusal::Malformed), "{malformed}");
        }
        assert_eq!(check(&good, Some(&header), Claim::Send, BEFORE), Err(Refusal::Claim(Claim::Send)));
        let late = UnixMillis(1_795_177_676_000);
        assert_eq!(check(&good, Some(&header), Claim::Listen, late), Err(Refusal::Expired));
        let other = rules("another key", &[Claim::Listen]);
        assert_eq!(check(&other, Some(&header), Claim::Listen, BEFORE), Err(Refusal::Signature));
        assert_eq!(check(&other, Some(&header), Claim::Manage, BEFORE), Err(Refusal::Invalid));
        let unknown = header.replace("skn=Root", "skn=Nobody");
        assert_eq!(check(&good, Some(&unknown), Claim::Listen, BEFORE), Err(Refusal::Signature));
    }

    #[test]
    fn a_second_key_is_as_good_as_the_first() {
        let (mut rules, header) = token(2);
        let rule = &mut rules.namespace[0];
        rule.secondary_key = Some(std::mem::replace(&mut rule.primary_key, "rotated".to_owned()));
        assert_eq!(rules.check(Some(&header), "/q", Claim::Listen, BEFORE, nothing), Ok(()));
    }

    #[test]
    fn a_token_that_was_seen_before_is_checked_no_less() {
        let (mut rules, header) = token(0);
        let check = |rules: &Rules, path, claim, now| rules.check(Some(&header), path, claim, now, nothing);
        for _ in 0..2 {
            assert_eq!(check(&rules, "/q", Claim::Listen, BEFORE), Ok(()));
            assert_eq!(check(&rules, "/q2", Claim::Listen, BEFORE), Err(Refusal::Scope));
            assert_eq!(check(&rules, "/q", Claim::Send, BEFORE), Err(Refusal::Claim(Claim::Send)));
            let late = UnixMillis(1_795_174_201_000);
            assert_eq!(check(&rules, "/q", Claim::Listen, late), Err(Refusal::Expired));
        }
        let key = std::mem::replace(&mut rules.namespace[0].primary_key, "rotated".to_owned());
        assert_eq!(check(&rules, "/q", Claim::Listen, BEFORE), Err(Refusal::Signature));
        rules.namespace[0].secondary_key = Some(key);
        assert_eq!(check(&rules, "/q", Claim::Listen, BEFORE), Ok(()));
        rules.namespace[0].name = "Another".to_owned();
        assert_eq!(check(&rules, "/q", Claim::Listen, BEFORE), Err(Refusal::Signature));
        // A rule of the same name under the same key is the same to whoever has a token.
        let own = |_: &str, _: &str| vec![AccessRule::new("Root", VECTORS[0].0, &[Claim::Send])];
        assert_eq!(rules.check(Some(&header), "/q", Claim::Send, BEFORE, own), Ok(()));
        assert!(!format!("{rules:?}").contains(VECTORS[0].0));
    }

    #[test]
    fn a_refusal_is_not_remembered() {
        let (good, header) = token(0);
        let mut rules = rules("another key", &[Claim::Listen]);
        let check = |rules: &Rules| rules.check(Some(&header), "/q", Claim::Listen, BEFORE, nothing);
        assert_eq!(check(&rules), Err(Refusal::Signature));
        rules.namespace.extend(good.namespace);
        assert_eq!(check(&rules), Ok(()));
    }

    /// A token as a client makes it, for a resource that is escaped already.
    fn signed(escaped: &str, rule: &str, key: &str) -> String {
        use hmac::Mac as _;
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(format!("{escaped}\n1795177676").as_bytes());
        let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac.finalize().into_bytes());
        let signature = signature.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d");
        format!("SharedAccessSignature sr={escaped}&sig={signature}&se=1795177676&skn={rule}")
    }

    #[test]
    fn every_form_of_a_scope_that_clients_sign_is_accepted() {
        let rules = rules("key", &[Claim::Listen]);
        let path = "/ut/Queue/$DeadLetterQueue/messages/head";
        for resource in [
            "http%3a%2f%2fns.servicebus.windows.net%2fut%2fqueue",
            "https%3A%2F%2Fns.servicebus.windows.net%2Fut%2FQueue%2F",
            "sb%3a%2f%2fns.servicebus.windows.net%3a443%2fUT%2fqueue",
            "ns.servicebus.windows.net%2fut",
            "ns.servicebus.windows.net",
            "https://ns.servicebus.windows.net/",
            "http%3A%2F%2F127.0.0.1%3A8080%3A80%2Fut%2Fqueue%2F%24DeadLetterQueue%2Fmessages%2Fhead%3Ftimeout%3D5",
            "https%3a%2f%2fns.servicebus.windows.net%2fut%2fqueue%2f%2524deadletterqueue%2fmessages%2fhead",
        ] {
            let token = signed(resource, "Root", "key");
            assert_eq!(rules.check(Some(&token), path, Claim::Listen, BEFORE, nothing), Ok(()), "{resource}");
        }
    }

    #[test]
    fn a_rule_of_an_entity_is_good_for_the_entity_and_what_is_below() {
        let (root, own) =
            (AccessRule::new("R", "root key", &[Claim::Manage]), |key| AccessRule::new("R", key, &[Claim::Listen]));
        let entities =
            BTreeMap::from([("t".to_owned(), vec![own("key of t")]), ("other".to_owned(), vec![own("key of other")])]);
        let rules = Rules { namespace: vec![root], entities, ..Rules::default() };
        let check = |resource: &str, key: &str, claim| {
            rules.check(Some(&signed(resource, "R", key)), "/t/subscriptions/s/messages/head", claim, BEFORE, nothing)
        };
        // A subscription has no rules: its topic's and the namespace's are good for it.
        for resource in ["sb://ns/t", "sb://ns/t/subscriptions/s"] {
            assert_eq!(check(resource, "key of t", Claim::Listen), Ok(()), "{resource}");
            assert_eq!(check(resource, "key of t", Claim::Send), Err(Refusal::Claim(Claim::Send)), "{resource}");
            // The namespace's rule of the same name is not hidden.
            assert_eq!(check(resource, "root key", Claim::Send), Ok(()), "{resource}");
            assert_eq!(check(resource, "key of other", Claim::Listen), Err(Refusal::Signature), "{resource}");
        }
        // Signed for the namespace, where the topic's rule is unknown.
        assert_eq!(check("sb://ns/", "key of t", Claim::Listen), Err(Refusal::Signature));
        assert_eq!(check("sb://ns/other", "key of other", Claim::Listen), Err(Refusal::Scope));
    }

    #[test]
    fn bearer_tokens_are_refused_unless_all_are_accepted() {
        let mut rules = rules("key", &[Claim::Listen]);
        let check = |rules: &Rules, header, claim| rules.check(Some(header), "/q/messages", claim, BEFORE, nothing);
        assert_eq!(check(&rules, "Bearer x.y.z", Claim::Send), Err(Refusal::Signature));
        assert_eq!(check(&rules, "Bearer x.y.z", Claim::Manage), Err(Refusal::Invalid));
        rules.accept_bearer = true;
        for claim in [Claim::Send, Claim::Listen, Claim::Manage] {
            assert_eq!(check(&rules, "bearer x.y.z", claim), Ok(()));
        }
        for empty in ["Bearer", "Bearer  "] {
            assert_eq!(check(&rules, empty, Claim::Send), Err(Refusal::Signature), "{empty:?}");
        }
        assert_eq!(check(&rules, "SharedAccessSignature x", Claim::Send), Err(Refusal::Malformed));
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

    #[test]
    fn keys_do_not_show() {
        assert!(!format!("{:?}", AccessRule::default()).contains("SAS_KEY_VALUE"));
    }
}
