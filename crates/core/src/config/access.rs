//! `[access]` and `[[access.keys]]`: who may send and ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use super::queue::is_name;
use super::reader::{Reader, default_number};
use super::settings::{self, Setting};
use super::{ConfigError, QueueConfig};
use crate::ingest::access::signature::{Policy, Signer};
use crate::ingest::access::{Access, ApiKey, Digest, Grant};

/// The secrets of signatures lie there, where nothing else is said.
const DEFAULT_VARIABLE: &str = settings::ACCESS_SECRET.key;

pub(super) fn parse(
    table: Option<&Map<String, Value>>,
    queues: &BTreeMap<String, QueueConfig>,
) -> Result<Access, ConfigError> {
    let mut reader = Reader::new("access", table);
    let mode = reader.text(&settings::ACCESS_MODE)?.unwrap_or("none");
    let tolerance = reader.number(&settings::ACCESS_TOLERANCE)?;
    let tolerance = tolerance.unwrap_or_else(|| default_number(&settings::ACCESS_TOLERANCE));
    let mut keys = Vec::new();
    for (at, table) in reader.tables("keys")?.enumerate() {
        let path = format!("access.keys[{at}]");
        let table = table.as_object().ok_or_else(|| ConfigError::new(&path, "expected a table"))?;
        keys.push(Key { reader: Reader::new(path, Some(table)), queues });
    }
    let access = match mode {
        "none" if keys.is_empty() => Access::Open,
        // Keys that open nothing are a mistake, and the other way round it would be a worse one.
        "none" => return Err(ConfigError::new("access.mode", "expected `keys` or `hmac`, for there are access.keys")),
        "keys" => Access::Keys(distinct(keys.into_iter().map(Key::api_key), |key| &key.grant)?),
        "hmac" => {
            let signers = distinct(keys.into_iter().map(Key::signer), |signer| &signer.grant)?;
            Access::Signatures(Policy { signers, tolerance: Duration::from_secs(tolerance) })
        }
        other => return Err(reader.wrong(&settings::ACCESS_MODE, &format!("{other:?}"))),
    };
    reader.finish()?;
    let mut digests = BTreeSet::new();
    match &access {
        Access::Keys(keys) if keys.iter().any(|key| !digests.insert(key.sha256.0)) => {
            Err(ConfigError::new("access.keys", "two keys have the same sha256"))
        }
        _ => Ok(access),
    }
}

/// All of them, at least one, and each under a name of its own.
fn distinct<T>(
    keys: impl Iterator<Item = Result<T, ConfigError>>,
    grant: impl Fn(&T) -> &Grant,
) -> Result<Vec<T>, ConfigError> {
    let keys: Vec<T> = keys.collect::<Result<_, _>>()?;
    let mut names = BTreeSet::new();
    if keys.is_empty() {
        return Err(ConfigError::new("access.keys", "expected at least one key, as in [[access.keys]]"));
    }
    match keys.iter().map(grant).find(|grant| !names.insert(grant.name.as_str())) {
        Some(twice) => Err(ConfigError::new("access.keys", format!("two keys have the name {:?}", twice.name))),
        None => Ok(keys),
    }
}

/// One of `[[access.keys]]`.
struct Key<'a> {
    reader: Reader<'a>,
    queues: &'a BTreeMap<String, QueueConfig>,
}

impl Key<'_> {
    fn api_key(mut self) -> Result<ApiKey, ConfigError> {
        let grant = self.grant()?;
        let text = self.required(&settings::ACCESS_KEY_SHA256)?;
        // What stands here by mistake may be the key itself: it is not repeated.
        let wrong = || self.reader.wrong(&settings::ACCESS_KEY_SHA256, "something else");
        let sha256 = Digest::parse(text).ok_or_else(wrong)?;
        self.reader.finish()?;
        Ok(ApiKey { grant, sha256 })
    }

    fn signer(mut self) -> Result<Signer, ConfigError> {
        let grant = self.grant()?;
        let variable = self.reader.text(&settings::ACCESS_KEY_VARIABLE)?.unwrap_or(DEFAULT_VARIABLE);
        let word = variable.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !word || !variable.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(self.reader.wrong(&settings::ACCESS_KEY_VARIABLE, &format!("{variable:?}")));
        }
        let variable = variable.to_owned();
        self.reader.finish()?;
        Ok(Signer { grant, variable })
    }

    fn grant(&mut self) -> Result<Grant, ConfigError> {
        let name = self.required(&settings::ACCESS_KEY_NAME)?;
        if !is_name(name) {
            return Err(self.reader.wrong(&settings::ACCESS_KEY_NAME, &format!("{name:?}")));
        }
        let queues = self.reader.texts(&settings::ACCESS_KEY_QUEUES)?;
        if let Some(unknown) = queues.iter().flatten().find(|name| !self.queues.contains_key(**name)) {
            return Err(self.reader.wrong(&settings::ACCESS_KEY_QUEUES, &format!("{unknown:?}")));
        }
        let queues = queues.map(|queues| queues.into_iter().map(str::to_owned).collect());
        Ok(Grant { name: name.to_owned(), queues })
    }
}

