//! A component with a processor composed in: what it may and may not do, and the processors of this repository.

use std::path::Path;

use oncebus_host::{Sqlite, Value};
use serde_json::json;

use crate::support::{DEPENDENCY, Peer, Project, Running, wasm};

const DATABASE: &str = "sqlite_databases = [\"default\"]";

async fn with_processor(name: &str) -> Running {
    let mut project = Project::new(DATABASE);
    project.options.overrides.insert(format!("guest/{DEPENDENCY}"), wasm(name));
    project.start().await
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[tokio::test]
async fn the_store_keeps_each_message_once() {
    let app = Project::new(DATABASE).start().await;
    let batch = json!([
        { "id": "a", "body": "one", "key": "k", "properties": [["b", "2"], ["a", "1"]] },
        { "id": "b", "body": "", "bytes": [0, 255, 10] },
        { "id": "c", "body": "nul\u{0}byte" },
    ]);
    let done = json!([{ "done": null }, { "done": null }, { "done": null }]);
    assert_eq!(app.process(batch.clone()).await, done);
    assert_eq!(app.process(batch).await, done, "again is no error");
    let rows =
        app.rows("SELECT id, queue, lock_key, body, properties, enqueued_at_ms, epoch FROM messages ORDER BY id");
    let (queue, time, one) = (text("orders"), Value::Integer(1_790_000_000_000), Value::Integer(1));
    let row = |id: &str, key: Value, body: Value, properties: &str| {
        vec![text(id), queue.clone(), key, body, text(properties), time.clone(), one.clone()]
    };
    assert_eq!(
        rows,
        [
            row("a", text("k"), text("one"), r#"{"a":"1","b":"2"}"#),
            row("b", Value::Null, Value::Blob(vec![0, 255, 10]), "{}"),
            row("c", Value::Null, Value::Blob(b"nul\0byte".to_vec()), "{}"),
        ]
    );
    assert_eq!(app.rows("SELECT count(*) FROM effects"), [[Value::Integer(0)]], "nobody asked for the log");
}

#[tokio::test]
async fn ids_are_kept_to_the_last_character() {
    let app = Project::new(DATABASE).start().await;
    let ids = ["x", "x\u{0}y", "x\u{0}z", "\u{1F600}", "\"'\\", ""];
    let batch: Vec<_> = ids.iter().map(|id| json!({ "id": id, "body": "same" })).collect();
    app.process(json!(batch)).await;
    assert_eq!(app.rows("SELECT count(DISTINCT id), count(*) FROM messages"), [[Value::Integer(6), Value::Integer(6)]]);
}

#[tokio::test]
async fn another_message_with_the_same_id_is_not_lost_in_silence() {
    let app = Project::new(DATABASE).start().await;
    app.process(json!([{ "id": "a", "body": "one" }])).await;
    let steps = app.process(json!([{ "id": "a", "body": "two" }, { "id": "b", "body": "two" }])).await;
    assert_eq!(steps, json!([{ "reject": "the id is in the store with another body" }, { "done": null }]));
    assert_eq!(app.rows("SELECT body FROM messages ORDER BY id"), [[text("one")], [text("two")]]);
}

#[tokio::test]
async fn the_log_of_effects_shows_what_the_upsert_hides() {
    let app = Project::new(DATABASE).start().await;
    let settings = json!([["effects", "true"]]);
    for epoch in [1, 2] {
        app.process(json!([{ "id": "a", "body": "one", "epoch": epoch, "settings": settings }])).await;
    }
    assert_eq!(app.rows("SELECT count(*) FROM messages"), [[Value::Integer(1)]]);
    let log = app.rows("SELECT id, step, epoch, run, outcome FROM effects ORDER BY epoch");
    let line = |epoch| [text("a"), Value::Integer(0), Value::Integer(epoch), text("run-1"), text("done")];
    assert_eq!(log, [line(1), line(2)]);
}

#[tokio::test]
async fn a_store_without_a_database_asks_for_another_attempt() {
    // Inherited, but the component has none; and not inherited, though the component has one.
    for app in [Project::new(""), Project::with_inherit("[]", DATABASE), Project::with_inherit("false", DATABASE)] {
        let app = app.start().await;
        let steps = app.process(json!([{ "id": "a", "body": "" }, { "id": "b", "body": "" }])).await;
        let reason = "cannot open: sqlite_databases = [\"default\"] is not granted to the processor";
        let retry = json!({ "retry": { "reason": reason, "after_seconds": 60 } });
        assert_eq!(steps, json!([retry, retry]));
    }
    let app = Project::with_inherit("true", DATABASE).start().await;
    assert_eq!(app.process(json!([{ "id": "a", "body": "" }])).await, json!([{ "done": null }]));
}

#[tokio::test]
async fn a_statement_that_fails_stores_nothing() {
    let app = Project::new(DATABASE).start().await;
    app.rows("CREATE TABLE messages (id TEXT PRIMARY KEY)");
    let steps = app.process(json!([{ "id": "a", "body": "secret" }])).await;
    let reason = steps[0]["retry"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("cannot make a table: ") && !reason.contains("secret"), "{reason}");
}

#[tokio::test]
async fn the_database_is_where_spin_has_it() {
    let mut project = Project::new(DATABASE);
    project.options.sqlite = Sqlite::Default;
    let app = project.start().await;
    app.process(json!([{ "id": "a", "body": "" }])).await;
    let count = |path: &Path| -> i64 {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&app.folder.path().join(".spin/sqlite_db.db")), 1);
}

#[tokio::test]
async fn flaky_takes_steps_from_its_checkpoints() {
    let app = with_processor("oncebus_flaky").await;
    let body = json!({ "flaky": { "steps": 3, "result": "r" } }).to_string();
    let message = |step: u32, checkpoint: Option<&str>| json!([{ "id": "a", "body": body, "step": step, "checkpoint": checkpoint, "settings": [["effects", "true"]] }]);
    assert_eq!(app.process(message(0, None)).await, json!([{ "more": "1" }]));
    assert_eq!(app.process(message(1, Some("1"))).await, json!([{ "more": "2" }]));
    assert_eq!(app.process(message(2, Some("2"))).await, json!([{ "done": "r" }]));
    let mixed_up = json!([{ "reject": "the checkpoint is not the one of step 2" }]);
    assert_eq!(app.process(message(2, Some("1"))).await, mixed_up);
    let log = app.rows("SELECT outcome FROM effects");
    assert_eq!(log, [[text("more")], [text("more")], [text("done")], [text("reject")]]);
    assert_eq!(app.rows("SELECT id FROM messages"), [[text("a")]]);
}

#[tokio::test]
async fn flaky_fails_as_the_message_says() {
    let app = with_processor("oncebus_flaky").await;
    for (plan, attempt, expected) in [
        (json!({}), 1, json!({ "done": null })),
        (json!({ "reject": "no" }), 1, json!({ "reject": "no" })),
        (
            json!({ "retry_until_attempt": 3, "after_seconds": 7 }),
            2,
            json!({ "retry": { "reason": "attempt 2 is to fail", "after_seconds": 7 } }),
        ),
        (json!({ "retry_until_attempt": 3 }), 3, json!({ "done": null })),
        (json!({ "trap_until_epoch": 1 }), 1, json!({ "done": null })),
        (json!({ "reject": "later", "at_step": 1, "steps": 2, "checkpoint_bytes": 3 }), 1, json!({ "more": "1  " })),
    ] {
        let body = json!({ "flaky": plan }).to_string();
        assert_eq!(app.process(json!([{ "id": body, "body": body, "attempt": attempt }])).await, json!([expected]));
    }
    let odd = json!({ "flaky": { "stepps": 3 } }).to_string();
    let steps = app.process(json!([{ "id": "odd", "body": odd }])).await;
    assert!(steps[0]["reject"].as_str().unwrap().starts_with("the plan does not parse: "), "{steps}");
    let wrong_number = json!({ "flaky": { "answers": -1 } }).to_string();
    assert_eq!(app.process(json!([{ "id": "n", "body": wrong_number }])).await, json!([]));
}

#[tokio::test]
async fn flaky_traps_after_the_effect() {
    let app = with_processor("oncebus_flaky").await;
    let body = json!({ "flaky": { "trap_until_epoch": 2 } }).to_string();
    let message = |epoch: u32| json!([{ "id": "a", "body": body, "epoch": epoch, "settings": [["effects", "true"]] }]);
    assert_eq!(app.post("/process", &message(1).to_string()).await.0, 500);
    assert_eq!(app.rows("SELECT outcome FROM effects"), [[text("trap")]]);
    assert_eq!(app.rows("SELECT epoch FROM messages"), [[Value::Integer(1)]], "the effect is there");
    assert_eq!(app.process(message(2)).await, json!([{ "done": null }]));
    assert_eq!(app.rows("SELECT epoch FROM messages"), [[Value::Integer(1)]], "and stays as it was written first");
}

#[tokio::test]
async fn a_dependency_has_the_rights_that_it_inherits_and_no_others() {
    let peer = Peer::start().await;
    let attempts = ["environment", "database", "variable name", &format!("get http://{}/", peer.address)];
    let refused = ["[]", "Error::AccessDenied", "Error::Undefined(\"name\")", "ErrorCode::HttpRequestDenied"];
    let granted = ["[(\"COLOUR\", \"green\")]", "ok", "world", "200"];
    for (inherit, rights) in [
        ("[]", [false; 4]),
        ("false", [false; 4]),
        ("true", [true; 4]),
        ("[\"environment\"]", [true, false, false, false]),
        ("[\"sqlite_databases\"]", [false, true, false, false]),
        ("[\"variables\"]", [false, false, true, false]),
        ("[\"allowed_outbound_hosts\"]", [false, false, false, true]),
    ] {
        let rights_of_the_component = format!(
            "{DATABASE}\n{}\nenvironment = {{ COLOUR = \"green\" }}\nvariables = {{ name = \"world\" }}",
            peer.allow()
        );
        let mut project = Project::with_inherit(inherit, &rights_of_the_component);
        project.options.overrides.insert(format!("guest/{DEPENDENCY}"), wasm("oncebus_host_probe"));
        let app = project.start().await;
        let batch: Vec<_> = attempts.iter().map(|attempt| json!({ "id": attempt, "body": attempt })).collect();
        let steps = app.process(json!(batch)).await;
        for (i, right) in rights.into_iter().enumerate() {
            let expected = if right { granted[i] } else { refused[i] };
            assert_eq!(steps[i], json!({ "done": expected }), "{inherit}: {}", attempts[i]);
        }
    }
}

#[tokio::test]
async fn a_dependency_that_does_not_fit_is_refused() {
    let guest = wasm("oncebus_host_guest");
    let refusal = |dependency: String| {
        let text = format!(
            "[component.guest]\nsource = \"{}\"\n[component.guest.dependencies]\n{dependency}",
            guest.display()
        );
        Project::bare(&text).refusal()
    };
    let store = wasm("oncebus_store");
    let store = store.display();
    for (dependency, expected) in [
        (format!("\"a:b/c\" = {{ path = \"{store}\" }}"), "it does not import `a:b/c`"),
        (
            format!("\"{DEPENDENCY}\" = {{ path = \"{}\" }}", guest.display()),
            "the dependency does not export `oncebus:processor/process@0.1.0`",
        ),
        (
            format!("\"{DEPENDENCY}\" = {{ path = \"{store}\", inherit_configuration = [\"files\"] }}"),
            "this host has no `files` to inherit",
        ),
        (format!("\"{DEPENDENCY}\" = {{ path = \"{store}\", package = \"x\" }}"), "is not supported by this host"),
        (String::new(), "oncebus:processor/process@0.1.0"),
    ] {
        let text = refusal(dependency).await;
        assert!(text.contains(expected), "{text}");
    }
}
