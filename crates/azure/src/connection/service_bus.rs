//! The connection string of a Service Bus namespace.

use http::HeaderValue;
use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;

use super::{ConnectionStringError, Pairs, split_url};
use crate::sas;

const KEY_NAME: &str = "SharedAccessKeyName";
const KEY: &str = "SharedAccessKey";
const TOKEN: &str = "SharedAccessSignature";
const ENTITY_PATH: &str = "EntityPath";
const ENDPOINT: &str = "Endpoint";
const EMULATOR: &str = "UseDevelopmentEmulator";

/// Where a Service Bus namespace is, and what opens it: a key, or a token somebody made from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceBusConnection {
    origin: String,
    entity_path: Option<String>,
    credential: ServiceBusCredential,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServiceBusCredential {
    /// A rule's name and one of its keys: tokens are signed with it.
    Key { name: String, key: Secret },
    /// A ready-made token, as it goes into `Authorization`.
    Token(Secret),
}

impl ServiceBusConnection {
    /// Reads `Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…` or `Endpoint=sb://…;SharedAccessSignature=…`, either
    /// with `EntityPath=…`.
    ///
    /// REST is spoken over HTTPS; with `UseDevelopmentEmulator=true`, or an `http://` endpoint, over plain HTTP. A port is kept.
    ///
    /// # Errors
    /// The first key that is missing or cannot be used.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let pairs = Pairs::parse(text)?;
        let expected = "a URL such as sb://name.servicebus.windows.net";
        let invalid_endpoint = ConnectionStringError::Invalid { key: ENDPOINT, expected };
        let endpoint = pairs.need(ENDPOINT, expected)?;
        let plain = pairs.is_true(EMULATOR)?;
        let (scheme, authority, path) = split_url(endpoint).ok_or_else(|| invalid_endpoint.clone())?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "http",
            "sb" if plain => "http",
            "sb" | "https" => "https",
            _ => return Err(invalid_endpoint),
        };
        if !path.is_empty() {
            return Err(invalid_endpoint);
        }
        Ok(Self {
            origin: format!("{scheme}://{authority}"),
            entity_path: pairs.get(ENTITY_PATH)?.and_then(plain_path),
            credential: credential(&pairs)?,
        })
    }

    /// `scheme://host[:port]`, as Spin's `allowed_outbound_hosts` wants it.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The entity that the credential is for, where it is not the whole namespace.
    #[must_use]
    pub fn entity_path(&self) -> Option<&str> {
        self.entity_path.as_deref()
    }

    /// The name of the rule whose key this is; `None` with a ready-made token.
    #[must_use]
    pub fn key_name(&self) -> Option<&str> {
        match &self.credential {
            ServiceBusCredential::Key { name, .. } => Some(name),
            ServiceBusCredential::Token(_) => None,
        }
    }

    /// When a ready-made token ends; `None` with a key, or where the token does not say.
    #[must_use]
    pub fn token_expires_at(&self) -> Option<UnixTime> {
        match &self.credential {
            ServiceBusCredential::Key { .. } => None,
            ServiceBusCredential::Token(token) => sas::service_bus::expires_at(token),
        }
    }

    /// The connection string, **with its secrets**. Parses to an equal value; other Service Bus clients read it too.
    #[must_use]
    pub fn expose(&self) -> String {
        let (sb, emulator) = match self.origin.strip_prefix("http://") {
            Some(authority) => (authority, ";UseDevelopmentEmulator=true"),
            None => (self.origin.strip_prefix("https://").unwrap_or(&self.origin), ""),
        };
        let credential = match &self.credential {
            ServiceBusCredential::Key { name, key } => format!("{KEY_NAME}={name};{KEY}={}", key.expose()),
            ServiceBusCredential::Token(token) => format!("{TOKEN}={}", token.expose()),
        };
        let entity = self.entity_path.as_ref().map(|path| format!(";{ENTITY_PATH}={path}")).unwrap_or_default();
        format!("{ENDPOINT}=sb://{sb}/;{credential}{entity}{emulator}")
    }

    pub(crate) const fn credential(&self) -> &ServiceBusCredential {
        &self.credential
    }
}

/// A path without slashes and white space around it; none when there is nothing else.
fn plain_path(path: &str) -> Option<String> {
    let plain = path.trim_matches(|c: char| c == '/' || c.is_whitespace());
    (!plain.is_empty()).then(|| plain.to_owned())
}