impl<'a> Key<'a> {
    fn required(&mut self, setting: &Setting) -> Result<&'a str, ConfigError> {
        self.reader.text(setting)?.ok_or_else(|| self.reader.missing(setting))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn access(lines: &str) -> Result<Access, String> {
        let document = format!("[queues.orders]\n{lines}");
        Config::parse(&document).map(|config| config.access).map_err(|error| error.to_string())
    }

    const SHA: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

    #[test]
    fn access_is_open_unless_it_is_said() {
        assert_eq!(access(""), Ok(Access::Open));
        assert_eq!(access("[access]\nmode = 'none'"), Ok(Access::Open));
    }

    #[test]
    fn keys_have_names_and_may_have_queues() {
        let lines =
            format!("[access]\nmode = 'keys'\n[[access.keys]]\nname = 'shop'\nsha256 = '{SHA}'\nqueues = ['orders']");
        let grant = Grant { name: "shop".into(), queues: Some(vec!["orders".into()]) };
        let expected = Access::Keys(vec![ApiKey { grant, sha256: Digest::parse(SHA).unwrap() }]);
        assert_eq!(access(&lines), Ok(expected));
    }

    #[test]
    fn signers_have_names_and_variables() {
        let lines = "[access]\nmode = 'hmac'\ntolerance_seconds = 60\n[[access.keys]]\nname = 'a'\n[[access.keys]]\nname = 'b'\nsecret_variable = 'b_secret'";
        let Ok(Access::Signatures(policy)) = access(lines) else { panic!("signatures") };
        let variables: Vec<&str> = policy.signers.iter().map(|signer| signer.variable.as_str()).collect();
        assert_eq!((variables, policy.tolerance), (vec!["access_secret", "b_secret"], Duration::from_secs(60)));
    }

    #[test]
    fn what_would_leave_the_door_open_or_shut_is_refused() {
        let key = |name: &str| format!("[[access.keys]]\nname = '{name}'\nsha256 = '{SHA}'\n");
        for (lines, expected) in [
            ("[access]\nmode = 'open'".to_owned(), "access.mode: expected `none`, `keys` or `hmac`, found \"open\""),
            (key("a"), "access.mode: expected `keys` or `hmac`, for there are access.keys"),
            ("[access]\nmode = 'keys'".to_owned(), "access.keys: expected at least one key, as in [[access.keys]]"),
            (format!("[access]\nmode = 'keys'\n{}{}", key("a"), key("a")), "access.keys: two keys have the name \"a\""),
            (
                format!("[access]\nmode = 'keys'\n{}{}", key("a"), key("b")),
                "access.keys: two keys have the same sha256",
            ),
            (
                "[access]\nmode = 'keys'\n[[access.keys]]\nname = 'a'\nsha256 = 'the-key'".to_owned(),
                "access.keys[0].sha256: expected 64 hex digits, unlike those of any other key, found something else",
            ),
            (
                "[access]\nmode = 'hmac'\n[[access.keys]]\nname = 'a'\nsecret_variable = 'A'".to_owned(),
                "access.keys[0].secret_variable: expected the name of a Spin variable: a-z, 0-9 and underscore, found \"A\"",
            ),
            (
                format!("[access]\nmode = 'keys'\n{}queues = ['nope']", key("a")),
                "access.keys[0].queues: expected a list of configured queues, found \"nope\"",
            ),
            (
                format!("[access]\nmode = 'hmac'\n{}", key("a")),
                "access.keys[0].sha256: no such setting; docs/CONFIGURATION.md lists all of them",
            ),
        ] {
            assert_eq!(access(&lines), Err(format!("configuration: {expected}")), "{lines}");
        }
        assert!(
            access(&format!("[access]\nmode = 'keys'\n{}", key("a:b"))).unwrap_err().contains("access.keys[0].name")
        );
    }
}
