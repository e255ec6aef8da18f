//! Requests from outside.

use std::time::Duration;

use oncebus_host::Stream;

use crate::support::{Peer, Project, until};

#[tokio::test]
async fn a_component_is_told_how_it_was_reached() {
    let app = Project::new("").start().await;
    let host = app.server.address().to_string();
    let seen = app.headers("/headers?a=b").await;
    for (name, expected) in [
        ("spin-path-info", "/headers"),
        ("spin-full-url", &format!("http://{host}/headers?a=b")),
        ("spin-matched-route", "/..."),
        ("spin-component-route", ""),
        ("spin-raw-component-route", "/..."),
        ("spin-base-path", "/"),
    ] {
        assert_eq!(seen.get(name).map(String::as_str), Some(expected), "{name}");
    }
    assert!(seen["spin-client-addr"].starts_with("127.0.0.1:"));

    let seen = app.headers("/routes/more/headers").await;
    assert_eq!(seen["spin-path-info"], "/headers");
    assert_eq!(seen["spin-component-route"], "/routes/more");
}

#[tokio::test]
async fn a_panic_gives_a_500_and_hurts_nobody_else() {
    let app = Project::new("").start().await;
    assert_eq!(app.get("/panic").await, (500, String::new()));
    assert_eq!(app.get("/unknown").await, (200, "unknown path".to_owned()));
    let lines = app.lines.lock().unwrap();
    assert!(lines.iter().any(|line| line.text.contains("as asked")), "{lines:?}");
}

#[tokio::test]
async fn a_path_without_a_route_is_not_found() {
    let guest = crate::support::wasm("oncebus_host_guest");
    let store = crate::support::wasm("oncebus_store");
    let app = Project::bare(&format!(
        "[[trigger.http]]\nroute = \"/only\"\ncomponent = \"guest\"\n[component.guest]\nsource = \"{}\"\n\
        [component.guest.dependencies]\n\"oncebus:processor\" = {{ path = \"{}\" }}",
        guest.display(),
        store.display()
    ))
    .start()
    .await;
    assert_eq!(app.get("/other").await.0, 404);
    assert_eq!(app.get("/.well-known/spin/health").await, (200, "OK".to_owned()));
    assert_eq!(app.get("/only").await.0, 200);
}

#[tokio::test]
async fn what_a_guest_prints_is_told_line_by_line() {
    let app = Project::new("").start().await;
    app.post("/print", "one\ntwo").await;
    until("all three lines are there", || app.lines.lock().unwrap().len() >= 3).await;
    let mut lines: Vec<_> = app.lines.lock().unwrap().iter().map(|line| (line.stream, line.text.clone())).collect();
    lines.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
    let expected = [(Stream::Stdout, "one"), (Stream::Stdout, "two"), (Stream::Stderr, "to stderr")];
    assert_eq!(lines, expected.map(|(stream, text)| (stream, text.to_owned())));
    assert!(app.lines.lock().unwrap().iter().all(|line| line.component == "guest" && line.instance == 1));
}

#[tokio::test]
async fn variables_and_environment_are_the_components_own() {
    let app = Project::new(
        "environment = { COLOUR = \"green\" }\n\
        [component.guest.variables]\ngreeting = \"hello {{ name }}\"\n\
        [variables]\nname = { required = true }\n",
    )
    .variable("name", "world")
    .start()
    .await;
    assert_eq!(app.get("/variable/greeting").await.1, "hello world");
    assert!(app.get("/variable/name").await.1.contains("Undefined"));
    assert_eq!(app.get("/environment").await.1, "[[\"COLOUR\",\"green\"]]");
}

#[tokio::test]
async fn work_goes_on_after_the_response() {
    let peer = Peer::start().await;
    let app = Project::new(&peer.allow()).start().await;
    assert_eq!(app.post("/late", &peer.calls(3)).await, (200, String::new()));
    app.server.shutdown().await;
    assert_eq!(peer.count(), 3, "shutdown waits for guests");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_nothing() {
    let peer = Peer::start().await;
    let gate = crate::outbound::Gate::default();
    let app = Project::new(&peer.allow()).hook(gate.clone()).start().await;
    let calls = peer.calls(2);
    tokio::select! {
        _ = app.post("/send", &calls) => panic!("nothing can be answered yet"),
        () = gate.reached(1) => (),
    }
    gate.open();
    until("both requests are made", || peer.count() == 2).await;
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_its_guests() {
    let peer = Peer::start().await;
    let gate = crate::outbound::Gate::default();
    let app = Project::new(&peer.allow()).hook(gate.clone()).start().await;
    let calls = peer.calls(1);
    tokio::select! {
        _ = app.post("/send", &calls) => panic!("nothing can be answered yet"),
        () = gate.reached(1) => (),
    }
    drop(app);
    tokio::time::timeout(Duration::from_secs(10), gate.abandoned()).await.unwrap();
    assert_eq!(peer.count(), 0);
}
