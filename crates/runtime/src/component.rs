//! What both components share: their settings out of Spin variables, and problems as responses.

use http::{HeaderValue, Response, header};
use oncebus_core::config::{Config, ConfigError, settings};
use oncebus_core::problem::{CONTENT_TYPE, Kind, Problem};
use spin_sdk::variables;

/// A variable that must be set.
///
/// # Errors
/// The configuration error that names it.
pub fn required(setting: &settings::Setting) -> Result<String, ConfigError> {
    optional(setting)?.ok_or_else(|| ConfigError::new(setting.key, "expected a value, found none"))
}

/// A variable that may be absent; empty counts as absent.
///
/// # Errors
/// When the platform cannot say.
pub fn optional(setting: &settings::Setting) -> Result<Option<String>, ConfigError> {
    named(setting.key)
}

/// A variable that the configuration names; absent or empty is `None`.
///
/// # Errors
/// When the platform cannot say.
pub fn named(name: &str) -> Result<Option<String>, ConfigError> {
    match variables::get(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(variables::Error::Undefined(_)) => Ok(None),
        // The provider's own words may carry the value.
        Err(_) => Err(ConfigError::new(name, "the variable cannot be read")),
    }
}

/// The configuration that the variables carry.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn config() -> Result<Config, ConfigError> {
    let config = Config::parse(&required(&settings::CONFIG_VARIABLE)?)?;
    let public_url = optional(&settings::PUBLIC_URL_VARIABLE)?;
    config.with_public_url(public_url.as_deref().unwrap_or_default())
}

/// A configuration error as a problem.
#[must_use]
pub fn misconfigured(error: &ConfigError) -> Problem {
    Problem::new(Kind::Configuration, error.to_string()).with("key", error.key.as_str())
}

/// A problem as a response. With its length, so that it is sent in one piece.
#[must_use]
pub fn problem_response(problem: &Problem) -> Response<Vec<u8>> {
    let mut response = Response::new(problem.to_json().to_string().into_bytes());
    *response.status_mut() =
        http::StatusCode::from_u16(problem.kind.status()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let length = HeaderValue::from(response.body().len());
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if let Some(seconds) = problem.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.kind == Kind::Unauthorized {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
