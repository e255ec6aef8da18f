//! TLS beside plain HTTP: whom it lets in, whom it does not, and what it does with those who speak none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use std::time::Duration;

use oncebus_emulator::{Certificate, Emulator, Limits, Options, StartError, Tls};
use reqwest::Method;
use support::{Blobs, Bus};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

async fn start(limits: Limits) -> Emulator {
    let options = Options {
        queues: vec!["q".into()],
        containers: vec!["records".to_owned()],
        tls: Some(Tls::default()),
        limits,
        ..Options::default()
    };
    Emulator::start(options).await.unwrap()
}

/// A client that trusts this emulator's authority, and nobody else.
fn trusting(emulator: &Emulator) -> reqwest::Client {
    let authority = reqwest::Certificate::from_pem(emulator.authority().unwrap().as_bytes()).unwrap();
    let builder = reqwest::Client::builder().no_proxy().tls_built_in_root_certs(false);
    builder.add_root_certificate(authority).build().unwrap()
}

fn address(url: &str) -> String {
    url.trim_start_matches("https://").split('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_trusts_the_certificate_speaks_tls_and_plain_at_once() {
    let emulator = start(Limits::default()).await;
    let url = emulator.service_bus_tls_url().unwrap();
    let secure = Bus { http: trusting(&emulator), ..Bus::new(&url) };
    let plain = Bus::new(&emulator.service_bus_url());
    assert_eq!(secure.send("q", "over TLS").await, 201);
    let locked = plain.peek_lock("q", 0).await.unwrap();
    assert!(locked.location.starts_with("http://127.0.0.1:"), "{}", locked.location);
    assert_eq!(plain.abandon(&locked.location).await, 200);
    // Where a message is held is said in the scheme of the question.
    let locked = secure.peek_lock("q", 0).await.unwrap();
    assert!(locked.location.starts_with(&format!("{url}/q/messages/1/")), "{}", locked.location);
    assert_eq!(secure.complete(&locked.location).await, 200);

    // The certificate is good for the loopback addresses too.
    for host in ["127.0.0.1", "localhost"] {
        let url = url.replace("localhost", host);
        let request = secure.http.get(format!("{url}/q")).header("authorization", &secure.token);
        let entry = request.send().await.unwrap().text().await.unwrap();
        assert!(entry.contains(&format!("<id>https://{host}:")), "{entry}");
    }

    let blobs = Blobs { http: trusting(&emulator), ..Blobs::new(&emulator.blob_tls_url().unwrap(), "records", "rcw") };
    assert_eq!(blobs.put("a").send().await.unwrap().status(), 201);
    emulator.shutdown().await;
}

#[tokio::test]
async fn whoever_does_not_trust_it_ends_at_the_handshake() {
    let emulator = start(Limits::default()).await;
    let stranger = Bus::new(&emulator.service_bus_tls_url().unwrap());
    let error = stranger.request(Method::POST, "q/messages").send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert!(emulator.admin().calls().is_empty());
    emulator.shutdown().await;
}

#[tokio::test]
async fn plain_http_at_the_tls_port_is_told_so_and_closed() {
    let emulator = start(Limits::default()).await;
    let address = address(&emulator.service_bus_tls_url().unwrap()).replace("localhost", "127.0.0.1");
    let answer = support::raw(&address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("<Error><Code>400</Code>"), "{answer}");
    // Bytes that only begin like TLS end in an alert or in nothing.
    let mut stream = TcpStream::connect(&address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &[22, 3, 1, 0, 4, 9, 9, 9, 9]).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("it closes").ok();
    emulator.shutdown().await;
}

#[tokio::test]
async fn those_who_are_slow_to_shake_hands_are_cut_off_and_keep_nobody_waiting() {
    let emulator = start(Limits { handshake: Duration::from_millis(300), ..Limits::default() }).await;
    let url = emulator.service_bus_tls_url().unwrap();
    let address = address(&url).replace("localhost", "127.0.0.1");
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(TcpStream::connect(&address).await.unwrap());
    }
    let bus = Bus { http: trusting(&emulator), ..Bus::new(&url) };
    assert_eq!(bus.send("q", "m").await, 201);
    for stream in &mut slow {
        let read = stream.read_u8();
        assert!(tokio::time::timeout(Duration::from_secs(10), read).await.expect("it closes").is_err());
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_used_and_a_bad_one_named() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = Certificate::Files { chain, key: key.clone() };
    let tls = |certificate| Options {
        queues: vec!["q".into()],
        tls: Some(Tls { certificate, ..Tls::default() }),
        ..Options::default()
    };
    let emulator = Emulator::start(tls(files.clone())).await.unwrap();
    assert_eq!(emulator.authority(), None);
    let own = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_built_in_root_certs(false).add_root_certificate(own);
    let bus = Bus { http: http.build().unwrap(), ..Bus::new(&emulator.service_bus_tls_url().unwrap()) };
    assert_eq!(bus.send("q", "m").await, 201);
    emulator.shutdown().await;

    std::fs::write(&key, "nonsense").unwrap();
    let error = Emulator::start(tls(files)).await.unwrap_err();
    let StartError::Tls(error) = error else { panic!("{error}") };
    assert!(error.to_string().ends_with("key.pem"), "{error}");
}
