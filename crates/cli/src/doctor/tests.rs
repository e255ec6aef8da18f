//! The doctor against the emulator, with credentials that may manage and ones that may not.

use oncebus_emulator::{AccessRule, Claim, Emulator, Options, QueueOptions};

use super::report::{Check, Level};
use super::*;

const DOCUMENT: &str = "[queues.orders]\n";

async fn emulator(queues: &[&str]) -> Emulator {
    let rules = vec![
        AccessRule::default(),
        AccessRule::new("in", "in-key", &[Claim::Send]),
        AccessRule::new("out", "out-key", &[Claim::Listen]),
    ];
    let queues =
        queues.iter().map(|name| QueueOptions { name: (*name).to_owned(), ..QueueOptions::default() }).collect();
    Emulator::start(Options { queues, access_rules: rules, ..Options::default() }).await.unwrap()
}

fn keyed(emulator: &Emulator, name: &str, key: &str) -> Option<Secret> {
    let url = emulator.service_bus_url();
    Some(Secret::new(format!("Endpoint={url};SharedAccessKeyName={name};SharedAccessKey={key}")))
}

fn args(emulator: &Emulator) -> Args {
    Args {
        config: PathBuf::new(),
        servicebus: Some(Secret::new(emulator.service_bus_connection_string())),
        servicebus_send: None,
        servicebus_listen: None,
        storage: Some(Secret::new(emulator.storage_connection_string())),
        create: true,
    }
}

/// With a credential for each direction, and none that may manage.
fn without_manage(emulator: &Emulator) -> Args {
    Args {
        servicebus: None,
        servicebus_send: keyed(emulator, "in", "in-key"),
        servicebus_listen: keyed(emulator, "out", "out-key"),
        ..args(emulator)
    }
}

async fn examined(args: &Args) -> Vec<Check> {
    let mut report = Report::new(|_| ());
    examine(args, &Config::parse(DOCUMENT).unwrap(), &mut report).await.unwrap();
    report.checks().to_vec()
}

fn level(checks: &[Check], name: &str) -> Option<Level> {
    checks.iter().find(|check| check.name == name).map(|check| check.level)
}

fn failed(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter(|check| check.level == Level::Fail).map(|check| check.name.as_str()).collect()
}

/// With a container SAS in place of the account key.
fn narrow(emulator: &Emulator, permissions: &str) -> Option<Secret> {
    let key = StorageConnection::parse(&emulator.storage_connection_string()).unwrap();
    let permissions = oncebus_azure::sas::blob::Permissions::parse(permissions).unwrap();
    let now = Native::new().unwrap().wall();
    Some(Secret::new(key.with_container_sas("oncebus", permissions, now.plus(Duration::from_secs(3_600))).expose()))
}

#[tokio::test]
async fn everything_in_order_is_ok_and_nothing_is_left_in_a_queue() {
    let emulator = emulator(&["orders", "orders.poison"]).await;
    for expected in ["made", "there"] {
        let checks = examined(&args(&emulator)).await;
        assert_eq!(failed(&checks), Vec::<&str>::new(), "{checks:?}");
        let container = checks.iter().find(|check| check.name == "container oncebus").unwrap();
        assert_eq!(container.sentence, expected);
        for name in ["records", "clock", "listen orders", "send orders", "send orders.poison"] {
            assert_eq!(level(&checks, name), Some(Level::Ok), "{name} in {checks:?}");
        }
        // The configuration leaves it open who may send, and that is said.
        let warned: Vec<&str> =
            checks.iter().filter(|check| check.level != Level::Ok).map(|check| check.name.as_str()).collect();
        assert_eq!(warned, ["access"], "{checks:?}");
        let queue = checks.iter().find(|check| check.name == "queue orders").unwrap();
        assert!(queue.sentence.ends_with("lock duration 60 s, max delivery count 10"), "{queue}");
    }
    assert!(emulator.admin().messages("orders").is_empty());
    assert!(emulator.admin().messages("orders/$DeadLetterQueue").is_empty());
}

#[tokio::test]
async fn a_message_in_the_queue_is_not_touched() {
    let emulator = emulator(&["orders", "orders.poison"]).await;
    let connection = ServiceBusConnection::parse(&emulator.service_bus_connection_string()).unwrap();
    let platform = Native::new().unwrap();
    let service = oncebus_azure::servicebus::ServiceBus::new(&connection, platform.wall(), PATIENCE);
    ask(&platform, service.send("orders", &Default::default()).unwrap()).await.unwrap();
    let before = format!("{:?}", emulator.admin().messages("orders"));
    examined(&args(&emulator)).await;
    assert_eq!(format!("{:?}", emulator.admin().messages("orders")), before);
}

