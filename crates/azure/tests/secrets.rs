//! Nothing that is printed contains a secret, in any of the forms in which it travels.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fmt::Debug;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::Response;
use oncebus_azure::blob::{self, BlobContainer, Metadata};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_azure::describe;
use oncebus_azure::sas::blob::Permissions;
use oncebus_azure::servicebus::{self, ServiceBus};
use oncebus_core::message::Outgoing;
use oncebus_core::time::UnixTime;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A Service Bus key, a token's signature, an account key in base64, a SAS's signature. All hold what encoding changes.
const BUS_KEY: &str = "B+us/Key1=";
const TOKEN_SIGNATURE: &str = "T+oken/Sig2=";
const ACCOUNT_KEY: &str = "QWNj+3VudC9LZXkz";
const SAS_SIGNATURE: &str = "S+as/Sig4=";

const NOW: UnixTime = UnixTime(1_795_174_201);
const HOUR: Duration = Duration::from_secs(3600);

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Raw, percent-encoded, in base64, and out of base64.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), encoded(secret), BASE64.encode(secret)];
    if let Ok(bytes) = BASE64.decode(secret) {
        forms.push(format!("{bytes:?}"));
        forms.push(hex::encode(&bytes));
        forms.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    let lower: Vec<String> = forms.iter().map(|form| form.to_lowercase()).collect();
    forms.extend(lower);
    forms
}

/// What a request carries as its secret: the signature that was made for it.
fn signature_in(text: &str) -> String {
    let (_, rest) = text.split_once("sig=").unwrap();
    let signature = rest.split('&').next().unwrap();
    percent_encoding::percent_decode_str(signature).decode_utf8().unwrap().into_owned()
}

struct Printed(Vec<String>);

impl Printed {
    fn add(&mut self, value: &(impl Debug + ?Sized)) {
        self.0.push(format!("{value:?}"));
        self.0.push(format!("{value:#?}"));
    }

    fn add_error(&mut self, error: &impl std::error::Error) {
        self.add(error);
        self.0.push(error.to_string());
    }
}

#[test]
fn what_is_printed_holds_no_secret() {
    let mut printed = Printed(Vec::new());
    let mut secrets: Vec<String> = [BUS_KEY, TOKEN_SIGNATURE, ACCOUNT_KEY, SAS_SIGNATURE].map(str::to_owned).into();

    let buses = [
        format!("Endpoint=sb://ns;SharedAccessKeyName=k;SharedAccessKey={BUS_KEY}"),
        format!(
            "Endpoint=sb://ns;SharedAccessSignature=SharedAccessSignature sr=ns&sig={}&se=1&skn=k",
            encoded(TOKEN_SIGNATURE)
        ),
    ];
    for text in &buses {
        let connection = ServiceBusConnection::parse(text).unwrap();
        assert!(connection.expose().contains(BUS_KEY) || connection.expose().contains(&encoded(TOKEN_SIGNATURE)));
        let bus = ServiceBus::new(&connection, NOW, HOUR);
        let request = bus.send("q", &Outgoing::default()).unwrap();
        let token = request.headers()["authorization"].to_str().unwrap();
        secrets.push(signature_in(token));
        printed.add(&connection);
        printed.add(&bus);
        printed.add(&request);
        printed.add(request.headers());
        printed.0.push(describe(&request));
    }

    let storages = [
        format!("AccountName=acc;AccountKey={ACCOUNT_KEY}"),
        format!(
            "BlobEndpoint=https://acc.blob.core.windows.net;SharedAccessSignature=sv=1&sig={}",
            encoded(SAS_SIGNATURE)
        ),
    ];
    for text in &storages {
        let connection = StorageConnection::parse(text).unwrap();
        let narrow = connection.with_container_sas("c", Permissions::RECORDS, NOW);
        let container = BlobContainer::new(&connection, "c", NOW, HOUR);
        let request = container.create("b", &Metadata::new());
        secrets.push(signature_in(&narrow.expose()));
        secrets.push(signature_in(request.uri().query().unwrap()));
        printed.add(&connection);
        printed.add(&narrow);
        printed.add(&container);
        printed.add(request.headers());
        printed.0.push(describe(&request));
        let create = blob::create_container(&connection, "c", NOW);
        if let Some(header) = create.headers().get("authorization") {
            secrets.push(header.to_str().unwrap().rsplit(':').next().unwrap().to_owned());
        }
        printed.add(create.headers());
        printed.0.push(describe(&create));
    }

    // Refused connection strings, each with a fault that is not the secret's.
    for text in buses.iter().chain(&storages) {
        for broken in
            [format!("{text};{BUS_KEY}"), text.replace("://", ":"), format!("{text};{text}"), text.replace('k', "")]
        {
            if let Err(error) = ServiceBusConnection::parse(&broken) {
                printed.add_error(&error);
            }
            if let Err(error) = StorageConnection::parse(&broken) {
                printed.add_error(&error);
            }
        }
    }

    // Answers of something in between that repeats what it was sent.
    for status in [200, 201, 400, 401, 403, 404, 409, 500, 503] {
        for secret in &secrets {
            for echo in [
                format!("SharedAccessSignature sr=ns&sig={}&se=1", encoded(secret)),
                format!("GET /c/b?sv=1&sig={} refused", encoded(secret)),
                format!("Authorization: SharedKey acc:{secret}"),
                format!("<Error><Code>sig={secret}</Code><Detail>SharedAccessKey={secret};</Detail></Error>"),
                format!("AccountKey={secret};EndpointSuffix=x"),
            ] {
                let answer = || Response::builder().status(status).body(Bytes::from(echo.clone())).unwrap();
                for result in [servicebus::parse_sent(answer()), servicebus::parse_settled(answer())] {
                    if let Err(error) = result {
                        printed.add_error(&error);
                    }
                }
                if let Err(error) = servicebus::parse_peek_lock(answer()) {
                    printed.add_error(&error);
                }
                if let Err(error) = blob::parse_create(answer()) {
                    printed.add_error(&error);
                }
                if let Err(error) = blob::parse_write(answer()) {
                    printed.add_error(&error);
                }
            }
        }
    }

    assert!(printed.0.len() > 500, "only {} texts were looked at", printed.0.len());
    for secret in &secrets {
        for form in forms(secret) {
            if let Some(text) = printed.0.iter().find(|text| text.contains(&form)) {
                panic!("{form} is printed in: {text}");
            }
        }
    }
}
