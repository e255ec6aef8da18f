//! Random requests, signed as their source would; then one bit of them is another.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;
use crate::ingest::form::{self, Pair};

const TABLES: [&str; 8] = [
    "kind = 'twilio'",
    "kind = 'standard'",
    "kind = 'github'",
    "kind = 'stripe'",
    "kind = 'slack'",
    "kind = 'shopify'",
    "kind = 'hmac'\nheader = 'x-sig'\nencoding = 'base64'",
    "kind = 'hmac'\nheader = 'x-sig'\nprefix = 'p='\ntimestamp_header = 'x-time'\nsigned = '{id}.{timestamp}.{body}'\nkey_from = ['header:x-id']",
];
/// Base64 too, for Standard Webhooks.
const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQ=";

/// A request that the source of `hook` would send with this id, time and body, and which of its headers are signed or signatures.
fn signed(hook: &Webhook, id: &str, time: UnixTime, body: &[u8]) -> (Sent, Vec<usize>) {
    let keys = hook.keys(&[Secret::new(SECRET)]).unwrap();
    let time = time.0.to_string();
    let time = time.as_bytes();
    let hmac = |content: &[&[u8]]| keys.sign(Algorithm::Sha256, content);
    let hexed = |content: &[&[u8]]| hex::encode(hmac(content));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (headers, covered): (Vec<(&str, String)>, Vec<usize>) = match &hook.source {
        Source::Twilio => {
            let signature = twilio::sign(&keys, "https://example.com/webhooks/hook", &form::pairs(body));
            (vec![("X-Twilio-Signature", signature), ("content-type", form::CONTENT_TYPE.to_owned())], vec![0])
        }
        Source::Standard => {
            let signature = format!("v1,{}", BASE64_STANDARD.encode(hmac(&[id.as_bytes(), b".", time, b".", body])));
            let headers = vec![
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", text(time)),
                ("webhook-signature", signature),
            ];
            (headers, vec![0, 1, 2])
        }
        Source::GitHub => (
            vec![("X-Hub-Signature-256", format!("sha256={}", hexed(&[body]))), ("X-GitHub-Delivery", id.to_owned())],
            vec![0],
        ),
        Source::Stripe => {
            let signature = format!("t={},v1={}", text(time), hexed(&[time, b".", body]));
            (vec![("Stripe-Signature", signature)], vec![0])
        }
        Source::Slack => {
            let signature = format!("v0={}", hexed(&[b"v0:", time, b":", body]));
            (vec![("X-Slack-Signature", signature), ("X-Slack-Request-Timestamp", text(time))], vec![0, 1])
        }
        Source::Shopify => {
            let signature = BASE64_STANDARD.encode(hmac(&[body]));
            (vec![("X-Shopify-Hmac-Sha256", signature), ("X-Shopify-Webhook-Id", id.to_owned())], vec![0])
        }
        Source::Hmac(scheme) if scheme.timestamp_header.is_some() => {
            let signature = format!("p={}", hexed(&[id.as_bytes(), b".", time, b".", body]));
            (vec![("x-sig", signature), ("x-time", text(time)), ("x-id", id.to_owned())], vec![0, 1, 2])
        }
        Source::Hmac(_) => (vec![("x-sig", BASE64_STANDARD.encode(hmac(&[body])))], vec![0]),
    };
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    (Sent::new(&headers, Bytes::copy_from_slice(body), NOW), covered)
}

/// What a mutated request must not be the same as: what is signed of a form is its pairs, and hex has two cases.
fn same_meaning(hook: &Webhook, sent: &Sent, mutated: &Sent) -> bool {
    let pairs = |sent: &Sent| {
        let mut pairs: Vec<Pair> = form::pairs(&sent.body);
        pairs.sort();
        pairs.dedup();
        pairs.into_iter().flat_map(|(name, value)| [name, value]).flatten().collect::<Vec<u8>>()
    };
    let hex_in_other_case = matches!(&hook.source, Source::Hmac(scheme) if scheme.encoding == Encoding::Hex)
        && sent
            .headers
            .iter()
            .zip(&mutated.headers)
            .all(|(one, other)| one.0 == other.0 && one.1.eq_ignore_ascii_case(&other.1))
        && sent.headers[0].1[..2] == mutated.headers[0].1[..2];
    let same_body =
        if hook.source == Source::Twilio { pairs(sent) == pairs(mutated) } else { sent.body == mutated.body };
    same_body && (sent.headers == mutated.headers || hex_in_other_case)
}

