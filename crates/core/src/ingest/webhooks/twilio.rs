//! Twilio: HMAC over the full public URL that it called and the form's parameters, base64, in `X-Twilio-Signature`.
//!
//! A signature says nothing of a body that is no form, unless the URL carries its SHA-256 as `bodySHA256`; so a body that neither covers is
//! refused, whatever its signature. The URL is built from the configured public URL: the `Host` of a request is the sender's word. The
//! fragment in which a user overrides the connection (`#rc=2`) is not signed.
//!
//! The digest is SHA-1 with the account's auth token as key, or what `X-Twilio-Webhooks-Signature-Settings` says, with a shared key.
//!
//! # Which message
//!
//! | what | id | lock key |
//! | --- | --- | --- |
//! | a message that came in | `MessageSid` | `From` |
//! | what became of one that was sent | `MessageSid:MessageStatus`: one sid has many statuses | `To`: `From` is our own number, and all would wait for each other |
//! | what became of a call | `CallSid:CallStatus` | the other side: `To` of an outbound call, else `From` |
//! | anything else that is signed | hash of the payload | `From`, where it has one |
//!
//! A call that rings or is in progress may also be one whose handling is asked for (no `CallbackSource`, no `SequenceNumber`), perhaps several times
//! with other parameters: that is "anything else". So are conversations, whose sids come again with every edit (`EventType`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::keys::{Algorithm, Keys};
use super::{Request, refused};
use crate::id::sha256_hex;
use crate::ingest::entry::{is_json, is_media_type};
use crate::ingest::form::{self, Pair};
use crate::problem::{Kind, Problem};

const SIGNATURE: &str = "X-Twilio-Signature";
/// Names the algorithm of a signature by a shared key: `key=…,algorithm=HMAC_SHA256`.
const SETTINGS: &str = "X-Twilio-Webhooks-Signature-Settings";
/// The parameter of the URL that carries the SHA-256 of a body that is no form.
const BODY_HASH: &str = "bodySHA256";

/// The answer: no instructions. Twilio reports an answer that is not TwiML as an error of the application.
pub const EMPTY_TWIML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

/// The content type of [`EMPTY_TWIML`].
pub const TWIML_CONTENT_TYPE: &str = "text/xml; charset=utf-8";

pub(super) fn verify(keys: &Keys, request: &Request<'_>) -> Result<(), Problem> {
    if is_signed(keys, request).unwrap_or(false) { Ok(()) } else { Err(refused(SIGNATURE)) }
}

/// Whether the signature is right; `None` where something is missing that it takes to tell.
fn is_signed(keys: &Keys, request: &Request<'_>) -> Option<bool> {
    let signatures = [BASE64_STANDARD.decode(request.signed_header(SIGNATURE)?).ok()?];
    let algorithm = algorithm(request)?;
    let parameters = signed_parameters(&parameters(request)?);
    let [one, other] = called_urls(request.public_url?, &request.head.target);
    let matches = |url: &str| keys.match_any(algorithm, &[url.as_bytes(), &parameters], &signatures);
    // Both are computed, whichever matches.
    Some(matches(&one) | matches(&other))
}

/// The algorithm that the request names; `None`: one that is not known.
fn algorithm(request: &Request<'_>) -> Option<Algorithm> {
    let settings = request.head.one(SETTINGS).ok()?.unwrap_or_default();
    let named = settings.split(',').filter_map(|pair| pair.split_once('='));
    let named = named
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(name, value)| *name == "algorithm" && !value.is_empty());
    match named.map(|(_, value)| value.to_ascii_uppercase()).as_deref() {
        None | Some("HMAC_SHA1") => Some(Algorithm::Sha1),
        Some("HMAC_SHA256") => Some(Algorithm::Sha256),
        Some(_) => None,
    }
}

/// The parameters that the signature covers beside the URL; `None` where nothing covers the body.
fn parameters(request: &Request<'_>) -> Option<Vec<Pair>> {
    if request.content_type().is_some_and(|text| is_media_type(text, form::CONTENT_TYPE)) {
        return Some(form::pairs(request.body));
    }
    let query = form::pairs(request.head.query()?.as_bytes());
    let hash = form::first(&query, BODY_HASH)?;
    // No secret is compared here: the hash is in the URL, and the signature covers the URL.
    hash.eq_ignore_ascii_case(sha256_hex(request.body).as_bytes()).then(Vec::new)
}

/// Each parameter's name and value with nothing between, sorted by name, then by value; equal pairs count once, as Twilio's
/// libraries have it.
fn signed_parameters(parameters: &[Pair]) -> Vec<u8> {
    let mut sorted: Vec<&Pair> = parameters.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.into_iter().flat_map(|(name, value)| [name.as_slice(), value]).flatten().copied().collect()
}