fn credential(pairs: &Pairs<'_>) -> Result<ServiceBusCredential, ConnectionStringError> {
    let Some(token) = pairs.get(TOKEN)? else {
        let name =
            pairs.need(KEY_NAME, "the name of an access rule, or SharedAccessSignature in place of name and key")?;
        let key = pairs.need(KEY, "the key of the access rule")?;
        return Ok(ServiceBusCredential::Key { name: name.to_owned(), key: Secret::new(key) });
    };
    if pairs.get(KEY)?.is_some() {
        return Err(ConnectionStringError::Both { one: KEY, other: TOKEN });
    }
    let invalid = ConnectionStringError::Invalid {
        key: TOKEN,
        expected: "a token such as SharedAccessSignature sr=…&sig=…&se=…&skn=…",
    };
    // The scheme's name belongs to the token, but is easily lost in copying.
    let token = match token.split_once(' ') {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case(TOKEN) => token.to_owned(),
        Some(_) => return Err(invalid),
        None => format!("{TOKEN} {token}"),
    };
    let fields: Vec<&str> = token.split([' ', '&']).collect();
    let complete = ["sr=", "sig=", "se="].iter().all(|name| fields.iter().any(|field| field.starts_with(name)));
    if !complete || HeaderValue::from_str(&token).is_err() || !token.is_ascii() {
        return Err(invalid);
    }
    Ok(ServiceBusCredential::Token(Secret::new(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYED: &str =
        "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=abc=";
    const READY: &str = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessSignature=SharedAccessSignature sr=a&sig=b%3D&se=1795174201&skn=k;EntityPath=q";

    #[test]
    fn a_namespace_with_a_key() {
        let connection = ServiceBusConnection::parse(KEYED).unwrap();
        assert_eq!(connection.origin(), "https://ns.servicebus.windows.net");
        assert_eq!(connection.entity_path(), None);
        assert_eq!(connection.key_name(), Some("RootManageSharedAccessKey"));
        let ServiceBusCredential::Key { key, .. } = connection.credential() else { panic!("a key") };
        assert_eq!(key.expose(), "abc=");
    }

    #[test]
    fn a_queue_with_a_ready_made_token() {
        let connection = ServiceBusConnection::parse(READY).unwrap();
        assert_eq!(connection.entity_path(), Some("q"));
        assert_eq!(connection.token_expires_at(), Some(UnixTime(1_795_174_201)));
        let without_scheme = READY.replace("=SharedAccessSignature sr", "=sr");
        assert_eq!(ServiceBusConnection::parse(&without_scheme).unwrap(), connection);
    }

    #[test]
    fn the_emulator_speaks_plain_http_on_its_port() {
        for endpoint in ["sb://127.0.0.1:7001;UseDevelopmentEmulator=true", "http://127.0.0.1:7001/"] {
            let text = format!("Endpoint={endpoint};SharedAccessKeyName=k;SharedAccessKey=SAS_KEY_VALUE");
            let connection = ServiceBusConnection::parse(&text).unwrap();
            assert_eq!(connection.origin(), "http://127.0.0.1:7001");
            assert_eq!(ServiceBusConnection::parse(&connection.expose()).unwrap(), connection);
        }
    }

    #[test]
    fn quotes_of_an_env_file_are_forgiven() {
        let plain = ServiceBusConnection::parse(KEYED).unwrap();
        for text in [format!("\"{KEYED}\""), format!(" '{KEYED}'\n"), format!("\" {KEYED};\"")] {
            assert_eq!(ServiceBusConnection::parse(&text), Ok(plain.clone()));
        }
    }

    #[test]
    fn what_is_exposed_parses_to_the_same() {
        for text in [KEYED, READY] {
            let connection = ServiceBusConnection::parse(text).unwrap();
            assert_eq!(ServiceBusConnection::parse(&connection.expose()), Ok(connection));
        }
    }

    #[test]
    fn an_error_names_the_key() {
        let cases = [
            ("SharedAccessKeyName=k;SharedAccessKey=s3cret", "Endpoint is missing"),
            ("Endpoint=ns;SharedAccessKeyName=k;SharedAccessKey=s3cret", "Endpoint is not valid"),
            ("Endpoint=amqps://ns;SharedAccessKeyName=k;SharedAccessKey=s3cret", "Endpoint is not valid"),
            ("Endpoint=sb://ns/path;SharedAccessKeyName=k;SharedAccessKey=s3cret", "Endpoint is not valid"),
            ("Endpoint=sb://ns;SharedAccessKey=s3cret", "SharedAccessKeyName is missing"),
            ("Endpoint=sb://ns;SharedAccessKeyName=k", "SharedAccessKey is missing"),
            ("Endpoint=sb://ns;SharedAccessKeyName=k;SharedAccessKey=", "SharedAccessKey is missing"),
            ("Endpoint=sb://ns;SharedAccessSignature=s3cret", "SharedAccessSignature is not valid"),
            ("Endpoint=sb://ns;SharedAccessSignature=Bearer s3cret", "SharedAccessSignature is not valid"),
            (
                "Endpoint=sb://ns;SharedAccessSignature=x;SharedAccessKey=s3cret",
                "SharedAccessKey and SharedAccessSignature",
            ),
            (
                "Endpoint=sb://ns;SharedAccessKeyName=k;SharedAccessKey=s3cret;UseDevelopmentEmulator=s3cret",
                "UseDevelopmentEmulator is not",
            ),
        ];
        for (text, expected) in cases {
            let error = ServiceBusConnection::parse(text).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
