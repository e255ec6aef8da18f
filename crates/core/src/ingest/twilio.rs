//! Twilio's webhooks: the signature, and the message that a form becomes.
//!
//! A signature covers the full public URL that Twilio called, and the form's parameters; it says nothing of a body
//! that is no form, unless the URL carries its hash as `bodySHA256`. So a body that neither covers is refused, whatever
//! its signature. The URL is built from the configured public URL: the `Host` of a request is the sender's word.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;

use super::entry::{Entry, check_key, is_media_type};
use super::form::{self, Pair};
use crate::id::{check_logical_id, sha256_hex};
use crate::message::Properties;
use crate::problem::{Kind, Problem};
use crate::secret::Secret;

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-twilio-signature";

/// The answer: no instructions. Twilio reports an answer that is not TwiML as an error of the application.
pub const EMPTY_TWIML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

/// The content type of [`EMPTY_TWIML`].
pub const TWIML_CONTENT_TYPE: &str = "text/xml; charset=utf-8";

/// The parameter of the URL that carries the SHA-256 of a body that is no form.
const BODY_HASH: &str = "bodySHA256";

/// A request, as far as its signature covers it.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The configured public URL, without a slash at its end.
    pub public_url: &'a str,
    /// Path and query as they came.
    pub target: &'a str,
    /// The content type.
    pub content_type: Option<&'a str>,
    /// The body as it came.
    pub body: &'a [u8],
}

impl Signed<'_> {
    /// Checks the signature, in constant time.
    ///
    /// # Errors
    /// [`Kind::InvalidSignature`], in the same words whatever is wrong: a stranger learns nothing from it.
    pub fn verify(&self, token: &Secret, signature: Option<&str>) -> Result<(), Problem> {
        let given = signature.and_then(|text| BASE64_STANDARD.decode(text).ok());
        let parameters = self.parameters();
        let right = match (given, parameters) {
            (Some(given), Some(parameters)) => {
                let [one, other] = called_urls(self.public_url, self.target);
                // Both are computed, whichever matches.
                matches(token, &one, &parameters, &given) | matches(token, &other, &parameters, &given)
            }
            _ => false,
        };
        if right {
            return Ok(());
        }
        let detail = "X-Twilio-Signature is missing, or does not match the public URL, the body and the auth token";
        Err(Problem::new(Kind::InvalidSignature, detail))
    }

    /// The parameters that the signature covers beside the URL; `None` where nothing covers the body.
    fn parameters(&self) -> Option<Vec<Pair>> {
        if self.content_type.is_some_and(|text| is_media_type(text, form::CONTENT_TYPE)) {
            return Some(form::pairs(self.body));
        }
        let query = form::pairs(self.target.split_once('?')?.1.as_bytes());
        let hash = form::first(&query, BODY_HASH)?;
        // No secret is compared here: the hash is in the URL, and the signature covers the URL.
        hash.eq_ignore_ascii_case(sha256_hex(self.body).as_bytes()).then(Vec::new)
    }
}

/// What is signed: the URL, then each parameter's name and value with nothing between, sorted by name, then by value; equal
/// pairs count once, as Twilio's libraries have it.
fn signed_text(url: &str, parameters: &[Pair]) -> Vec<u8> {
    let mut sorted: Vec<&Pair> = parameters.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut text = url.as_bytes().to_vec();
    for (name, value) in sorted {
        text.extend_from_slice(name);
        text.extend_from_slice(value);
    }
    text
}

fn mac(token: &Secret, url: &str, parameters: &[Pair]) -> Option<Hmac<Sha1>> {
    // A key of any length will do; if that were to change, nothing would be accepted.
    let mut mac = Hmac::<Sha1>::new_from_slice(token.expose().as_bytes()).ok()?;
    mac.update(&signed_text(url, parameters));
    Some(mac)
}

/// Compares in constant time.
fn matches(token: &Secret, url: &str, parameters: &[Pair], given: &[u8]) -> bool {
    mac(token, url, parameters).is_some_and(|mac| mac.verify_slice(given).is_ok())
}

/// The signature that Twilio would give: for tools and tests that play its part.
#[must_use]
pub fn sign(token: &Secret, url: &str, parameters: &[Pair]) -> String {
    mac(token, url, parameters).map(|mac| BASE64_STANDARD.encode(mac.finalize().into_bytes())).unwrap_or_default()
}

/// The URL that Twilio may have signed, twice: its servers are not of one mind about the port. Without the port that the public
/// URL names; and with it, or with the scheme's own where it names none.
fn called_urls(public_url: &str, target: &str) -> [String; 2] {
    let (scheme, rest) = public_url.split_once("://").unwrap_or(("https", public_url));
    let (authority, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at_checked(at).unwrap_or((rest, "")));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        // No port, or the colons of an IPv6 address.
        _ => (authority, if scheme == "http" { "80" } else { "443" }),
    };
    [format!("{scheme}://{host}{prefix}{target}"), format!("{scheme}://{host}:{port}{prefix}{target}")]
}

