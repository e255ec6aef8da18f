//! Credentials: shared access signatures and the account's key, and what may be wrong with them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use sha2::Sha256;

use crate::client::{CONTAINER, VERSION};

const ACCOUNT: &str = "devstoreaccount1";
/// As well known as the account's name.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// How a request shows who it is from.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    Nothing,
    Sas(Sas),
    /// The account's key, or another one.
    SharedKey {
        right: bool,
    },
}

/// A shared access signature, and what may be wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Sas {
    /// `Some(services, resource types)` for an account SAS.
    account: Option<(&'static str, &'static str)>,
    letters: String,
    version: &'static str,
    /// In seconds from now.
    starts: Option<i64>,
    expires: i64,
    protocol: &'static str,
    policy: &'static str,
    /// Of the container, or of one blob.
    resource: &'static str,
    /// What it was signed for, where that is not what it is used for.
    elsewhere: Option<&'static str>,
    forged: bool,
}

impl Sas {
    /// For the container of all rows.
    pub(crate) fn container(letters: impl Into<String>) -> Self {
        Self {
            account: None,
            letters: letters.into(),
            version: VERSION,
            starts: None,
            expires: 3600,
            protocol: "",
            policy: "",
            resource: "c",
            elsewhere: None,
            forged: false,
        }
    }

    /// For the blob of the row.
    pub(crate) fn blob(letters: &str) -> Self {
        Self { resource: "b", ..Self::container(letters) }
    }

    pub(crate) fn account(services: &'static str, types: &'static str, letters: &str) -> Self {
        Self { account: Some((services, types)), ..Self::container(letters) }
    }

    pub(crate) fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn starts(self, seconds: i64) -> Self {
        Self { starts: Some(seconds), ..self }
    }

    pub(crate) fn expires(self, seconds: i64) -> Self {
        Self { expires: seconds, ..self }
    }

    pub(crate) fn protocol(self, protocol: &'static str) -> Self {
        Self { protocol, ..self }
    }

    pub(crate) fn policy(self, policy: &'static str) -> Self {
        Self { policy, ..self }
    }

    pub(crate) fn elsewhere(self, path: &'static str) -> Self {
        Self { elsewhere: Some(path), ..self }
    }

    pub(crate) fn forged(self) -> Self {
        Self { forged: true, ..self }
    }

    /// As a query, for a blob of the container of all rows.
    pub(crate) fn query(&self, blob: &str) -> String {
        let (start, end) = (self.starts.map(from_now).unwrap_or_default(), from_now(self.expires));
        let (letters, version, protocol) = (&self.letters, self.version, self.protocol);
        let session = if version >= "2020-12-06" { "\n" } else { "" };
        let (text, mut pairs) = match self.account {
            Some((services, types)) => (
                format!(
                    "{ACCOUNT}\n{letters}\n{services}\n{types}\n{start}\n{end}\n\n{protocol}\n{version}\n{session}"
                ),
                vec![("ss", services), ("srt", types)],
            ),
            None => {
                let path = match (self.elsewhere, self.resource) {
                    (Some(path), _) => path.to_owned(),
                    (None, "b") => format!("{CONTAINER}/{blob}"),
                    (None, _) => CONTAINER.to_owned(),
                };
                let (resource, policy) = (self.resource, self.policy);
                (
                    format!(
                        "{letters}\n{start}\n{end}\n/blob/{ACCOUNT}/{path}\n{policy}\n\n{protocol}\n{version}\n\
                         {resource}\n{session}\n\n\n\n\n"
                    ),
                    vec![("sr", resource), ("si", policy)],
                )
            }
        };
        let signature = sign(KEY, if self.forged { "another text" } else { &text });
        pairs.extend([("sv", version), ("sp", letters), ("st", &start), ("se", &end), ("spr", protocol)]);
        pairs.push(("sig", &signature));
        let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<String> =
            pairs.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect();
        pairs.join("&")
    }
}

/// The header of a request that is signed with the account's key, or with another one.
pub(crate) fn shared_key(
    method: &Method,
    path: &str,
    query: &str,
    headers: &[(String, String)],
    right: bool,
) -> String {
    let find = |name: &str| headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
    let length = Some(find("content-length")).filter(|length| *length != "0").unwrap_or_default();
    let mut text = format!("{}\n\n\n{length}\n\n{}\n\n", method, find("content-type"));
    text += &format!("\n{}\n{}\n\n\n", find("if-match"), find("if-none-match"));
    let mut custom: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    custom.sort_unstable();
    text += &custom.concat();
    text += &format!("/{ACCOUNT}/{ACCOUNT}{path}");
    let mut query: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    for pair in query {
        text += &format!("\n{}", pair.replacen('=', ":", 1));
    }
    format!("SharedKey {ACCOUNT}:{}", sign(if right { KEY } else { "d3Jvbmc=" }, &text))
}

fn from_now(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Timestamp::from_second(i64::try_from(now).unwrap() + seconds).unwrap().to_string()
}

fn sign(key: &str, text: &str) -> String {
    let base64 = base64::engine::general_purpose::STANDARD;
    let mut mac = Hmac::<Sha256>::new_from_slice(&base64.decode(key).unwrap()).unwrap();
    mac.update(text.as_bytes());
    base64.encode(mac.finalize().into_bytes())
}