proptest! {
    #[test]
    fn what_was_signed_is_accepted_as_it_came_and_with_another_bit_it_is_refused(
        table in prop::sample::select(&TABLES),
        id in "[!-~]{1,20}",
        time in (NOW.0 - 300)..=(NOW.0 + 300),
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..80), "(([A-Za-z]{1,8}=[%+0-9a-zA-F]{0,8})&?){0,6}".prop_map(String::into_bytes)],
        bit in any::<prop::sample::Index>(),
    ) {
        prop_assume!(check_logical_id(&id).is_ok());
        let hook = webhook(table);
        // An event of Stripe is JSON, whatever else.
        let body = if hook.source == Source::Stripe { format!("{{\"id\":{id:?},\"data\":{body:?}}}").into_bytes() } else { body };
        let (sent, covered) = signed(&hook, &id, UnixTime(time), &body);
        let told = sent.told(&hook, &["", "b3RoZXI=", SECRET]);
        if hook.source == Source::Twilio && std::str::from_utf8(&body).is_err() {
            // What is no text may be no sid: that is for the parser to say, after the signature.
            prop_assert!(told.is_ok() || told.as_ref().is_err_and(|problem| problem.kind == Kind::Malformed));
        } else {
            let Ok(Accepted::Message(entry)) = told else { panic!("{told:?}") };
            prop_assert_eq!(&entry.message.body, &sent.body);
            prop_assert_eq!(entry.message.properties.text(NAME_PROPERTY), Some("hook"));
        }

        let signed_bytes: usize = covered.iter().map(|at| sent.headers[*at].1.len()).sum();
        let at = bit.index((signed_bytes + sent.body.len()) * 8);
        let (byte, mask) = (at / 8, 1_u8 << (at % 8));
        let mut mutated = sent.clone();
        if byte < sent.body.len() {
            let mut body = sent.body.to_vec();
            body[byte] ^= mask;
            mutated.body = body.into();
        } else {
            let mut rest = byte - sent.body.len();
            for header in covered {
                let value = &mut mutated.headers[header].1;
                if rest < value.len() {
                    value[rest] ^= mask;
                    break;
                }
                rest -= value.len();
            }
        }
        let told = mutated.told(&hook, &[SECRET]);
        let refused = told.as_ref().is_err_and(|problem| problem.kind == Kind::InvalidSignature);
        prop_assert!(refused || same_meaning(&hook, &sent, &mutated), "{mutated:?} was told {told:?}");
    }

    #[test]
    fn no_request_panics_and_none_is_accepted_by_chance(
        table in prop::sample::select(&TABLES),
        name in prop::sample::select(vec!["x-sig", "stripe-signature", "webhook-signature", "x-slack-signature", "x-hub-signature-256", "x-shopify-hmac-sha256", "x-twilio-signature"]),
        signature in "(t=[0-9]{0,20},|v1=|v1,|sha256=|p=|v0=)?\\PC{0,40}",
        times in prop::collection::vec(any::<u8>(), 0..12),
        content_type in "\\PC{0,20}",
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let hook = webhook(table);
        let mut sent = Sent::new(&[(name, &signature), ("content-type", &content_type)], body, NOW);
        for name in ["webhook-timestamp", "x-slack-request-timestamp", "x-time", "webhook-id", "x-id"] {
            sent.headers.push((name.to_owned(), times.clone()));
        }
        prop_assert_eq!(sent.refusal(&hook, SECRET), Kind::InvalidSignature);
    }
}
