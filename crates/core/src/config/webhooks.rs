//! `[webhooks.NAME]`: who may send, how they sign, and where their messages go.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::ConfigError;
use super::door::sources;
use super::queue::{QueueConfig, is_name};
use super::reader::{Reader, default_number, expected, seconds};
use super::settings::{self, Setting};
use crate::ingest::key::{IdSources, LockKeySources, is_token};
use crate::ingest::routing::Routing;
use crate::ingest::webhooks::{Algorithm, Encoding, Piece, Scheme, Source, Webhook};
use crate::message::property;

/// Headers that are never made properties: those that HTTP and the broker keep for themselves, and those that open something.
const NO_PROPERTIES: [&str; 29] = [
    "accept",
    "accept-encoding",
    "authorization",
    "brokerproperties",
    "connection",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "webhook",
];

type Webhooks = BTreeMap<String, Webhook>;

/// The webhooks by name; none where there is no such table.
pub(super) fn parse_all(
    table: Option<&Map<String, Value>>,
    queues: &BTreeMap<String, QueueConfig>,
) -> Result<Webhooks, ConfigError> {
    let one = |(name, value): (&String, &Value)| {
        let path = format!("webhooks.{name}");
        if !is_name(name) {
            return Err(ConfigError::new(path, format!("expected {NAME}, found {name:?}")));
        }
        let table = value.as_object().ok_or_else(|| ConfigError::new(path.as_str(), "expected a table"))?;
        Ok((name.clone(), parse(name, Reader::new(path, Some(table)), queues)?))
    };
    table.into_iter().flatten().map(one).collect()
}

/// Checks that every webhook without a queue has routes to go by.
pub(super) fn check_routed(webhooks: &Webhooks, routing: &Routing) -> Result<(), ConfigError> {
    match webhooks.values().find(|webhook| webhook.queue.is_none()) {
        Some(webhook) if routing.rules.is_empty() => Err(ConfigError::new(
            format!("webhooks.{}.queue", webhook.name),
            format!("expected {} where there are no [[routes]], found nothing", expected(&settings::WEBHOOK_QUEUE)),
        )),
        _ => Ok(()),
    }
}

/// What a webhook's name must be.
const NAME: &str = "a name of 1 to 50 characters out of a-z, A-Z, 0-9, dot, hyphen and underscore";

fn parse(name: &str, mut table: Reader<'_>, queues: &BTreeMap<String, QueueConfig>) -> Result<Webhook, ConfigError> {
    let kind = table.text(&settings::WEBHOOK_KIND)?;
    let kind = kind.or_else(|| Source::KINDS.contains(&name).then_some(name));
    let kind = kind.ok_or_else(|| table.missing(&settings::WEBHOOK_KIND))?;
    if !Source::KINDS.contains(&kind) {
        return Err(table.wrong(&settings::WEBHOOK_KIND, &format!("{kind:?}")));
    }
    let queue = table.text(&settings::WEBHOOK_QUEUE)?;
    if let Some(queue) = queue.filter(|queue| !queues.contains_key(*queue)) {
        return Err(table.wrong(&settings::WEBHOOK_QUEUE, &format!("{queue:?}")));
    }
    let secrets = match table.texts(&settings::WEBHOOK_SECRETS)? {
        None => vec![default_secret(kind)],
        Some(names) => names,
    };
    if secrets.is_empty() || !secrets.iter().all(|name| is_variable(name)) {
        return Err(table.wrong(&settings::WEBHOOK_SECRETS, &format!("{secrets:?}")));
    }
    let id = sources(&mut table, &settings::WEBHOOK_KEY_FROM, true)?.map(IdSources);
    let key = sources(&mut table, &settings::WEBHOOK_LOCK_KEY_FROM, false)?.map(LockKeySources);
    let source = match kind {
        "twilio" => Source::Twilio,
        "standard" => Source::Standard,
        "github" => Source::GitHub,
        "stripe" => Source::Stripe,
        "slack" => Source::Slack,
        "shopify" => Source::Shopify,
        _ => Source::Hmac(scheme(&mut table, id.as_ref())?),
    };
    let properties = match table.texts(&settings::WEBHOOK_PROPERTIES)? {
        None => source.properties().iter().map(|name| (*name).to_owned()).collect(),
        Some(names) => names.into_iter().map(str::to_ascii_lowercase).collect::<Vec<_>>(),
    };
    if let Some(other) = properties.iter().find(|name| !may_be_property(name)) {
        return Err(table.wrong(&settings::WEBHOOK_PROPERTIES, &format!("{other:?}")));
    }
    table.finish()?;
    let secrets = secrets.into_iter().map(str::to_owned).collect();
    Ok(Webhook { name: name.to_owned(), source, queue: queue.map(str::to_owned), secrets, id, key, properties })
}

