//! What stands before the services: odd, slow, broken and old clients. Each gets an answer or is cut off,
//! and costs nobody else anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use std::time::Duration;

use oncebus_emulator::{Emulator, Limits, Options, Store};
use support::{Bus, eventually, raw, token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn start(limits: Limits) -> (Emulator, Bus) {
    let options = Options { queues: vec!["q".into()], limits, ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    let bus = Bus::new(&emulator.service_bus_url());
    (emulator, bus)
}

fn address(url: &str) -> String {
    url.trim_start_matches("http://").split('/').next().unwrap().to_owned()
}

/// Reads until a text has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let all = async {
        while !String::from_utf8_lossy(&read).contains(end) {
            let mut buffer = [0; 1024];
            let n = stream.read(&mut buffer).await.unwrap();
            assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..n]);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("an answer");
    String::from_utf8(read).unwrap()
}

/// Waits until so many receivers wait at the queue.
async fn waits(emulator: &Emulator, receivers: usize) {
    eventually("receivers wait", || emulator.admin().waiting("q") == receivers).await;
}

/// Whether the other side closes, within ten seconds.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn nonsense_is_refused_in_the_shape_of_the_service() {
    let (emulator, bus) = start(Limits::default()).await;
    let bytes = [
        "GARBAGE\r\n\r\n",
        "\0\u{1}\u{2}\r\n\r\n",
        "GET /q\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "G{}T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /q q HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n",
        "POST /q/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        // HTTP/2 with prior knowledge.
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
    ];
    for (url, begins, kind) in [
        (&bus.url, "<Error><Code>4", "application/xml; charset=utf-8"),
        (&emulator.blob_url(), "<?xml", "application/xml"),
        (&emulator.admin_url(), "{\"error\":", "application/json"),
    ] {
        for bytes in bytes {
            let answer = raw(&address(url), bytes).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{bytes:?}: {answer:?}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(body.starts_with(begins), "{bytes:?}: {answer}");
            assert!(head.contains(&format!("Content-Type: {kind}\r\n")), "{bytes:?}: {answer}");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{bytes:?}: {answer}");
        }
    }
    assert_eq!(bus.send("q", "m").await, 201);
    emulator.shutdown().await;
}

