//! Replays one source against an emulator of its own.

use hyper::ext::ReasonPhrase;
use oncebus_emulator::{Emulator, Options, Tier};
use reqwest::{Client, Method};

use crate::exchange::{Answer, Exchange};
use crate::normalise::normalise;
use crate::support::token;

/// Request headers that belong to the recorder's connection, not to the request.
const OF_THE_CONNECTION: [&str; 4] = ["connection", "content-length", "accept-encoding", "host"];

/// Makes every request in order; says for each what is different, if anything is.
pub(crate) async fn replay(exchanges: &[Exchange]) -> Vec<(&Exchange, Option<String>)> {
    let compared = given(exchanges).await.into_iter().map(|(exchange, given)| {
        let old = exchange.source.starts_with("python-legacy");
        (exchange, difference(&normalise(&exchange.answer(), old), &normalise(&given, old)))
    });
    compared.collect()
}

/// Makes every request in order, and gives the answers.
pub(crate) async fn given(exchanges: &[Exchange]) -> Vec<(&Exchange, Answer)> {
    let premium = exchanges.iter().any(|exchange| exchange.source.contains("premium"));
    let tier = if premium { Tier::Premium } else { Tier::Standard };
    let emulator = Emulator::start(Options { tier, ..Options::default() }).await.expect("an emulator");
    let http = Client::builder().no_proxy().build().expect("a client");
    // Lock tokens: the recorded one, and the one that the emulator gave in its place.
    let mut tokens: Vec<(String, String)> = Vec::new();
    let mut answers = Vec::new();
    for exchange in exchanges {
        let given = call(&http, &emulator.service_bus_url(), exchange, &tokens).await;
        let lock =
            |answer: &Answer| answer.headers.get("location").and_then(|l| Some(l.rsplit_once('/')?.1.to_owned()));
        tokens.extend(lock(&exchange.answer()).zip(lock(&given)));
        answers.push((exchange, given));
    }
    emulator.shutdown().await;
    answers
}

async fn call(http: &Client, base: &str, exchange: &Exchange, tokens: &[(String, String)]) -> Answer {
    let (host, path) = exchange.place();
    let path = tokens.iter().fold(path.to_owned(), |path, (recorded, given)| path.replace(recorded, given));
    // Nothing comes while a client waits here, so it need not wait long; and a call without a timeout,
    // as of 2014, would wait for a minute.
    let path = path.replace("timeout=5", "timeout=1");
    let path = match path.to_lowercase().contains("/head") && !path.contains("timeout=") {
        true if path.contains('?') => format!("{path}&timeout=0"),
        true => format!("{path}?timeout=0"),
        false => path,
    };
    let method = Method::from_bytes(exchange.method.as_bytes()).expect("a method");
    let mut request = http.request(method, format!("{base}{path}")).header("host", host);
    for (name, value) in exchange.req_headers.iter().flatten() {
        if name.to_lowercase().ends_with("supplementaryauthorization") {
            // Signatures are not in the recordings.
            let token = token(&format!("sb://{host}/"), "RootManageSharedAccessKey", "SAS_KEY_VALUE", 3600);
            request = request.header(name, token);
        } else if !OF_THE_CONNECTION.contains(&name.to_lowercase().as_str()) {
            request = request.header(name, value);
        }
    }
    let token = token(&format!("http://{host}/"), "RootManageSharedAccessKey", "SAS_KEY_VALUE", 3600);
    let response =
        request.header("authorization", token).body(exchange.request_body()).send().await.expect("an answer");
    let status = response.status();
    let reason = match response.extensions().get::<ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
        None => status.canonical_reason().unwrap_or_default().to_owned(),
    };
    let headers = response.headers().iter();
    let headers = headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    let body = response.bytes().await.expect("a body").to_vec();
    Answer { status: status.as_u16(), reason: Some(reason), headers, body }
}

/// What differs, line by line; nothing when the answers are equal.
pub(crate) fn difference(recorded: &Answer, given: &Answer) -> Option<String> {
    let mut lines = Vec::new();
    let mut differ = |what: &str, recorded: &str, given: &str| {
        if recorded != given {
            lines.push(format!("  {what}\n    recorded: {recorded}\n    given:    {given}"));
        }
    };
    differ("status", &recorded.status.to_string(), &given.status.to_string());
    if let Some(reason) = &recorded.reason {
        differ("reason", reason, given.reason.as_deref().unwrap_or_default());
    }
    let names =
        recorded.headers.keys().chain(given.headers.keys().filter(|name| !recorded.headers.contains_key(*name)));
    for name in names {
        let value = |answer: &Answer| answer.headers.get(name).map_or("absent".to_owned(), |value| format!("={value}"));
        differ(name, &value(recorded), &value(given));
    }
    let same = recorded.body.iter().zip(&given.body).take_while(|(one, other)| one == other).count();
    let from =
        |body: &[u8]| String::from_utf8_lossy(&body[same.saturating_sub(40)..]).chars().take(200).collect::<String>();
    if recorded.body != given.body {
        differ("body, where it differs", &from(&recorded.body), &from(&given.body));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
