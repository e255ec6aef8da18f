//! Secrets come from the environment or from files, never from the command line, which everybody on the machine sees.

use oncebus_core::secret::Secret;
use oncebus_runtime::platform::Entropy;

/// The bearer secret of the run endpoint.
pub(crate) const RUN_TOKEN: &str = "ONCEBUS_RUN_TOKEN";
/// What clients sign their requests with.
pub(crate) const ACCESS_SECRET: &str = "ONCEBUS_ACCESS_SECRET";
/// The auth token of the Twilio account.
pub(crate) const TWILIO_AUTH_TOKEN: &str = "TWILIO_AUTH_TOKEN";

/// The value of an environment variable; empty counts as none.
pub(crate) fn from_environment(name: &str) -> Option<Secret> {
    std::env::var(name).ok().map(Secret::new).filter(|secret| !secret.is_empty())
}

/// 128 random bits as 32 hex digits: safe in headers, shells and files as they are.
pub(crate) fn random(entropy: &impl Entropy) -> Secret {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    Secret::new(hex::encode(bytes))
}
