//! Who may do what: Service Bus SAS, storage SAS and the storage Shared Key header.
//!
//! Pure functions over what the request carries, the keys, and `now`. Signatures are compared in
//! constant time, and no error says more about a key than that it does not fit.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod memo;
pub(crate) mod service_bus;
pub(crate) mod storage;

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Whether `signature` (base64) is the HMAC-SHA256 of `text` under `key`.
fn is_signed(key: &[u8], text: &str, signature: &str) -> bool {
    use base64::Engine as _;
    let Ok(signature) = base64::engine::general_purpose::STANDARD.decode(signature) else { return false };
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    mac.update(text.as_bytes());
    mac.verify_slice(&signature).is_ok()
}

/// Percent-decodes; `+` stays what it is. Bytes that are no UTF-8 are replaced, and then match nothing.
pub(crate) fn decode(text: &str) -> String {
    decode_in_place(text).into_owned()
}

/// As [`decode`]; what has nothing to decode stays where it is.
pub(crate) fn decode_in_place(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}