fn scheme(table: &mut Reader<'_>, id: Option<&IdSources>) -> Result<Scheme, ConfigError> {
    let header = |table: &mut Reader<'_>, setting: &Setting| {
        let name = table.text(setting)?;
        match name.filter(|name| !is_token(name)) {
            Some(other) => Err(table.wrong(setting, &format!("{other:?}"))),
            None => Ok(name.map(str::to_owned)),
        }
    };
    let signature = header(table, &settings::HMAC_HEADER)?.ok_or_else(|| table.missing(&settings::HMAC_HEADER))?;
    let algorithm = match table.text(&settings::HMAC_ALGORITHM)?.unwrap_or("sha256") {
        "sha1" => Algorithm::Sha1,
        "sha256" => Algorithm::Sha256,
        "sha512" => Algorithm::Sha512,
        other => return Err(table.wrong(&settings::HMAC_ALGORITHM, &format!("{other:?}"))),
    };
    let encoding = match table.text(&settings::HMAC_ENCODING)?.unwrap_or("hex") {
        "hex" => Encoding::Hex,
        "base64" => Encoding::Base64,
        other => return Err(table.wrong(&settings::HMAC_ENCODING, &format!("{other:?}"))),
    };
    let prefix = table.text(&settings::HMAC_PREFIX)?.unwrap_or_default().to_owned();
    let timestamp_header = header(table, &settings::HMAC_TIMESTAMP_HEADER)?;
    let tolerance = table.number(&settings::HMAC_TOLERANCE)?;
    let tolerance = seconds(tolerance.unwrap_or_else(|| default_number(&settings::HMAC_TOLERANCE)));
    let default = if timestamp_header.is_some() { "{timestamp}.{body}" } else { "{body}" };
    let template = table.text(&settings::HMAC_SIGNED)?.unwrap_or(default);
    // What is signed has each of these once, or not at all where there is none.
    let needed = [
        (Piece::Body, true),
        (Piece::Timestamp, timestamp_header.is_some()),
        (Piece::Id, id.is_some_and(|id| id.only_header().is_some()) && template.contains("{id}")),
    ];
    let whole = |pieces: &Vec<Piece>| {
        needed
            .iter()
            .all(|(piece, needed)| pieces.iter().filter(|other| *other == piece).count() == usize::from(*needed))
    };
    let signed = Piece::parse_all(template).filter(whole);
    let signed = signed.ok_or_else(|| table.wrong(&settings::HMAC_SIGNED, &format!("{template:?}")))?;
    Ok(Scheme { header: signature, algorithm, encoding, prefix, timestamp_header, tolerance, signed })
}

/// The variable that `spin.toml` has for a kind.
fn default_secret(kind: &str) -> &'static str {
    let setting = match kind {
        "twilio" => settings::TWILIO_AUTH_TOKEN,
        "standard" => settings::STANDARD_WEBHOOK_SECRET,
        "github" => settings::GITHUB_WEBHOOK_SECRET,
        "stripe" => settings::STRIPE_WEBHOOK_SECRET,
        "slack" => settings::SLACK_SIGNING_SECRET,
        "shopify" => settings::SHOPIFY_CLIENT_SECRET,
        _ => settings::HMAC_WEBHOOK_SECRET,
    };
    setting.key
}

