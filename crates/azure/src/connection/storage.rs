//! The connection string of a storage account's blob service.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Uri;
use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;

use super::{ConnectionStringError, Pairs, split_url};
use crate::sas::blob::{self, ContainerSas, Permissions};

const PROTOCOL: &str = "DefaultEndpointsProtocol";
const ACCOUNT_NAME: &str = "AccountName";
const ACCOUNT_KEY: &str = "AccountKey";
const SAS: &str = "SharedAccessSignature";
const BLOB_ENDPOINT: &str = "BlobEndpoint";
const ENDPOINT_SUFFIX: &str = "EndpointSuffix";
const DEVELOPMENT: &str = "UseDevelopmentStorage";

/// What `UseDevelopmentStorage=true` stands for: the account of the storage emulators, whose key is public.
const DEVELOPMENT_STORAGE: &str = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;\
    AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;\
    BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1";

/// Where a blob service is, and what opens it: the account's key, or a SAS somebody made from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConnection {
    origin: String,
    /// `` or `/account`: emulators have the account in the path.
    base_path: String,
    credential: StorageCredential,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StorageCredential {
    Key {
        account: String,
        key: AccountKey,
    },
    /// The query of a SAS, without its `?`.
    Sas(Secret),
}

/// An account key: the bytes that sign, which a connection string has in base64.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccountKey(Vec<u8>);

impl AccountKey {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey(…)")
    }
}

impl StorageConnection {
    /// Reads `DefaultEndpointsProtocol=…;AccountName=…;AccountKey=…` with `BlobEndpoint=…` or `EndpointSuffix=…`,
    /// `BlobEndpoint=…;SharedAccessSignature=…`, or `UseDevelopmentStorage=true`.
    ///
    /// An endpoint may have a path: emulators put the account there (`http://127.0.0.1:10000/devstoreaccount1`).
    ///
    /// # Errors
    /// The first key that is missing or cannot be used.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let pairs = Pairs::parse(text)?;
        if pairs.is_true(DEVELOPMENT)? {
            return Self::from_pairs(&Pairs::parse(DEVELOPMENT_STORAGE)?);
        }
        Self::from_pairs(&pairs)
    }

    fn from_pairs(pairs: &Pairs<'_>) -> Result<Self, ConnectionStringError> {
        let endpoint = endpoint(pairs)?;
        let invalid = ConnectionStringError::Invalid {
            key: BLOB_ENDPOINT,
            expected: "a URL such as https://account.blob.core.windows.net",
        };
        let (scheme, authority, path) = split_url(&endpoint).ok_or_else(|| invalid.clone())?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(invalid);
        }
        let base_path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { origin: format!("{scheme}://{authority}"), base_path, credential: credential(pairs)? })
    }

    /// `scheme://host[:port]`, as Spin's `allowed_outbound_hosts` wants it.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The address of the blob service: the origin, and the account's path where it has one. No trailing `/`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}{}", self.origin, self.base_path)
    }

    /// Whether this holds the account key, with which everything may be done and signed.
    #[must_use]
    pub const fn has_account_key(&self) -> bool {
        matches!(self.credential, StorageCredential::Key { .. })
    }

    /// When a ready-made SAS ends; `None` with an account key, or where a stored access policy holds the end.
    #[must_use]
    pub fn sas_expires_at(&self) -> Option<UnixTime> {
        match &self.credential {
            StorageCredential::Key { .. } => None,
            StorageCredential::Sas(query) => blob::expires_at(query),
        }
    }

    /// The same account with nothing but a container's SAS: what a component is given in place of the account key.
    ///
    /// Over HTTPS the SAS is good for HTTPS only. A connection that is a SAS already is handed on as it is: it cannot be
    /// narrowed without the key.
    #[must_use]
    pub fn with_container_sas(&self, container: &str, permissions: Permissions, expires: UnixTime) -> Self {
        let credential = match &self.credential {
            StorageCredential::Sas(query) => StorageCredential::Sas(query.clone()),
            StorageCredential::Key { account, key } => {
                let https_only = self.origin.starts_with("https://");
                let sas = ContainerSas { account, container, permissions, expires, https_only };
                StorageCredential::Sas(sas.query(key.bytes()))
            }
        };
        Self { origin: self.origin.clone(), base_path: self.base_path.clone(), credential }
    }

    /// The connection string, **with its secrets**. Parses to an equal value; other storage clients read it too.
    #[must_use]
    pub fn expose(&self) -> String {
        let endpoint = self.endpoint();
        match &self.credential {
            StorageCredential::Sas(query) => format!("{BLOB_ENDPOINT}={endpoint};{SAS}={}", query.expose()),
            StorageCredential::Key { account, key } => {
                let protocol = if self.origin.starts_with("https://") { "https" } else { "http" };
                let key = BASE64.encode(key.bytes());
                format!("{PROTOCOL}={protocol};{ACCOUNT_NAME}={account};{ACCOUNT_KEY}={key};{BLOB_ENDPOINT}={endpoint}")
            }
        }
    }

    pub(crate) const fn credential(&self) -> &StorageCredential {
        &self.credential
    }
}

