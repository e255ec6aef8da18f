//! What Spin calls: the variables read, a request taken apart, the answer handed over.

use std::collections::BTreeMap;

use http::Response;
use oncebus_azure::connection::{ConnectionStringError, ServiceBusConnection, StorageConnection};
use oncebus_core::config::{ConfigError, settings};
use oncebus_core::ingest::access::Access;
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::route::Route;
use oncebus_core::secret::Secret;
use oncebus_runtime::component::{config, named, required};
use oncebus_runtime::platform::spin::Spin;
use spin_sdk::http::IncomingRequest;
use spin_sdk::http_component;

use crate::serve::{Settings, serve};

#[http_component]
async fn handle(request: IncomingRequest) -> Response<Vec<u8>> {
    let head = Head {
        method: request.method().to_string(),
        target: request.path_with_query().unwrap_or_default(),
        headers: request.headers().entries(),
    };
    serve(&Spin, read_settings, &head, request.into_body_stream()).await
}

fn read_settings(route: &Route) -> Result<Settings, ConfigError> {
    let config = config()?;
    let webhook = if let Route::Webhook { name } = route { config.webhooks.get(name) } else { None };
    // Only those of this request: a provider of variables may be a service of its own, which is asked for each.
    let secrets = webhook.into_iter().flat_map(|webhook| &webhook.secrets);
    let secrets = secrets.filter_map(|name| named(name).transpose().map(|value| value.map(Secret::new)));
    let service_bus = ServiceBusConnection::parse(&required(&settings::SERVICEBUS_SEND)?);
    let storage = StorageConnection::parse(&required(&settings::STORAGE)?);
    Ok(Settings {
        access_secrets: access_secrets(&config.access)?,
        webhook_secrets: secrets.collect::<Result<_, _>>()?,
        service_bus: service_bus.map_err(|error| connection(&settings::SERVICEBUS_SEND, &error))?,
        storage: storage.map_err(|error| connection(&settings::STORAGE, &error))?,
        config,
    })
}

/// The secrets of those who sign, by the names of their variables; none where nobody does.
fn access_secrets(access: &Access) -> Result<BTreeMap<String, Secret>, ConfigError> {
    let Access::Signatures(policy) = access else { return Ok(BTreeMap::new()) };
    let mut secrets = BTreeMap::new();
    for signer in &policy.signers {
        if let Some(secret) = named(&signer.variable)? {
            secrets.insert(signer.variable.clone(), Secret::new(secret));
        }
    }
    Ok(secrets)
}

fn connection(setting: &settings::Setting, error: &ConnectionStringError) -> ConfigError {
    ConfigError::new(setting.key, error.to_string())
}