/// The URL that Twilio may have signed, twice: its servers are not of one mind about the port. Without the port that the public
/// URL names; and with it, or with the scheme's own where it names none.
fn called_urls(public_url: &str, target: &str) -> [String; 2] {
    let target = target.split('#').next().unwrap_or_default();
    let (scheme, rest) = public_url.split_once("://").unwrap_or(("https", public_url));
    let (authority, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at_checked(at).unwrap_or((rest, "")));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        // No port, or the colons of an IPv6 address.
        _ => (authority, if scheme == "http" { "80" } else { "443" }),
    };
    [format!("{scheme}://{host}{prefix}{target}"), format!("{scheme}://{host}:{port}{prefix}{target}")]
}

/// The id of a verified request.
pub(super) fn id(request: &Request<'_>) -> Result<String, Problem> {
    let fields = Fields::of(request);
    let id = match (fields.text("MessageSid")?, fields.text("CallSid")?) {
        (Some(_), _) if fields.text("EventType")?.is_some_and(|event| event.starts_with("on")) => None,
        (Some(sid), _) => match fields.text("MessageStatus")? {
            Some(status) => Some(format!("{sid}:{status}")),
            None => Some(sid.to_owned()),
        },
        (None, Some(sid)) => {
            let status = fields.text("CallStatus")?;
            let reports = fields.text("CallbackSource")?.is_some() || fields.text("SequenceNumber")?.is_some();
            let status = status.filter(|status| reports || !matches!(*status, "ringing" | "in-progress"));
            status.map(|status| format!("{sid}:{status}"))
        }
        (None, None) => None,
    };
    id.map_or_else(|| request.payload_hash(), Ok)
}

/// The lock key of a verified request: the other side's number.
pub(super) fn key(request: &Request<'_>) -> Result<Option<String>, Problem> {
    let fields = Fields::of(request);
    let status = fields.text("MessageStatus")?.is_some();
    let outbound = fields.text("CallSid")?.is_some()
        && fields.text("Direction")?.is_some_and(|direction| direction.starts_with("outbound"));
    let name = if status || outbound { "To" } else { "From" };
    Ok(fields.text(name)?.map(str::to_owned))
}

/// The fields of a body.
enum Fields {
    Form(Vec<Pair>),
    Json(Value),
    /// It has none that can be told.
    None,
}

impl Fields {
    fn of(request: &Request<'_>) -> Self {
        match request.content_type() {
            Some(text) if is_media_type(text, form::CONTENT_TYPE) => Self::Form(form::pairs(request.body)),
            Some(text) if is_json(text) => serde_json::from_slice(request.body).map_or(Self::None, Self::Json),
            _ => Self::None,
        }
    }

    /// A field's text; `None` where it is absent or empty.
    fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let text = match self {
            Self::Form(pairs) => form::first(pairs, name).map(std::str::from_utf8).transpose(),
            Self::Json(value) => Ok(value.get(name).and_then(Value::as_str)),
            Self::None => Ok(None),
        };
        let text = text.map_err(|_| Problem::new(Kind::Malformed, format!("{name} is not UTF-8")))?;
        Ok(text.filter(|text| !text.is_empty()))
    }
}

