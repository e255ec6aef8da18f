//! Requests as Twilio makes them: a form, and a signature over the URL and all of its fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use oncebus_core::secret::Secret;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;

/// The fields of a form, by name.
pub(super) type Fields = Vec<(&'static str, String)>;

/// The fields of an incoming text message. Each has a sender of its own: messages of one sender are worked on
/// one after the other, and the demo is not about waiting.
pub(super) fn message(sid: &str, number: usize) -> Fields {
    vec![
        ("ToCountry", "US".to_owned()),
        ("SmsMessageSid", sid.to_owned()),
        ("NumMedia", "0".to_owned()),
        ("SmsStatus", "received".to_owned()),
        ("Body", format!("Hello & welcome + ¡hola! #{number}")),
        ("FromCity", String::new()),
        ("To", "+15005550006".to_owned()),
        ("MessageSid", sid.to_owned()),
        ("AccountSid", format!("AC{:032x}", 0)),
        ("From", format!("+1415{number:07}")),
        ("ApiVersion", "2010-04-01".to_owned()),
    ]
}

/// `X-Twilio-Signature`: HMAC-SHA1 with the auth token over the URL and every field, sorted by name.
pub(super) fn signature(auth_token: &Secret, url: &str, fields: &Fields) -> String {
    let mut sorted: Vec<&(&str, String)> = fields.iter().collect();
    sorted.sort();
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha1>::new_from_slice(auth_token.expose().as_bytes()).expect("a key of any length");
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    BASE64.encode(mac.finalize().into_bytes())
}

/// `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &Fields) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Twilio's own documentation.
    #[test]
    fn the_signature_is_twilios() {
        let fields: Fields = vec![
            ("CallSid", "CA1234567890ABCDE".to_owned()),
            ("To", "+18005551212".to_owned()),
            ("From", "+14158675309".to_owned()),
            ("Digits", "1234".to_owned()),
            ("Caller", "+14158675309".to_owned()),
        ];
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        assert_eq!(signature(&Secret::new("12345"), url, &fields), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    }

    #[test]
    fn a_form_is_encoded() {
        let fields: Fields = vec![("Body", "a b&c+é".to_owned()), ("FromCity", String::new())];
        assert_eq!(form(&fields), "Body=a%20b%26c%2B%C3%A9&FromCity=");
    }
}
