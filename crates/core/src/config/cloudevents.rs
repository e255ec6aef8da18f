//! `[cloudevents]`: who may deliver events here.

use serde_json::{Map, Value};

use super::ConfigError;
use super::reader::{Reader, default_number, expected};
use super::settings;

/// Whose events are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEventsConfig {
    /// See [`settings::ALLOWED_ORIGINS`].
    pub allowed_origins: Vec<String>,
    /// See [`settings::REQUESTS_PER_MINUTE`]. 0: any rate.
    pub requests_per_minute: u64,
}

impl CloudEventsConfig {
    pub(super) fn parse(table: Option<&Map<String, Value>>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new("cloudevents", table);
        let origins = reader.text(&settings::ALLOWED_ORIGINS)?.unwrap_or_default();
        let rate = reader.number(&settings::REQUESTS_PER_MINUTE)?;
        reader.finish()?;
        let allowed_origins: Vec<String> =
            origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        // An origin is a name, as of a host: whoever writes a URL means something else.
        if let Some(wrong) = allowed_origins.iter().find(|origin| origin.contains(['/', ' ', ':'])) {
            let expected = expected(&settings::ALLOWED_ORIGINS);
            let problem = format!("expected {expected}, as in \"eventgrid.azure.net\", found {wrong:?}");
            return Err(ConfigError::new("cloudevents.allowed_origins", problem));
        }
        let requests_per_minute = rate.unwrap_or_else(|| default_number(&settings::REQUESTS_PER_MINUTE));
        Ok(Self { allowed_origins, requests_per_minute })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn origins_are_names_with_commas_between_them() {
        let parse = |lines: &str| Config::parse(&format!("[queues.a]\n[cloudevents]\n{lines}"));
        let config = parse("allowed_origins = 'eventgrid.azure.net, other.example'\nrequests_per_minute = 60").unwrap();
        assert_eq!(config.cloudevents.allowed_origins, ["eventgrid.azure.net", "other.example"]);
        assert_eq!(config.cloudevents.requests_per_minute, 60);
        assert!(parse("").unwrap().cloudevents.allowed_origins.is_empty());
        let error = parse("allowed_origins = 'https://eventgrid.azure.net'").unwrap_err();
        assert_eq!(error.key, "cloudevents.allowed_origins");
    }
}