/// The message that a verified form becomes.
///
/// Its id is `MessageSid`; for a status callback, which repeats the same sid for each status, `MessageSid:MessageStatus`.
/// Its lock key is `From`. Its body is the form as it came.
///
/// # Errors
/// It is not a form, or has no `MessageSid`, or one that cannot be an id.
pub fn entry(content_type: Option<&str>, body: Bytes) -> Result<Entry, Problem> {
    let Some(content_type) = content_type.filter(|text| is_media_type(text, form::CONTENT_TYPE)) else {
        return Err(Problem::new(Kind::UnsupportedContentType, format!("expected {}", form::CONTENT_TYPE)));
    };
    let pairs = form::pairs(&body);
    let sid = text(&pairs, "MessageSid")?;
    let sid = sid.ok_or_else(|| Problem::new(Kind::Malformed, "the form has no MessageSid"))?;
    let id = match text(&pairs, "MessageStatus")? {
        Some(status) => format!("{sid}:{status}"),
        None => sid.to_owned(),
    };
    check_logical_id(&id).map_err(|error| Problem::new(Kind::InvalidId, format!("MessageSid: {error}")))?;
    let key = text(&pairs, "From")?.map(str::to_owned);
    if let Some(key) = &key {
        check_key(key).map_err(|error| Problem::new(Kind::Malformed, format!("From {error}")))?;
    }
    Ok(Entry::new(id, key.as_deref(), Some(content_type), body, Properties::new()))
}