/// `BlobEndpoint`, or what follows from protocol, account and suffix.
fn endpoint(pairs: &Pairs<'_>) -> Result<String, ConnectionStringError> {
    if let Some(endpoint) = pairs.get(BLOB_ENDPOINT)? {
        return Ok(endpoint.to_owned());
    }
    let Some(account) = pairs.get(ACCOUNT_NAME)? else {
        let expected = "a URL such as https://account.blob.core.windows.net, or AccountName and AccountKey";
        return Err(ConnectionStringError::Missing { key: BLOB_ENDPOINT, expected });
    };
    let protocol = match pairs.get(PROTOCOL)? {
        None => "https",
        Some(protocol) if protocol.eq_ignore_ascii_case("https") => "https",
        Some(protocol) if protocol.eq_ignore_ascii_case("http") => "http",
        Some(_) => return Err(ConnectionStringError::Invalid { key: PROTOCOL, expected: "https or http" }),
    };
    let suffix = pairs.get(ENDPOINT_SUFFIX)?.unwrap_or("core.windows.net");
    Ok(format!("{protocol}://{account}.blob.{suffix}"))
}

fn credential(pairs: &Pairs<'_>) -> Result<StorageCredential, ConnectionStringError> {
    let Some(sas) = pairs.get(SAS)? else {
        let expected = "the account's key, or SharedAccessSignature in its place";
        let key = pairs.need(ACCOUNT_KEY, expected)?;
        let account = pairs.need(ACCOUNT_NAME, "the name of the storage account")?;
        if !account.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(ConnectionStringError::Invalid { key: ACCOUNT_NAME, expected: "letters, digits and hyphens" });
        }
        let key =
            BASE64.decode(key).map_err(|_| ConnectionStringError::Invalid { key: ACCOUNT_KEY, expected: "base64" })?;
        return Ok(StorageCredential::Key { account: account.to_owned(), key: AccountKey(key) });
    };
    if pairs.get(ACCOUNT_KEY)?.is_some() {
        return Err(ConnectionStringError::Both { one: ACCOUNT_KEY, other: SAS });
    }
    let query = sas.trim_start_matches('?');
    let signed = query.split('&').any(|field| field.starts_with("sig="));
    if !signed || !query.is_ascii() || query.contains('#') || format!("/?{query}").parse::<Uri>().is_err() {
        return Err(ConnectionStringError::Invalid {
            key: SAS,
            expected: "the query of a SAS such as sv=…&sr=c&sp=rcw&se=…&sig=…",
        });
    }
    Ok(StorageCredential::Sas(Secret::new(query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYED: &str =
        "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5;EndpointSuffix=core.windows.net";
    const AZURITE: &str = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:21000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:21001/devstoreaccount1";
    const READY: &str = "BlobEndpoint=https://acc.blob.core.windows.net/;SharedAccessSignature=?sv=2023-11-03&sr=c&sp=rcw&se=2026-01-02T00%3A00%3A00Z&sig=a%2Bb%3D";

    #[test]
    fn an_account_with_a_key() {
        let connection = StorageConnection::parse(KEYED).unwrap();
        assert_eq!(connection.origin(), "https://acc.blob.core.windows.net");
        assert_eq!(connection.endpoint(), "https://acc.blob.core.windows.net");
        assert!(connection.has_account_key());
        let StorageCredential::Key { account, key } = connection.credential() else { panic!("a key") };
        assert_eq!((account.as_str(), key.bytes()), ("acc", b"key".as_slice()));
    }

    #[test]
    fn an_emulator_has_the_account_in_its_path() {
        let connection = StorageConnection::parse(AZURITE).unwrap();
        assert_eq!(connection.origin(), "http://127.0.0.1:21000");
        assert_eq!(connection.endpoint(), "http://127.0.0.1:21000/devstoreaccount1");
        let development = StorageConnection::parse("UseDevelopmentStorage=true").unwrap();
        assert_eq!(development.endpoint(), "http://127.0.0.1:10000/devstoreaccount1");
    }

    #[test]
    fn a_ready_made_sas() {
        let connection = StorageConnection::parse(READY).unwrap();
        assert!(!connection.has_account_key());
        assert_eq!(connection.sas_expires_at(), Some(UnixTime(1_767_312_000)));
        assert_eq!(connection.with_container_sas("c", Permissions::RECORDS, UnixTime(0)), connection);
    }

    #[test]
    fn what_is_exposed_parses_to_the_same() {
        for text in [KEYED, AZURITE, READY, "UseDevelopmentStorage=true"] {
            let connection = StorageConnection::parse(text).unwrap();
            assert_eq!(StorageConnection::parse(&connection.expose()), Ok(connection));
        }
    }

    #[test]
    fn a_component_gets_a_sas_in_place_of_the_key() {
        let connection = StorageConnection::parse(AZURITE).unwrap();
        let narrow = connection.with_container_sas("records", Permissions::RECORDS, UnixTime(1_767_312_000));
        let text = narrow.expose();
        assert!(
            text.starts_with("BlobEndpoint=http://127.0.0.1:21000/devstoreaccount1;SharedAccessSignature=sv="),
            "{text}"
        );
        assert!(text.contains("sp=rcw"), "{text}");
        assert!(!text.contains("a2V5"), "{text}");
        assert_eq!(narrow.sas_expires_at(), Some(UnixTime(1_767_312_000)));
        assert_eq!(StorageConnection::parse(&text), Ok(narrow));
    }

    #[test]
    fn an_error_names_the_key() {
        let cases = [
            ("AccountKey=s3cret", "BlobEndpoint is missing"),
            ("AccountName=a;AccountKey=s3cret!", "AccountKey is not valid"),
            ("AccountName=a b;AccountKey=a2V5;BlobEndpoint=http://h/s3cret", "AccountName is not valid"),
            ("AccountName=a", "AccountKey is missing"),
            ("BlobEndpoint=http://h", "AccountKey is missing"),
            ("BlobEndpoint=http://h?s3cret;AccountName=a;AccountKey=a2V5", "BlobEndpoint is not valid"),
            ("BlobEndpoint=ftp://h;AccountName=a;AccountKey=a2V5", "BlobEndpoint is not valid"),
            ("BlobEndpoint=http://h;SharedAccessSignature=s3cret", "SharedAccessSignature is not valid"),
            ("BlobEndpoint=http://h;SharedAccessSignature=sig=s3cret#", "SharedAccessSignature is not valid"),
            (
                "BlobEndpoint=http://h;SharedAccessSignature=sig=s3cret;AccountKey=a2V5",
                "AccountKey and SharedAccessSignature",
            ),
            ("DefaultEndpointsProtocol=s3cret;AccountName=a;AccountKey=a2V5", "DefaultEndpointsProtocol is not valid"),
        ];
        for (text, expected) in cases {
            let error = StorageConnection::parse(text).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
