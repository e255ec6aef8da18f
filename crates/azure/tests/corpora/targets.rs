//! Fuzz targets: functions of bytes that panic when a promise is broken.

use std::time::Duration;

use oncebus_azure::blob::BlobContainer;
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_azure::sas::blob::Permissions;
use oncebus_azure::servicebus::ServiceBus;
use oncebus_core::time::UnixTime;

const NOW: UnixTime = UnixTime(1_795_000_000);

/// A connection string of either service: what it exposes reads the same again, what it shows has no secret, and
/// requests can be made with it.
pub(crate) fn connection_strings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match ServiceBusConnection::parse(text) {
        Ok(connection) => service_bus(&connection),
        Err(error) => no_secret(text, &error),
    }
    match StorageConnection::parse(text) {
        Ok(connection) => storage(&connection),
        Err(error) => no_secret(text, &error),
    }
}

fn service_bus(connection: &ServiceBusConnection) {
    let exposed = connection.expose();
    assert_eq!(ServiceBusConnection::parse(&exposed).as_ref(), Ok(connection), "{exposed}");
    no_secret(&exposed, connection);
    let _ = connection.token_expires_at();
    let request = ServiceBus::new(connection, NOW, Duration::from_secs(60)).peek_lock("a queue/%", 5);
    assert!(request.uri().to_string().starts_with(connection.origin()), "{} at {}", request.uri(), connection.origin());
    assert!(request.headers().contains_key("authorization"));
}

fn storage(connection: &StorageConnection) {
    let exposed = connection.expose();
    assert_eq!(StorageConnection::parse(&exposed).as_ref(), Ok(connection), "{exposed}");
    no_secret(&exposed, connection);
    let _ = connection.sas_expires_at();
    let narrow = connection.with_container_sas("records", Permissions::RECORDS, UnixTime(NOW.0 + 60));
    assert!(!narrow.has_account_key());
    assert_eq!(StorageConnection::parse(&narrow.expose()), Ok(narrow));
    let request = BlobContainer::new(connection, "records", NOW, Duration::from_secs(60)).head("a blob/%");
    assert!(request.uri().to_string().starts_with(connection.origin()), "{} at {}", request.uri(), connection.origin());
}

/// What is shown of a connection string has none of the values that open something. Short ones, and
/// those that are part of another value too, may stand there by chance.
fn no_secret(text: &str, shown: &impl std::fmt::Debug) {
    let shown = format!("{shown:?}");
    for pair in text.split(';') {
        let Some((key, value)) = pair.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        let opens = ["SharedAccessKey", "AccountKey", "SharedAccessSignature"];
        if opens.iter().any(|name| name.eq_ignore_ascii_case(key))
            && value.len() > 40
            && text.matches(value).count() == 1
        {
            assert!(!shown.contains(value), "a secret shows");
        }
    }
}