#[tokio::test]
async fn half_a_head_is_answered_when_no_more_comes() {
    let head = Duration::from_millis(200);
    let (emulator, bus) = start(Limits { head, ..Limits::default() }).await;
    let half = "POST /q/messages HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let late = raw(&address(&bus.url), half).await;
    assert!(late.starts_with("HTTP/1.1 408 Request Timeout\r\n") && late.contains("<Code>408</Code>"), "{late}");
    let mut stream = TcpStream::connect(address(&bus.url)).await.unwrap();
    stream.write_all(half.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let ended = read_until(&mut stream, "</Error>").await;
    assert!(ended.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{ended}");
    // After an answer, and before any byte, there is nothing to say.
    for request in ["", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let answer = raw(&address(&bus.url), request).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), usize::from(!request.is_empty()), "{answer}");
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_a_long_poll_takes_no_message_whatever_it_sent_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    for store in [Store::Memory, Store::Sqlite(directory.path().join("emulator.db"))] {
        let options = Options { queues: vec!["q".into()], store, ..Options::default() };
        let emulator = Emulator::start(options).await.unwrap();
        let bus = Bus::new(&emulator.service_bus_url());
        let (address, token) = (address(&bus.url), &bus.token);
        let poll = |method: &str, body: &str| {
            let length = body.len();
            format!(
                "{method} /q/messages/head?timeout=30 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            )
        };
        let much = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
        for (method, body, behind) in [
            ("DELETE", "", ""),
            ("DELETE", "", "\r\n"),
            ("DELETE", "", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
            ("DELETE", "", &*much),
            ("DELETE", "{}", "\r\n"),
            ("POST", "", "\r\n"),
        ] {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all((poll(method, body) + behind).as_bytes()).await.unwrap();
            waits(&emulator, 1).await;
            drop(stream);
            waits(&emulator, 0).await;
            assert_eq!(bus.send("q", "m").await, 201);
            let request = bus.request(reqwest::Method::DELETE, "q/messages/head?timeout=0");
            assert_eq!(request.send().await.unwrap().status(), 200, "{method} {body:?} {behind:.20?}");
        }
        emulator.shutdown().await;
    }
}

#[tokio::test]
async fn what_is_sent_behind_a_long_poll_is_answered_after_it() {
    let (emulator, bus) = start(Limits::default()).await;
    let token = &bus.token;
    let mut stream = TcpStream::connect(address(&bus.url)).await.unwrap();
    let poll = format!(
        "DELETE /q/messages/head?timeout=30 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(poll.as_bytes()).await.unwrap();
    waits(&emulator, 1).await;
    // In pieces, so that some of it is read by hyper and some by the one who waits.
    for piece in [&poll, "POST /q/messages HTTP/1.1\r\nHost: x\r\nAuthorization: ", token, "\r\nContent-Le"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(bus.send("q", "first").await, 201);
    let first = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("first"), "{first}");
    waits(&emulator, 1).await;
    assert_eq!(bus.send("q", "second").await, 201);
    let second = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    assert!(second.starts_with("HTTP/1.1 200 OK\r\n") && second.contains("second"), "{second}");
    stream.write_all(b"ngth: 5\r\n\r\nthird").await.unwrap();
    let third = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    assert!(third.starts_with("HTTP/1.1 201 Created\r\n"), "{third}");
    assert_eq!(emulator.admin().messages("q").len(), 1);
    emulator.shutdown().await;
}

#[tokio::test]
async fn odd_methods_and_paths_are_refused_by_every_port() {
    let (emulator, bus) = start(Limits::default()).await;
    let token = &bus.token;
    for url in [&bus.url, &emulator.blob_url(), &emulator.admin_url()] {
        for line in [
            "PATCH /q/messages",
            "FOO /q/messages/head",
            "OPTIONS *",
            "CONNECT q:80",
            "TRACE /q",
            "POST /%zz/messages",
            "POST /%00%ff/messages",
            "POST //messages",
            "POST /q/messages/1/2/3",
            "DELETE /..%2f..%2fetc",
            "POST http://elsewhere/unknown/messages",
        ] {
            let request = format!(
                "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let answer = raw(&address(url), &request).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{line} at {url}: {answer}");
        }
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_one_that_is_not_is_taken() {
    let (emulator, bus) = start(Limits::default()).await;
    let with = |bytes: usize| {
        let request = bus.http.post(format!("{}/q/messages", bus.url)).header("authorization", &bus.token);
        // A property may have 32 KB, and all together 64 KB.
        let half = format!("\"{}\"", "x".repeat(bytes / 2));
        request.header("large", &half).header("larger", &half).body("m").send()
    };
    assert_eq!(with(60 * 1024).await.unwrap().status(), 201);
    let refused = with(80 * 1024).await.unwrap();
    assert_eq!(refused.status(), 431);
    assert!(refused.text().await.unwrap().starts_with("<Error><Code>431</Code>"));
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_message_may_have_a_thousand_properties() {
    let (emulator, bus) = start(Limits::default()).await;
    let token = &bus.token;
    let send = |headers: usize, connection: &str| {
        let many: String = (0..headers).map(|n| format!("h{n}: 1\r\n")).collect();
        format!(
            "POST /q/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: {connection}\r\n\
             {many}Content-Length: 1\r\n\r\nm"
        )
    };
    // The second stands behind the first, and the third comes when both were answered.
    let mut stream = TcpStream::connect(address(&bus.url)).await.unwrap();
    stream.write_all((send(1, "keep-alive") + &send(1000, "keep-alive")).as_bytes()).await.unwrap();
    let both = read_until(&mut stream, "\r\n0\r\n\r\nHTTP/1.1 201 Created\r\n").await;
    assert!(both.starts_with("HTTP/1.1 201 Created\r\n"), "{both}");
    stream.write_all(send(2000, "close").as_bytes()).await.unwrap();
    let third = read_until(&mut stream, "close\r\n").await;
    assert!(third.contains("HTTP/1.1 201 Created\r\n"), "{third}");
    let properties: Vec<_> = emulator.admin().messages("q").into_iter().map(|m| m.properties.len()).collect();
    assert_eq!(properties, [1, 1000, 2000]);
    let answer = raw(&address(&bus.url), &send(5000, "close")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn names_of_headers_are_written_as_recorded_and_those_of_properties_as_they_were_sent() {
    let (emulator, bus) = start(Limits::default()).await;
    let (address, token) = (address(&bus.url), &bus.token);
    let send = format!(
        "POST /q/messages HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\nX-Process-At: \"there\"\r\npriORity: 1\r\n\
         Content-Length: 1\r\n\r\nm"
    );
    let receive =
        format!("DELETE /q/messages/head HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 0\r\n\r\n");
    // The head comes in two pieces, and the second request on the same connection.
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let (first, second) = send.split_at(send.find("-At").unwrap());
    stream.write_all(first.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(second.as_bytes()).await.unwrap();
    let sent = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    for name in ["Content-Type: ", "Date: ", "Server: ", "Strict-Transport-Security: ", "Transfer-Encoding: "] {
        assert!(sent.contains(&format!("\r\n{name}")), "{name}: {sent}");
    }
    stream.write_all(receive.as_bytes()).await.unwrap();
    let received = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    for line in ["X-Process-At: \"there\"\r\n", "priORity: 1\r\n", "BrokerProperties: {"] {
        assert!(received.contains(&format!("\r\n{line}")), "{line}: {received}");
    }
    // A batch says names as they are; what was sent ahead of an answer may have lost its case, and nothing else.
    let batch = r#"[{"Body":"b","UserProperties":{"OrderId":1}}]"#;
    let batch = format!(
        "POST /q/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: {}\r\n\
         Content-Type: application/vnd.microsoft.servicebus.json\r\n\r\n{batch}",
        batch.len()
    );
    stream.write_all([&*batch, &send, &receive, &receive].concat().as_bytes()).await.unwrap();
    let all = read_until(&mut stream, "m\r\n0\r\n\r\n").await;
    assert!(all.contains("\r\nOrderId: 1\r\n"), "{all}");
    assert!(all.to_lowercase().contains("\r\npriority: 1\r\n"), "{all}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_read_on_so_that_its_refusal_is_seen() {
    let body = Duration::from_millis(500);
    let (emulator, bus) = start(Limits::default()).await;
    let (impatient, other) = start(Limits { body, ..Limits::default() }).await;
    let head = |bus: &Bus| {
        format!(
            "POST /q/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bus.token,
            20 << 20
        )
    };
    let whole = raw(&address(&bus.url), &(head(&bus) + &"x".repeat(20 << 20))).await;
    assert!(whole.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{whole}");
    let part = raw(&address(&other.url), &(head(&other) + &"x".repeat(5 << 20))).await;
    assert!(part.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{part}");
    emulator.shutdown().await;
    impatient.shutdown().await;
}

#[tokio::test]
async fn a_request_whose_body_cannot_be_read_does_nothing() {
    let (emulator, bus) = start(Limits::default()).await;
    let (address, token) = (address(&bus.url), &bus.token);
    assert_eq!(bus.send("q", "m").await, 201);
    for line in
        ["DELETE /q/messages/head?timeout=0", "POST /q/messages/head?timeout=0", "DELETE /q", "PUT /new", "GET /q"]
    {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        );
        let answer = raw(&address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{line}: {answer}");
        assert!(answer.contains("40000: The body ended early"), "{line}: {answer}");
    }
    let large = "x".repeat(5 << 20);
    let put = bus.http.put(format!("{}/new", bus.url)).header("authorization", &bus.token).body(large);
    let refused = put.send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("too large"));
    let left = emulator.admin().messages("q");
    assert_eq!(left.iter().map(|message| message.delivery_count).collect::<Vec<_>>(), [0]);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_head_or_a_body_that_never_ends_is_cut_off() {
    let short = Duration::from_millis(200);
    let (emulator, bus) = start(Limits { head: short, body: short, ..Limits::default() }).await;
    let address = address(&bus.url);
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut head = TcpStream::connect(&address).await.unwrap();
    head.write_all(b"POST /q/messages HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    assert!(is_closed(&mut head).await && is_closed(&mut silent).await);
    let request = format!(
        "POST /q/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: 100\r\n\r\nonly this",
        bus.token
    );
    let answer = raw(&address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(emulator.admin().messages("q").is_empty());
    emulator.shutdown().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_next_after_that_is_served() {
    let (emulator, bus) = start(Limits { connections: 2, ..Limits::default() }).await;
    let address = address(&bus.url);
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "</Error>").await;
        held.push(stream);
    }
    let mut third = TcpStream::connect(&address).await.unwrap();
    assert!(is_closed(&mut third).await);
    held.clear();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let served = loop {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        let mut buffer = [0; 16];
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => break true,
            _ if tokio::time::Instant::now() > deadline => break false,
            _ => tokio::task::yield_now().await,
        }
    };
    assert!(served);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_client_of_http_1_0_is_served_without_chunks() {
    let (emulator, bus) = start(Limits::default()).await;
    let token = &bus.token;
    let send = format!("POST /q/messages HTTP/1.0\r\nAuthorization: {token}\r\nContent-Length: 5\r\n\r\nhello");
    let answer = raw(&address(&bus.url), &send).await;
    assert!(answer.starts_with("HTTP/1.0 201 Created\r\n"), "{answer}");
    let receive =
        format!("DELETE /q/messages/head?timeout=0 HTTP/1.0\r\nAuthorization: {token}\r\nContent-Length: 0\r\n\r\n");
    let answer = raw(&address(&bus.url), &receive).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(!answer.to_lowercase().contains("chunked"), "{answer}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends_a_body_and_keep_its_connection() {
    let (emulator, bus) = start(Limits::default()).await;
    let token = &bus.token;
    let mut stream = TcpStream::connect(address(&bus.url)).await.unwrap();
    for n in 0..3 {
        let head = format!(
            "POST /q/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nExpect: 100-continue\r\n\
             Content-Length: 1\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
        stream.write_all(n.to_string().as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    }
    // Nobody is told of the expectation as of a property.
    let properties: Vec<_> = emulator.admin().messages("q").into_iter().map(|m| m.properties).collect();
    assert!(properties.iter().all(|properties| !properties.contains_key("expect")), "{properties:?}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn the_end_waits_for_answers_and_not_for_idle_connections_or_long_polls() {
    let (emulator, bus) = start(Limits::default()).await;
    let _silent = TcpStream::connect(address(&bus.url)).await.unwrap();
    assert_eq!(bus.send("q", "keeps the connection").await, 201);
    let poll = tokio::spawn({
        let bus = bus.clone();
        async move { bus.try_peek_lock("q/$DeadLetterQueue", 60).await.unwrap().status() }
    });
    // The poll is there when its operation is waited for; a call that is counted afterwards follows it.
    tokio::time::timeout(Duration::from_secs(5), async {
        assert_eq!(bus.send("q", "m").await, 201);
    })
    .await
    .unwrap();
    let end = emulator.shutdown();
    tokio::time::timeout(Duration::from_secs(4), end).await.expect("the end comes before its bound");
    // It either came in time to be answered, or was refused with the port.
    if let Ok(status) = poll.await {
        assert_eq!(status, 204);
    }
}

#[tokio::test]
async fn bearer_tokens_are_refused_unless_they_are_accepted() {
    let (emulator, bus) = start(Limits::default()).await;
    let bearer =
        |url: &str| bus.http.post(format!("{url}/q/messages")).header("authorization", "Bearer a.b.c").body("m");
    let refused = bearer(&bus.url).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let text = refused.text().await.unwrap();
    assert!(text.starts_with("<Error><Code>401</Code><Detail>40103: Invalid authorization token signature"), "{text}");
    let list = bus.http.get(format!("{}/$Resources/queues", bus.url)).header("authorization", "Bearer a.b.c");
    let text = list.send().await.unwrap().text().await.unwrap();
    assert!(text.contains("claim is empty or token is invalid."), "{text}");
    emulator.shutdown().await;

    let options = Options { queues: vec!["q".into()], accept_bearer: true, ..Options::default() };
    let emulator = Emulator::start(options).await.unwrap();
    assert_eq!(bearer(&emulator.service_bus_url()).send().await.unwrap().status(), 201);
    let bad = token(&emulator.service_bus_url(), "RootManageSharedAccessKey", "wrong", 60);
    let sas = Bus { token: bad, ..Bus::new(&emulator.service_bus_url()) };
    assert_eq!(sas.send("q", "m").await, 401, "signatures are still checked");
    emulator.shutdown().await;
}