/// Whether Spin takes it for the name of a variable: words of a-z and 0-9 with single underscores between, each beginning with a
/// letter.
fn is_variable(name: &str) -> bool {
    name.split('_').all(|word| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

fn may_be_property(name: &str) -> bool {
    is_token(name) && !property::is_ours(name) && !NO_PROPERTIES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn error(table: &str) -> String {
        Config::parse(&format!("[queues.q]\n[webhooks.{table}")).unwrap_err().to_string()
    }

    #[test]
    fn a_webhook_of_a_known_kind_needs_a_queue_and_nothing_else() {
        for kind in Source::KINDS {
            let header = if kind == "hmac" { "header = 'X-Sig'" } else { "" };
            let config = Config::parse(&format!("[queues.q]\n[webhooks.{kind}]\nqueue = 'q'\n{header}")).unwrap();
            let webhook = &config.webhooks[kind];
            assert_eq!((webhook.source.kind(), webhook.queue.as_deref()), (kind, Some("q")));
            assert!(settings::SETTINGS.iter().any(|setting| [setting.key] == *webhook.secrets && setting.secret));
            assert!(webhook.properties.iter().all(|name| may_be_property(name)));
        }
    }

    #[test]
    fn without_a_queue_the_routes_say_where_it_goes() {
        let config =
            Config::parse("[queues.q]\n[webhooks.github]\n[[routes]]\nmatch.source = 'github'\nqueue = 'q'").unwrap();
        assert_eq!(config.webhooks["github"].queue, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (table, expected) in [
            (
                "a]\nqueue = 'q'",
                "webhooks.a.kind: expected `twilio`, `standard`, `github`, `stripe`, `slack`, `shopify` or `hmac`, found nothing",
            ),
            (
                "a]\nqueue = 'q'\nkind = 'x'",
                "webhooks.a.kind: expected `twilio`, `standard`, `github`, `stripe`, `slack`, `shopify` or `hmac`, found \"x\"",
            ),
            (
                "github]",
                "webhooks.github.queue: expected the name of a configured queue where there are no [[routes]], found nothing",
            ),
            ("github]\nqueue = 'r'", "webhooks.github.queue: expected the name of a configured queue, found \"r\""),
            (
                "github]\nqueue = 'q'\nsecrets = []",
                "webhooks.github.secrets: expected a list of names of Spin variables, found []",
            ),
            (
                "github]\nqueue = 'q'\nsecrets = ['S']",
                "webhooks.github.secrets: expected a list of names of Spin variables, found [\"S\"]",
            ),
            (
                "github]\nqueue = 'q'\nsecrets = ['a__b']",
                "webhooks.github.secrets: expected a list of names of Spin variables, found [\"a__b\"]",
            ),
            (
                "github]\nqueue = 'q'\nheader = 'x'",
                "webhooks.github.header: no such setting; docs/CONFIGURATION.md lists all of them",
            ),
            (
                "github]\nqueue = 'q'\nkey_from = ['x']",
                "webhooks.github.key_from: \"x\" is none of `header:NAME`, `json:/POINTER`, `form:FIELD` and `payload`",
            ),
            (
                "github]\nqueue = 'q'\nlock_key_from = ['payload']",
                "webhooks.github.lock_key_from: expected a list of `header:NAME`, `json:/POINTER` and `form:FIELD`, found `payload`",
            ),
            (
                "'a b']\nqueue = 'q'",
                "webhooks.a b: expected a name of 1 to 50 characters out of a-z, A-Z, 0-9, dot, hyphen and underscore, found \"a b\"",
            ),
            ("hmac]\nqueue = 'q'", "webhooks.hmac.header: expected the name of a header, found nothing"),
            (
                "hmac]\nqueue = 'q'\nheader = 'a b'",
                "webhooks.hmac.header: expected the name of a header, found \"a b\"",
            ),
        ] {
            assert_eq!(error(table), format!("configuration: {expected}"));
        }
        for name in ["Cookie", "oncebus-id", "a b", "Webhook"] {
            let error = error(&format!("github]\nqueue = 'q'\nproperties = ['{name}']"));
            assert!(error.starts_with("configuration: webhooks.github.properties: expected"), "{error}");
        }
    }

    #[test]
    fn what_is_signed_holds_the_body_and_the_time() {
        let error = |rest: &str| {
            let document = format!("[queues.q]\n[webhooks.hmac]\nqueue = 'q'\nheader = 'X'\n{rest}");
            Config::parse(&document).err().map(|error| error.key)
        };
        for good in [
            "",
            "signed = '{body}'",
            "timestamp_header = 'T'",
            "timestamp_header = 'T'\nsigned = 'v0:{timestamp}:{body}'",
            "key_from = ['header:I']\nsigned = '{id}{body}'",
        ] {
            assert_eq!(error(good), None, "{good}");
        }
        for bad in [
            "signed = ''",
            "signed = 'x'",
            "signed = '{body}{body}'",
            "signed = '{timestamp}.{body}'",
            "timestamp_header = 'T'\nsigned = '{body}'",
            "signed = '{id}.{body}'",
            "key_from = ['json:/id']\nsigned = '{id}.{body}'",
            "signed = '{body}{other}'",
        ] {
            assert_eq!(error(bad).as_deref(), Some("webhooks.hmac.signed"), "{bad}");
        }
    }

    #[test]
    fn names_of_variables_are_spins() {
        for good in ["a", "github_webhook_secret", "a1_b2"] {
            assert!(is_variable(good), "{good}");
        }
        for bad in ["", "A", "a__b", "_a", "a_", "1a", "a_1", "a-b"] {
            assert!(!is_variable(bad), "{bad}");
        }
    }
}
