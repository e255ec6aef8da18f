//! Shared access signatures: a text that says what may be done until when, and its HMAC-SHA256.
//!
//! The two services agree on nothing but that sentence: Service Bus signs an address with the key *as text* and puts the
//! token into a header; Blob Storage signs sixteen lines with the key's *decoded bytes* and puts the fields into the
//! query. In both modules the text that is signed and the signing are apart, so that each can be checked by itself.

pub mod blob;
pub mod service_bus;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// HMAC-SHA256 in base64.
pub(crate) fn hmac_base64(key: &[u8], text: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}

/// The value of a field of `a=1&b=2`, still encoded.
fn field<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    fields.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}