#[tokio::test]
async fn a_missing_queue_fails_and_says_how_to_make_it() {
    let emulator = emulator(&["orders.poison"]).await;
    let checks = examined(&without_manage(&emulator)).await;
    assert_eq!(failed(&checks), ["queue orders"]);
    // Whoever cannot read the settings is told once what they must be.
    let unsaid: Vec<&Check> = checks.iter().filter(|check| check.name == "queue settings").collect();
    assert_eq!(unsaid.len(), 1, "{checks:?}");
    let check = checks.iter().find(|check| check.name == "queue orders").unwrap();
    assert!(check.sentence.contains("az servicebus queue create --name orders --lock-duration PT60S"), "{check}");
}

#[tokio::test]
async fn whoever_may_manage_has_the_queues_made_and_their_settings_compared() {
    let emulator = emulator(&[]).await;
    let checks = examined(&args(&emulator)).await;
    for name in ["queue orders", "queue orders.poison"] {
        let check = checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(check.sentence, "made: lock duration 60 s, max delivery count 10, message TTL P3D", "{name}");
    }
    emulator.admin().put_queue(QueueOptions { max_delivery_count: 3, ..QueueOptions::from("orders") }).unwrap();
    let checks = examined(&args(&emulator)).await;
    assert_eq!(failed(&checks), ["queue orders"], "{checks:?}");
}

#[tokio::test]
async fn a_poison_queue_that_is_not_there_is_never_ok() {
    let emulator = emulator(&["orders"]).await;
    let looking = Args { create: false, ..args(&emulator) };
    examined(&args(&emulator)).await;
    assert!(emulator.admin().remove_queue("orders.poison"));
    let checks = examined(&looking).await;
    assert_eq!(failed(&checks), ["queue orders.poison"], "{checks:?}");
    assert_eq!(level(&checks, "send orders.poison"), None);
    // Without a credential that may look there, nobody can say.
    let blind = Args { servicebus_listen: keyed(&emulator, "in", "in-key"), ..without_manage(&emulator) };
    let checks = examined(&blind).await;
    assert_eq!(level(&checks, "send orders.poison"), Some(Level::Warn), "{checks:?}");
}

#[tokio::test]
async fn each_right_is_tried_with_its_own_credential() {
    let emulator = emulator(&["orders", "orders.poison"]).await;
    assert_eq!(failed(&examined(&without_manage(&emulator)).await), Vec::<&str>::new());
    let swapped = Args {
        servicebus_send: keyed(&emulator, "out", "out-key"),
        servicebus_listen: keyed(&emulator, "in", "in-key"),
        ..args(&emulator)
    };
    assert_eq!(failed(&examined(&swapped).await), ["listen orders", "send orders", "send orders.poison"]);
}

#[tokio::test]
async fn a_container_is_made_only_where_that_is_asked_for_and_allowed() {
    let emulator = emulator(&["orders", "orders.poison"]).await;
    let looking = Args { create: false, ..args(&emulator) };
    assert_eq!(failed(&examined(&looking).await), ["container oncebus"]);
    let narrowed = Args { storage: narrow(&emulator, "rcw"), ..args(&emulator) };
    assert_eq!(failed(&examined(&narrowed).await), ["container oncebus"]);
    assert_eq!(failed(&examined(&args(&emulator)).await), Vec::<&str>::new());
    assert_eq!(failed(&examined(&narrowed).await), Vec::<&str>::new());
}

#[tokio::test]
async fn a_sas_with_too_little_fails_and_one_with_too_much_warns() {
    let emulator = emulator(&["orders", "orders.poison"]).await;
    examined(&args(&emulator)).await;
    let little = examined(&Args { storage: narrow(&emulator, "r"), ..args(&emulator) }).await;
    assert_eq!(failed(&little), ["storage rights", "records"]);
    let much = examined(&Args { storage: narrow(&emulator, "rcwd"), ..args(&emulator) }).await;
    assert_eq!(level(&much, "storage rights"), Some(Level::Warn));
    assert_eq!(level(&much, "records"), Some(Level::Ok));
    assert_eq!(level(&much, "storage credential"), Some(Level::Warn), "it ends in an hour");
}

#[tokio::test]
async fn what_is_not_given_or_not_reached_fails_without_showing_a_secret() {
    let emulator = emulator(&[]).await;
    let nothing = Args { storage: None, servicebus: None, ..args(&emulator) };
    let checks = examined(&nothing).await;
    assert_eq!(failed(&checks), ["storage", "service bus, receiving", "service bus, sending"]);

    let gone = args(&emulator);
    emulator.shutdown().await;
    let checks = examined(&gone).await;
    assert_eq!(failed(&checks), ["container oncebus", "service bus"]);
    let shown = format!("{checks:?} {gone:?}");
    assert!(!shown.contains("SAS_KEY_VALUE") && !shown.contains("Eby8vdM02"), "{shown}");
}
