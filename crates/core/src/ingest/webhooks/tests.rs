//! Every source alike: what was signed is accepted as it came, and nothing else is.

mod examples;
mod mutations;

use bytes::Bytes;

use super::*;
use crate::config::Config;

const NOW: UnixTime = UnixTime(1_795_174_201);

/// A webhook as the configuration has it.
fn webhook(table: &str) -> Webhook {
    let document = format!("[queues.q]\n[webhooks.hook]\nqueue = 'q'\nsecrets = ['one', 'two']\n{table}");
    Config::parse(&document).unwrap_or_else(|error| panic!("{error}: {document}")).webhooks["hook"].clone()
}

/// A request that somebody signed.
#[derive(Debug, Clone)]
struct Sent {
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
    now: UnixTime,
}

impl Sent {
    fn new(headers: &[(&str, &str)], body: impl Into<Bytes>, now: UnixTime) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        Self { headers, body: body.into(), now }
    }

    fn ask<T>(&self, then: impl FnOnce(Request<'_>) -> T) -> T {
        let target = "/webhooks/hook".to_owned();
        let head = Head { method: "POST".to_owned(), target, headers: self.headers.clone() };
        then(Request { head: &head, body: &self.body, public_url: Some("https://example.com"), now: self.now })
    }

    /// What becomes of it, with these secrets.
    fn told(&self, webhook: &Webhook, secrets: &[&str]) -> Result<Accepted, Problem> {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        let keys = webhook.keys(&secrets).unwrap();
        self.ask(|request| webhook.verify(&keys, request)?.accept())
    }

    fn message(&self, webhook: &Webhook, secret: &str) -> Entry {
        match self.told(webhook, &[secret]) {
            Ok(Accepted::Message(entry)) => *entry,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&self, webhook: &Webhook, secret: &str) -> Kind {
        self.told(webhook, &[secret]).unwrap_err().kind
    }
}

#[test]
fn a_webhook_without_a_usable_secret_has_no_keys() {
    let keys = |table: &str, secrets: &[&str]| {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        webhook(table).keys(&secrets).map_err(|error| error.to_string())
    };
    for secrets in [&[][..], &[""], &["", " \n"]] {
        let error = "configuration: webhooks.hook.secrets: expected a secret in a variable out of one, two, found none";
        assert_eq!(keys("kind = 'github'", secrets), Err(error.to_owned()));
    }
    assert!(keys("kind = 'github'", &["", "s"]).is_ok());
    let error =
        "configuration: webhooks.hook.secrets: expected whsec_ and base64 in each variable, found something else";
    for secret in ["s3cret!", "whsec_", "whsec_*"] {
        assert_eq!(
            keys("kind = 'standard'", &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", secret]),
            Err(error.to_owned())
        );
    }
}
