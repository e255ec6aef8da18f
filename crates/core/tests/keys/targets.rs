//! A fuzz target: a function of bytes that panics when a promise is broken.

use std::collections::BTreeMap;
use std::time::Duration;

use oncebus_core::config::{Config, to_one_line};
use oncebus_core::id::check_logical_id;
use oncebus_core::ingest::access::Grant;
use oncebus_core::ingest::access::signature::{Policy, Signer};
use oncebus_core::ingest::entry::check_key;
use oncebus_core::ingest::head::Head;
use oncebus_core::ingest::key::{IdSources, KeySource, LockKeySources};
use oncebus_core::ingest::schedule::{LONGEST_DELAY, LONGEST_TTL, Schedule, When};
use oncebus_core::secret::Secret;
use oncebus_core::time::UnixTime;

const NOW: UnixTime = UnixTime(1_795_000_000);

/// Three parts with a zero byte between them: key expressions, a line each; headers; a body. Whatever they are:
///
/// * expressions that are accepted mean the same in the line that components get;
/// * an id or a lock key that is found can be used, is found again, and is another's body's only where the body was looked at;
/// * no delay and no lifetime is out of bounds, and no time before now is waited for;
/// * no signature is right without the secret.
pub(crate) fn key_expressions(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (expressions, headers, body) = (String::from_utf8_lossy(part()).into_owned(), part(), part());
    let headers = headers.split(|byte| *byte == b'\n').map(|line| {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
        (name, halves.next().unwrap_or_default().to_vec())
    });
    let head = Head { method: "POST".to_owned(), target: "/".to_owned(), headers: headers.collect() };
    names(&expressions, &head, body);
    times(&head);
    signatures(&head, body);
}

fn names(expressions: &str, head: &Head, body: &[u8]) {
    let expressions: Vec<&str> = expressions.split('\n').collect();
    let quoted: Vec<String> = expressions.iter().map(|text| format!("{text:?}")).collect();
    let json = format!("{{\"queues\": {{\"q\": {{\"key_from\": [{}]}}}}}}", quoted.join(","));
    if let Ok(config) = Config::parse(&json) {
        assert_eq!(to_one_line(&json).and_then(|line| Config::parse(&line)), Ok(config), "handed on");
    }
    let Ok(sources) = expressions.iter().map(|text| KeySource::parse(text)).collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let (ids, locks) = (IdSources(sources.clone()), LockKeySources(sources));
    let (id, lock) = (ids.find(head, body), locks.find(head, body));
    assert_eq!((&ids.find(head, body), &locks.find(head, body)), (&id, &lock));
    if !ids.read_body() {
        assert_eq!((&ids.find(head, b"another"), &locks.find(head, b"another")), (&id, &lock));
    }
    if let Ok(Some(id)) = id {
        assert_eq!(check_logical_id(&id), Ok(()), "{id:?}");
    }
    if let Ok(Some(key)) = lock {
        assert_eq!(check_key(&key), Ok(()), "{key:?}");
    }
}

fn times(head: &Head) {
    let Ok(Schedule { when, time_to_live }) = Schedule::of(head) else { return };
    assert!(time_to_live.is_none_or(|ttl| ttl <= LONGEST_TTL && !ttl.is_zero()));
    if let Some(When::After(delay)) = when {
        assert!(delay <= LONGEST_DELAY && !delay.is_zero());
    }
    if let Some(Ok(Some(time))) = when.map(|when| when.by(NOW)) {
        assert!(time > NOW && time.since(NOW) <= LONGEST_DELAY);
    }
}

fn signatures(head: &Head, body: &[u8]) {
    let grant = Grant { name: "a".to_owned(), queues: None };
    let signers = vec![Signer { grant, variable: "v".to_owned() }];
    let policy = Policy { signers, tolerance: Duration::from_secs(u64::MAX) };
    if let Ok(claimed) = policy.read(head, NOW) {
        let secrets = BTreeMap::from([("v".to_owned(), Secret::new("a secret that no fuzzer guesses"))]);
        assert!(policy.verify(&claimed, head, body, &secrets).is_err());
        assert!(policy.verify(&claimed, head, body, &BTreeMap::new()).is_err());
    }
}
