//! Entities from `Config.json`, from flags and at run time: what they do once they are there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod support;

use oncebus_emulator::{Emulator, Entities, EntityKind, Options, QueueProperties, StartError, Store};
use reqwest::Method;
use serde_json::{Value, json};
use support::Bus;

const CONFIG: &str = include_str!("fixtures/Config.json");

async fn start(entities: Entities, store: Store) -> (Emulator, Bus) {
    let emulator = Emulator::start(Options { entities, store, ..Options::default() }).await.unwrap();
    let bus = Bus::new(&emulator.service_bus_url());
    (emulator, bus)
}

async fn send(bus: &Bus, entity: &str, headers: &[(&str, &str)]) {
    let request = bus.http.post(format!("{}/{entity}/messages", bus.url)).header("authorization", &bus.token).body("m");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    assert_eq!(request.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_config_of_the_official_emulator_makes_its_entities() {
    let (emulator, bus) = start(Entities::from_config(CONFIG.as_bytes()).unwrap(), Store::Memory).await;
    let admin = emulator.admin();
    let seen = |path: &str| admin.messages(&format!("events/subscriptions/{path}")).len();
    send(&bus, "events", &[("region", "\"eu\""), ("brokerproperties", r#"{"Label":"new"}"#)]).await;
    assert_eq!((seen("all"), seen("eu"), seen("mail")), (1, 1, 0));
    send(&bus, "events", &[("kind", "\"mail\""), ("number", "7"), ("brokerproperties", r#"{"Label":"mail"}"#)]).await;
    assert_eq!((seen("all"), seen("eu"), seen("mail")), (2, 1, 1));
    let changed = bus.peek_lock("events/subscriptions/eu", 0).await.unwrap();
    assert_eq!(changed.broker["To"], "europe");

    // What the file says about a queue is what its description says.
    let entry = bus.request(Method::GET, "orders?api-version=2021-05").send().await.unwrap().text().await.unwrap();
    for element in [
        "<LockDuration>PT30S</LockDuration>",
        "<MaxDeliveryCount>3</MaxDeliveryCount>",
        "<RequiresDuplicateDetection>true</RequiresDuplicateDetection>",
        "<DefaultMessageTimeToLive>PT1H</DefaultMessageTimeToLive>",
        "<DeadLetteringOnMessageExpiration>true</DeadLetteringOnMessageExpiration>",
    ] {
        assert!(entry.contains(element), "{element} in {entry}");
    }
    for _ in 0..2 {
        send(&bus, "orders", &[("brokerproperties", r#"{"MessageId":"one"}"#)]).await;
    }
    assert_eq!(admin.messages("orders").len(), 1, "the second was a duplicate");
    let rules = admin.entity("events/subscriptions/mail", 0, 0).unwrap().rules;
    assert_eq!(rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["mail"]);
    assert_eq!(admin.entity("events", 0, 0).unwrap().kind, EntityKind::Topic);
    emulator.shutdown().await;
}

#[tokio::test]
async fn what_the_service_would_refuse_is_refused_with_its_place() {
    let json = r#"{"UserConfig":{"Namespaces":[{"Name":"n","Queues":[{"Name":"a"},
        {"Name":"b","Properties":{"LockDuration":"PT6M"}}]}]}}"#;
    let entities = Entities::from_config(json.as_bytes()).unwrap();
    let error = Emulator::start(Options { entities, ..Options::default() }).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StartError::Entity(_)), "{text}");
    assert!(text.starts_with("UserConfig.Namespaces[0].Queues[1]: ") && text.contains("'5' minutes"), "{text}");
    let bad_name = Entities::default().with_queue("a b", &QueueProperties::default());
    let error = Emulator::start(Options { entities: bad_name, ..Options::default() }).await.unwrap_err();
    assert!(error.to_string().starts_with("queue a b: "), "{error}");
}

#[tokio::test]
async fn a_kept_entity_gets_new_properties_and_keeps_its_messages() {
    let directory = tempfile::tempdir().unwrap();
    let store = || Store::Sqlite(directory.path().join("emulator.db"));
    let (emulator, bus) = start(Entities::from_config(CONFIG.as_bytes()).unwrap(), store()).await;
    send(&bus, "orders", &[]).await;
    send(&bus, "events", &[]).await;
    emulator.shutdown().await;

    let changed = CONFIG.replace("\"PT30S\"", "\"PT45S\"").replace("region = 'eu'", "region = 'us'");
    let (emulator, bus) = start(Entities::from_config(changed.as_bytes()).unwrap(), store()).await;
    let admin = emulator.admin();
    assert_eq!(admin.messages("orders").len(), 1);
    assert_eq!(admin.messages("events/subscriptions/all").len(), 1);
    let entry = bus.request(Method::GET, "orders").send().await.unwrap().text().await.unwrap();
    assert!(entry.contains("<LockDuration>PT45S</LockDuration>"), "{entry}");
    let rules = admin.entity("events/subscriptions/eu", 0, 0).unwrap().rules;
    assert!(rules.len() == 1 && rules[0].description.contains("'us'"), "{rules:?}");
    emulator.shutdown().await;

    let impossible = CONFIG.replace(
        "\"RequiresSession\": false\n            }\n          },\n          {",
        "\"RequiresSession\": true\n            }\n          },\n          {",
    );
    assert_ne!(impossible, CONFIG);
    let entities = Entities::from_config(impossible.as_bytes()).unwrap();
    let error = Emulator::start(Options { entities, store: store(), ..Options::default() }).await.unwrap_err();
    assert!(error.to_string().contains("RequiresSession"), "{error}");
}

#[tokio::test]
async fn the_admin_port_makes_changes_and_removes_entities_and_shows_them_page_by_page() {
    let (emulator, bus) = start(Entities::default(), Store::Memory).await;
    let url = emulator.admin_url();
    let ask = async |method: Method, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = bus.http.request(method, format!("{url}/{path}")).body(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap())
    };
    for (path, body) in [
        ("queues/a/q", json!({ "LockDuration": "PT5S", "MaxDeliveryCount": 2 })),
        ("queues/plain", json!({ "lock_duration_ms": 5000 })),
        ("topics/t", Value::Null),
        ("topics/t/subscriptions/s", json!({ "MaxDeliveryCount": 4 })),
        (
            "topics/t/subscriptions/s/rules/eu",
            json!({ "FilterType": "Sql", "SqlFilter": { "SqlExpression": "region = 'eu'" } }),
        ),
    ] {
        let answer = ask(Method::PUT, path, body).await;
        assert_eq!(answer.0, 200, "{path}: {}", answer.1);
    }
    assert_eq!(ask(Method::DELETE, "topics/t/subscriptions/s/rules/$Default", Value::Null).await.0, 200);
    send(&bus, "t", &[]).await;
    send(&bus, "t", &[("region", "\"eu\"")]).await;
    let (_, view) = ask(Method::GET, "topics/t/subscriptions/s", Value::Null).await;
    assert_eq!((&view["kind"], &view["messages"].as_array().unwrap().len()), (&json!("subscription"), &1));
    assert_eq!(view["rules"][0]["name"], "eu");

    for _ in 0..5 {
        send(&bus, "a/q", &[]).await;
    }
    let locked = bus.peek_lock("a/q", 0).await.unwrap();
    let (_, view) = ask(Method::GET, "queues/a/q?skip=1&top=3", Value::Null).await;
    let numbers: Vec<_> = view["messages"].as_array().unwrap().iter().map(|m| m["sequence_number"].clone()).collect();
    assert_eq!((numbers, &view["more_messages"]), (vec![json!(2), json!(3), json!(4)], &json!(1)));
    let (_, locks) = ask(Method::GET, "locks", Value::Null).await;
    assert_eq!(locks.as_array().unwrap().len(), 1);
    assert_eq!((&locks[0]["entity"], &locks[0]["token"]), (&json!("a/q"), &locked.broker["LockToken"]));
    assert!(locks[0]["until"].is_i64());
    let (_, state) = ask(Method::GET, "state?top=2", Value::Null).await;
    let queue = &state["entities"]["a/q"];
    assert_eq!((&queue["messages"].as_array().unwrap().len(), &queue["more_messages"]), (&2, &json!(3)));
    assert_eq!(state["entities"]["t"]["kind"], "topic");

    assert_eq!(ask(Method::POST, "config", serde_json::from_str(CONFIG).unwrap()).await.0, 200);
    assert_eq!(bus.send("orders", "m").await, 201);
    for (method, path, body, status, text) in [
        (Method::PUT, "queues/x", json!({ "LockDuration": "soon" }), 400, "LockDuration: \"soon\" is not"),
        (Method::PUT, "queues/x", json!({ "LockDuration": "PT6M" }), 400, "'5' minutes"),
        (Method::PUT, "topics/t/subscriptions/s/rules/r", json!({ "FilterType": "Sql" }), 400, "SqlFilter is missing"),
        (Method::PUT, "topics/no/subscriptions/s", Value::Null, 400, "no/s"),
        (Method::DELETE, "topics/no", Value::Null, 404, "No service is hosted"),
        (Method::GET, "queues/a/q?top=all", Value::Null, 400, "top must be a number"),
        (Method::POST, "config", json!({ "UserConfig": { "Namespaces": [], "Lgging": {} } }), 400, "UserConfig"),
    ] {
        let answer = ask(method, path, body).await;
        assert_eq!(answer.0, status, "{path}: {}", answer.1);
        assert!(answer.1["error"].as_str().unwrap().contains(text), "{path}: {}", answer.1);
    }
    assert_eq!(ask(Method::DELETE, "topics/t", Value::Null).await.0, 200);
    assert_eq!(ask(Method::GET, "topics/t/subscriptions/s", Value::Null).await.0, 404);
    emulator.shutdown().await;
}
