//! The secrets of webhooks: where they come from, and which webhooks lack theirs.
//!
//! They are the Spin variables that the configuration names, from the environment as Spin would take them (`SPIN_VARIABLE_NAME`). `up` reads
//! them too, so that it can say what is missing, and so that an app which runs elsewhere finds them in its env file.

use std::collections::BTreeMap;

use oncebus_core::config::{Config, settings};
use oncebus_core::secret::Secret;

use crate::secrets::TWILIO_AUTH_TOKEN;

/// The secrets that the configuration names, as far as `environment` has them; Twilio's also under the name that its own tools use.
pub(super) fn secrets(config: &Config, environment: impl Fn(&str) -> Option<Secret>) -> BTreeMap<String, Secret> {
    let names = config.webhooks.values().flat_map(|webhook| &webhook.secrets);
    let found = names.filter_map(|name| {
        let twilio = || (name == settings::TWILIO_AUTH_TOKEN.key).then(|| environment(TWILIO_AUTH_TOKEN)).flatten();
        Some((name.clone(), environment(&variable(name)).or_else(twilio)?))
    });
    found.collect()
}

/// Each webhook, and where it is reached, or what it takes to reach it.
pub(super) fn places<'a>(
    config: &'a Config,
    secrets: &'a BTreeMap<String, Secret>,
    app_url: &'a str,
) -> impl Iterator<Item = (&'static str, String)> + 'a {
    config.webhooks.values().map(move |webhook| {
        let place = if webhook.secrets.iter().any(|name| secrets.contains_key(name)) {
            format!("{app_url}/webhooks/{}", webhook.name)
        } else {
            let variables: Vec<String> = webhook.secrets.iter().map(|name| variable(name)).collect();
            format!("{} is refused: its secret is to be in {}", webhook.name, variables.join(" or "))
        };
        ("webhook", place)
    })
}

/// Where Spin finds a variable in the environment.
fn variable(name: &str) -> String {
    format!("SPIN_VARIABLE_{}", name.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_the_environment_and_what_lacks_one_is_named() {
        let document = "[queues.q]\n[webhooks.twilio]\nqueue = \"q\"\n[webhooks.code]\nkind = \"github\"\nqueue = \"q\"\nsecrets = [\"a\", \"b_c\"]\n[webhooks.slack]\nqueue = \"q\"";
        let config = Config::parse(document).unwrap();
        let environment =
            BTreeMap::from([("TWILIO_AUTH_TOKEN", "t"), ("SPIN_VARIABLE_B_C", "s"), ("SPIN_VARIABLE_D", "d")]);
        let secrets = secrets(&config, |name| environment.get(name).map(|value| Secret::new(*value)));
        let found: Vec<(&str, &str)> = secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
        assert_eq!(found, [("b_c", "s"), ("twilio_auth_token", "t")]);
        let places: Vec<String> = places(&config, &secrets, "http://h").map(|(_, place)| place).collect();
        let expected = [
            "http://h/webhooks/code",
            "slack is refused: its secret is to be in SPIN_VARIABLE_SLACK_SIGNING_SECRET",
            "http://h/webhooks/twilio",
        ];
        assert_eq!(places, expected);
        let both = super::secrets(&config, |name| name.contains("TWILIO").then(|| Secret::new(name)));
        assert_eq!(both["twilio_auth_token"].expose(), "SPIN_VARIABLE_TWILIO_AUTH_TOKEN");
    }
}