/// A field's text; `None` where it is absent or empty.
fn text<'a>(pairs: &'a [Pair], name: &str) -> Result<Option<&'a str>, Problem> {
    let value = form::first(pairs, name).filter(|value| !value.is_empty());
    let text = value.map(std::str::from_utf8).transpose();
    text.map_err(|_| Problem::new(Kind::Malformed, format!("{name} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::property;

    const FORM: &str =
        "Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE";
    const TARGET: &str = "/myapp.php?foo=1&bar=2";

    fn token() -> Secret {
        Secret::new("12345")
    }

    fn form(public_url: &'static str, target: &'static str, body: &'static str) -> Signed<'static> {
        Signed { public_url, target, content_type: Some("application/x-www-form-urlencoded"), body: body.as_bytes() }
    }

    #[test]
    fn the_example_of_twilios_documentation() {
        let request = form("https://mycompany.com", TARGET, FORM);
        assert_eq!(request.verify(&token(), Some("RSOYDt4T1cUTdK1PDd93/VVr8B8=")), Ok(()));
        let text = signed_text("https://mycompany.com/myapp.php?foo=1&bar=2", &form::pairs(FORM.as_bytes()));
        let expected = "https://mycompany.com/myapp.php?foo=1&bar=2CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    /// Every signature here was computed with the validator of the PyPI package `twilio` 9.
    #[test]
    fn what_twilios_own_validator_accepts() {
        for (public_url, target, body, signature) in VECTORS {
            assert_eq!(form(public_url, target, body).verify(&token(), Some(signature)), Ok(()), "{target} {body}");
            for other in [&body[..body.len() - 1], "", "X=1"] {
                assert!(form(public_url, target, other).verify(&token(), Some(signature)).is_err(), "{other}");
            }
        }
    }

    const VECTORS: [(&str, &str, &str, &str); 4] = [
        (
            "https://mycompany.com",
            "/myapp.php?foo=1&bar=2",
            "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212",
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        ),
        (
            "https://example.com/prefix",
            "/webhooks/twilio",
            "MessageSid=SM1&From=%2B4930&Body=&NumMedia=0",
            "BQP5iywRtFFnerSsu+itK3CsF6s=",
        ),
        (
            "http://127.0.0.1:3000",
            "/webhooks/twilio",
            "MessageSid=SM2&Body=H%C3%A4+%26+%F0%9F%A6%80&From=whatsapp%3A%2B49",
            "qwNyEXsT15vK7vmZgZ2xyYI6A/U=",
        ),
        (
            "https://example.com",
            "/webhooks/twilio?x=%20a",
            "a=2&b=3&a=1&a=2&B=4&MessageSid=SM3",
            "cRQXx7TgrBw7rEO83LlwMvleXhI=",
        ),
    ];

    #[test]
    fn a_port_may_be_signed_or_not() {
        for public_url in ["https://mycompany.com", "https://mycompany.com:443"] {
            for called in ["https://mycompany.com", "https://mycompany.com:443"] {
                let signature = sign(&token(), &format!("{called}{TARGET}"), &form::pairs(FORM.as_bytes()));
                assert_eq!(form(public_url, TARGET, FORM).verify(&token(), Some(&signature)), Ok(()));
            }
            let other = sign(&token(), &format!("https://mycompany.com:444{TARGET}"), &form::pairs(FORM.as_bytes()));
            assert!(form(public_url, TARGET, FORM).verify(&token(), Some(&other)).is_err());
        }
        let expected = ["http://[::1]/p/x", "http://[::1]:80/p/x"].map(str::to_owned);
        assert_eq!(called_urls("http://[::1]/p", "/x"), expected);
    }

    #[test]
    fn nothing_else_is_accepted() {
        let request = form("https://mycompany.com", TARGET, FORM);
        let right = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
        for wrong in
            [None, Some(""), Some("RSOYDt4T1cUTdK1PDd93/VVr8B8"), Some("RSOYDt4T1cUTdK1PDd93/VVr8B9="), Some("é")]
        {
            assert_eq!(request.verify(&token(), wrong).unwrap_err().kind, Kind::InvalidSignature, "{wrong:?}");
        }
        assert!(request.verify(&Secret::new("12346"), Some(right)).is_err());
        assert!(Signed { public_url: "http://mycompany.com", ..request }.verify(&token(), Some(right)).is_err());
        assert!(Signed { target: "/myapp.php?foo=1&bar=3", ..request }.verify(&token(), Some(right)).is_err());
    }

    #[test]
    fn a_body_that_is_no_form_is_covered_by_its_hash_or_refused() {
        let body = b"{\"a\":1}";
        let target = format!("/x?bodySHA256={}", sha256_hex(body));
        let json = Signed { public_url: "https://h", target: &target, content_type: Some("application/json"), body };
        let signature = sign(&token(), &format!("https://h{target}"), &[]);
        assert_eq!(json.verify(&token(), Some(&signature)), Ok(()));
        assert!(Signed { body: b"{\"a\":2}", ..json }.verify(&token(), Some(&signature)).is_err());
        let bare = sign(&token(), "https://h/x", &[]);
        for content_type in [None, Some("application/json")] {
            let uncovered = Signed { target: "/x", content_type, ..json };
            assert!(uncovered.verify(&token(), Some(&bare)).is_err());
        }
    }

    #[test]
    fn a_message_is_known_by_its_sid_and_a_status_by_both() {
        let entry = |body: &str| {
            entry(Some("application/x-www-form-urlencoded; charset=UTF-8"), Bytes::copy_from_slice(body.as_bytes()))
        };
        let inbound = entry("MessageSid=SM1&From=%2B4930&Body=Hi+there&SmsStatus=received").unwrap();
        assert_eq!(inbound.id, "SM1");
        assert_eq!(inbound.message.properties.text(property::KEY), Some("+4930"));
        assert_eq!(inbound.message.body, "MessageSid=SM1&From=%2B4930&Body=Hi+there&SmsStatus=received");
        assert_eq!(inbound.message.content_type.as_deref(), Some("application/x-www-form-urlencoded; charset=UTF-8"));
        assert_eq!(entry("MessageSid=SM1&MessageStatus=delivered").unwrap().id, "SM1:delivered");
        for (bad, kind) in [
            ("From=1", Kind::Malformed),
            ("MessageSid=", Kind::Malformed),
            ("MessageSid=%ff", Kind::Malformed),
            ("MessageSid=a%0a", Kind::InvalidId),
            ("MessageSid=a&From=%00", Kind::Malformed),
        ] {
            assert_eq!(entry(bad).unwrap_err().kind, kind, "{bad}");
        }
        assert_eq!(
            super::entry(Some("application/json"), Bytes::new()).unwrap_err().kind,
            Kind::UnsupportedContentType
        );
    }

    proptest! {
        #[test]
        fn no_request_panics_and_none_is_accepted_by_chance(target in "/\\PC{0,30}", body in prop::collection::vec(any::<u8>(), 0..60), signature in "\\PC{0,30}", public_url in "https?://\\PC{0,20}") {
            let request = Signed { public_url: &public_url, target: &target, content_type: Some(form::CONTENT_TYPE), body: &body };
            prop_assert!(request.verify(&token(), Some(&signature)).is_err());
            let _ = entry(Some(form::CONTENT_TYPE), Bytes::from(body));
        }

        #[test]
        fn what_is_signed_is_accepted_whatever_is_in_it(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let signature = sign(&token(), "https://h/x?y=1", &form::pairs(&body));
            let request = Signed { public_url: "https://h", target: "/x?y=1", content_type: Some(form::CONTENT_TYPE), body: &body };
            prop_assert_eq!(request.verify(&token(), Some(&signature)), Ok(()));
        }
    }
}