/// The signature that Twilio would give: for tests that play its part.
#[cfg(test)]
pub(super) fn sign(keys: &Keys, url: &str, parameters: &[Pair]) -> String {
    BASE64_STANDARD.encode(keys.sign(Algorithm::Sha1, &[url.as_bytes(), &signed_parameters(parameters)]))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ingest::head::Head;
    use crate::time::UnixTime;

    const FORM: &str =
        "Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE";
    const TARGET: &str = "/myapp.php?foo=1&bar=2";
    const RIGHT: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

    fn keys(secret: &str) -> Keys {
        Keys::new(vec![secret.as_bytes().to_vec()]).unwrap()
    }

    /// A request; the headers are added to a form's content type, unless they bring their own.
    fn ask<T>(
        public_url: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
        then: impl FnOnce(&Request<'_>) -> T,
    ) -> T {
        let mut headers: Vec<(String, Vec<u8>)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        if headers.iter().all(|(name, _)| name != "content-type") {
            headers.push(("content-type".to_owned(), form::CONTENT_TYPE.as_bytes().to_vec()));
        }
        let head = Head { method: "POST".to_owned(), target: target.to_owned(), headers };
        let body = Bytes::copy_from_slice(body.as_bytes());
        then(&Request { head: &head, body: &body, public_url: Some(public_url), now: UnixTime(0) })
    }

    fn accepts(public_url: &str, target: &str, signature: &str, body: &str) -> bool {
        ask(public_url, target, &[(SIGNATURE, signature)], body, |request| verify(&keys("12345"), request)).is_ok()
    }

    #[test]
    fn the_example_of_twilios_documentation() {
        assert!(accepts("https://mycompany.com", TARGET, RIGHT, FORM));
        let text = String::from_utf8(signed_parameters(&form::pairs(FORM.as_bytes()))).unwrap();
        assert_eq!(text, "CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212");
        assert!(!accepts("http://mycompany.com", TARGET, RIGHT, FORM));
        assert!(!accepts("https://mycompany.com", "/myapp.php?foo=1&bar=3", RIGHT, FORM));
    }

    #[test]
    fn a_port_may_be_signed_or_not_and_a_fragment_never_is() {
        for public_url in ["https://mycompany.com", "https://mycompany.com:443"] {
            for called in ["https://mycompany.com", "https://mycompany.com:443"] {
                let signature = sign(&keys("12345"), &format!("{called}{TARGET}"), &form::pairs(FORM.as_bytes()));
                for fragment in ["", "#rc=2&rp=all"] {
                    assert!(accepts(public_url, &format!("{TARGET}{fragment}"), &signature, FORM));
                }
            }
            let other = format!("https://mycompany.com:444{TARGET}");
            assert!(!accepts(public_url, TARGET, &sign(&keys("12345"), &other, &form::pairs(FORM.as_bytes())), FORM));
        }
        let expected = ["http://[::1]/p/x", "http://[::1]:80/p/x"].map(str::to_owned);
        assert_eq!(called_urls("http://[::1]/p", "/x"), expected);
    }

    #[test]
    fn a_body_that_is_no_form_is_covered_by_its_hash_or_refused() {
        let body = "{\"a\":1}";
        let target = format!("/x?bodySHA256={}", sha256_hex(body.as_bytes()));
        let signature = sign(&keys("12345"), &format!("https://h{target}"), &[]);
        let accepts = |target: &str, signature: &str, body: &str| {
            let headers = [("content-type", "application/json"), (SIGNATURE, signature)];
            ask("https://h", target, &headers, body, |request| verify(&keys("12345"), request)).is_ok()
        };
        assert!(accepts(&target, &signature, body));
        assert!(!accepts(&target, &signature, "{\"a\":2}"));
        assert!(!accepts("/x", &sign(&keys("12345"), "https://h/x", &[]), body));
    }

    #[test]
    fn a_shared_key_may_sign_with_another_digest() {
        let content = [b"https://h/x".as_slice(), b"a1"];
        let signature = BASE64_STANDARD.encode(keys("12345").sign(Algorithm::Sha256, &content));
        let told = |settings: &str| {
            let headers = [(SIGNATURE, signature.as_str()), (SETTINGS, settings)];
            ask("https://h", "/x", &headers, "a=1", |request| verify(&keys("12345"), request)).is_ok()
        };
        assert!(told("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"));
        assert!(told("algorithm = hmac_sha256"));
        for other in ["", "key=1", "algorithm=", "algorithm=HMAC_SHA1", "algorithm=HMAC_SHA512", "algorithm=none"] {
            assert!(!told(other), "{other}");
        }
    }

    #[test]
    fn a_message_is_known_by_its_sid_and_a_status_by_both() {
        for (body, expected, other_side) in [
            ("MessageSid=SM1&From=%2B49&To=%2B1&SmsStatus=received", Some("SM1"), Some("+49")),
            ("MessageSid=SM1&From=%2B1&To=%2B49&MessageStatus=sent", Some("SM1:sent"), Some("+49")),
            (
                "CallSid=CA1&CallStatus=completed&Direction=inbound&From=%2B49&To=%2B1",
                Some("CA1:completed"),
                Some("+49"),
            ),
            ("CallSid=CA1&CallStatus=busy&Direction=outbound-api&From=%2B1&To=%2B49", Some("CA1:busy"), Some("+49")),
            ("CallSid=CA1&CallStatus=ringing&CallbackSource=call-progress-events", Some("CA1:ringing"), None),
            ("CallSid=CA1&CallStatus=in-progress&SequenceNumber=2", Some("CA1:in-progress"), None),
            ("CallSid=CA1&CallStatus=ringing&From=%2B49", None, Some("+49")),
            ("MessageSid=IM1&EventType=onMessageUpdated&ConversationSid=CH1", None, None),
            ("VerificationSid=VE1", None, None),
            ("MessageSid=&From=", None, None),
        ] {
            ask("https://h", "/", &[], body, |request| {
                let hash = request.payload_hash().unwrap();
                assert_eq!(id(request).as_deref(), Ok(expected.unwrap_or(&hash)), "{body}");
                assert_eq!(key(request).unwrap().as_deref(), other_side, "{body}");
            });
        }
        let unreadable = ask("https://h", "/", &[], "MessageSid=%ff", id).unwrap_err();
        assert_eq!(unreadable.kind, Kind::Malformed);
        let json = [("content-type", "application/json")];
        ask("https://h", "/", &json, r#"{"MessageSid":"SM1","From":"+49"}"#, |request| {
            assert_eq!((id(request).as_deref(), key(request)), (Ok("SM1"), Ok(Some("+49".to_owned()))));
        });
        for body in ["[1]", "{", "{\"MessageSid\":1}"] {
            let id = ask("https://h", "/", &json, body, id);
            assert_eq!(id.unwrap().len(), 64, "{body}");
        }
    }
}
