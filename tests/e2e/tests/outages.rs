//! Services that are down, slow, or refuse: clear answers, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::sync::Arc;

use http::{Method, StatusCode};
use oncebus_e2e::{Services, Setup, World};
use oncebus_emulator::{Fault, Service};

async fn post(world: &World) -> reqwest::Response {
    world.request(Method::POST, "/queues/orders/messages").body("{}").send().await.unwrap()
}

async fn problem(answer: reqwest::Response) -> String {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    body["type"].as_str().unwrap().trim_start_matches("urn:oncebus:problem:").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_throttles_is_answered_with_503_and_a_time_to_wait() {
    let world = World::start().await;
    world.admin().add_fault(Fault { status: Some(503), ..Fault::on(Service::ServiceBus, "send") });
    let answer = post(&world).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(problem(answer).await, "throttled");
    assert_eq!(world.queued("orders"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_answer_is_lost_is_repeated_and_stored_once() {
    let world = World::start().await;
    world.admin().add_fault(Fault { drop_after: true, ..Fault::on(Service::ServiceBus, "send").times(1) });
    let answer = post(&world).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(world.queued("orders"), 2, "the broker has it twice");
    let summary = world.run("orders").await;
    assert_eq!((summary.done, summary.duplicate), (1, 1), "{summary:?}");
    assert_eq!(world.stored().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_gone_is_answered_with_503() {
    // A socket that holds a port and does not listen: nobody else gets the port, and every connection is refused.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gone = format!("http://{}", nobody.local_addr().unwrap());
    let connection = format!("Endpoint={gone}/;SharedAccessKeyName=k;SharedAccessKey=v;UseDevelopmentEmulator=true");
    let setup = Setup::default()
        .with_variable("servicebus_send", connection.clone())
        .with_variable("servicebus_listen", connection)
        .with_variable("servicebus_origin", gone.as_str());
    let world = World::with(setup).await;
    let answer = post(&world).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(problem(answer).await, "unavailable");
    let ran = world.try_run("orders").await.unwrap();
    assert_eq!((ran.status, ran.body["service"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("service-bus")));
    let ready = world.request(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_down_lets_no_delivery_burn() {
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    world.admin().add_fault(Fault { status: Some(503), ..Fault { service: Some(Service::Blob), ..Fault::default() } });
    let ran = world.try_run("orders").await.unwrap();
    assert_eq!((ran.status, ran.body["service"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("storage")));
    assert_eq!(world.admin().messages("orders")[0].delivery_count, 0, "it was not even received");
    world.admin().clear_faults();
    assert_eq!(world.run("orders").await.done, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_of_the_broker_is_a_problem_of_its_own() {
    let services = Services::emulated().await;
    let wrong = format!(
        "Endpoint={}/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=wrong-key-here",
        services.service_bus_url()
    );
    let setup =
        Setup::default().with_variable("servicebus_send", wrong.clone()).with_variable("servicebus_listen", wrong);
    let world = World::on(Arc::new(services), setup).await;
    let answer = post(&world).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(problem(answer).await, "credential-refused");
    let ran = world.try_run("orders").await.unwrap();
    assert_eq!(ran.status, StatusCode::BAD_GATEWAY);
    assert_eq!(ran.body["type"], "urn:oncebus:problem:credential-refused");
    assert!(world.log().iter().all(|line| !line.contains("wrong-key-here")), "the key is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_sas_of_the_storage_is_not_taken_for_busy() {
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    // The emulator's clock runs ahead of every signature that can be made.
    world.admin().advance_storage_clock(std::time::Duration::from_secs(100 * 24 * 3_600));
    let ran = world.try_run("orders").await.unwrap();
    assert_eq!(ran.status, StatusCode::BAD_GATEWAY, "{}", ran.body);
    assert_eq!(ran.body["type"], "urn:oncebus:problem:credential-refused");
    assert_eq!(world.queued("orders"), 1);
    let (status, _) = world.state("orders", "m-1").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_fails_leaves_a_duplicate_and_no_second_effect() {
    let world = World::start().await;
    world.send("orders", "m-1", "{}").await;
    world.admin().add_fault(Fault { lose_lock: true, ..Fault::on(Service::ServiceBus, "complete").times(1) });
    assert_eq!(world.run("orders").await.done, 1);
    assert_eq!(world.queued("orders"), 1);
    world.let_locks_expire().await;
    assert_eq!(world.run("orders").await.duplicate, 1);
    assert_eq!((world.effects("m-1"), world.queued("orders")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_error_names_the_key() {
    let world = World::with(Setup::default().with_defaults("claim_ttl_seconds = 90")).await;
    let answer = post(&world).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body["type"], "urn:oncebus:problem:configuration");
    assert_eq!(body["key"], "queues.orders.claim_ttl_seconds");
}
