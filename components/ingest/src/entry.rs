//! What Spin calls: the variables read, a request taken apart, the answer handed over.

use http::Response;
use oncebus_azure::connection::{ConnectionStringError, ServiceBusConnection, StorageConnection};
use oncebus_core::config::{ConfigError, settings};
use oncebus_core::ingest::head::Head;
use oncebus_core::secret::Secret;
use oncebus_runtime::component::{config, optional, required};
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

fn read_settings() -> Result<Settings, ConfigError> {
    let service_bus = ServiceBusConnection::parse(&required(&settings::SERVICEBUS_SEND)?);
    let storage = StorageConnection::parse(&required(&settings::STORAGE)?);
    Ok(Settings {
        config: config()?,
        service_bus: service_bus.map_err(|error| connection(&settings::SERVICEBUS_SEND, &error))?,
        storage: storage.map_err(|error| connection(&settings::STORAGE, &error))?,
        twilio_auth_token: optional(&settings::TWILIO_AUTH_TOKEN)?.map(Secret::new),
    })
}

fn connection(setting: &settings::Setting, error: &ConnectionStringError) -> ConfigError {
    ConfigError::new(setting.key, error.to_string())
}
