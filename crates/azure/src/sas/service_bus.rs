//! Service Bus tokens: the value of the `Authorization` header.

use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;

use super::{field, hmac_base64};
use crate::wire::encode_value;

const SCHEME: &str = "SharedAccessSignature";

/// What a token signs: the resource **as it stands in the token**, that is, percent-encoded, and the expiry in Unix seconds.
#[must_use]
pub fn string_to_sign(encoded_resource: &str, expires: UnixTime) -> String {
    format!("{encoded_resource}\n{}", expires.0)
}

/// The signature in base64. The key is used as the text it is: it looks like base64, but is not decoded.
#[must_use]
pub fn sign(key: &Secret, string_to_sign: &str) -> String {
    hmac_base64(key.expose().as_bytes(), string_to_sign)
}

/// A whole token for a resource and everything under it: `https://namespace.servicebus.windows.net[/entity]`.
#[must_use]
pub fn token(resource: &str, key_name: &str, key: &Secret, expires: UnixTime) -> Secret {
    let resource = encode_value(resource);
    let signature = encode_value(&sign(key, &string_to_sign(&resource, expires)));
    Secret::new(format!("{SCHEME} sr={resource}&sig={signature}&se={}&skn={}", expires.0, encode_value(key_name)))
}

/// When a token ends: its `se`.
#[must_use]
pub fn expires_at(token: &Secret) -> Option<UnixTime> {
    let token = token.expose();
    let fields = token.split_once(' ').map_or(token, |(_, fields)| fields);
    field(fields, "se")?.parse().ok().map(UnixTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens that three existing clients produced: key, `sr`, `se`, `sig`.
    const GOLDEN: [(&str, &str, u64, &str); 3] = [
        (
            "abc123=",
            "http%3a%2f%2f127.0.0.1%3a18991%2fq%3fapi-version%3d2016-07",
            1_795_174_201,
            "XIP9M%2BqGIDur37kT5IlYOvj0L4qcU7BgUYVXs%2BHxwmQ%3D",
        ),
        (
            "abc=",
            "https%3a%2f%2fns.servicebus.windows.net%3a443%2fq%2fmessages%2fhead%3ftimeout%3d5",
            1_795_174_240,
            "SsZW1ATch5W9aSF%2FNqvmqS%2FaJ9u%2FaPdPaQ5CEQCIPok%3D",
        ),
        (
            "abc=",
            "https%3A%2F%2Fns.servicebus.windows.net",
            1_795_177_676,
            "Aei0vbH2BBNr%2FL0t5qMKv1%2BHS6iL1Yyku0zYcqKUJu4%3D",
        ),
    ];

    #[test]
    fn signatures_are_those_of_existing_clients() {
        for (key, resource, expires, signature) in GOLDEN {
            let text = string_to_sign(resource, UnixTime(expires));
            assert_eq!(text, format!("{resource}\n{expires}"));
            assert_eq!(encode_value(&sign(&Secret::new(key), &text)), signature);
        }
    }

    #[test]
    fn a_token_is_made_of_resource_signature_expiry_and_key_name() {
        let (key, resource, expires, signature) = GOLDEN[2];
        let token = token("https://ns.servicebus.windows.net", "Root Key", &Secret::new(key), UnixTime(expires));
        assert_eq!(
            token.expose(),
            format!("SharedAccessSignature sr={resource}&sig={signature}&se={expires}&skn=Root%20Key")
        );
        assert_eq!(expires_at(&token), Some(UnixTime(expires)));
    }

    #[test]
    fn an_expiry_that_cannot_be_read_is_none() {
        for token in [
            "",
            "SharedAccessSignature",
            "SharedAccessSignature sr=x",
            "SharedAccessSignature se=soon",
            "SharedAccessSignature se=-1",
        ] {
            assert_eq!(expires_at(&Secret::new(token)), None, "{token}");
        }
    }
}
