//! The same components with Azurite as their storage: a server that is not ours, on a clock that nobody moves.
//!
//! What it adds to the emulator: another implementation of conditional writes, claims that run out in real time, and connections
//! that are closed under one's hands: Azurite closes each that was idle for 5 s, and a request that is on its way then has no answer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::{Method, StatusCode};
use oncebus_e2e::{At, Cut, Does, Services, Setup, World};

async fn world() -> Option<World> {
    let services = Services::with_azurite().await?;
    // On a busy machine calls overrun claims as short as these: that must not use up the attempts.
    let setup = Setup::flaky().with_short_claims().with_defaults("max_attempts = 100");
    Some(World::on(Arc::new(services), setup).await)
}

/// Steps that ran, by message: the epoch of each, in order.
fn epochs(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut epochs = BTreeMap::<_, Vec<String>>::new();
    for row in world.query("SELECT id, step || ' under ' || epoch FROM effects ORDER BY rowid") {
        let [id, step] = [0, 1].map(|at| format!("{:?}", row[at]).replace("Text(", "").replace(['"', ')'], ""));
        epochs.entry(id).or_default().push(step);
    }
    epochs
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_is_followed_by_one_that_finishes() {
    let Some(world) = world().await else { return };
    let once = vec!["0 under 1"];
    let deaths = [
        (At::Claim, Does::DieBefore, once.clone()),
        (At::Claim, Does::DieAfter, vec!["0 under 2"]),
        (At::Write, Does::DieBefore, vec!["0 under 1", "0 under 2"]),
        (At::Write, Does::DieAfter, once.clone()),
        (At::Complete, Does::DieBefore, once.clone()),
        (At::Complete, Does::DieAfter, once),
    ];
    for (n, (at, does, _)) in deaths.iter().enumerate() {
        world.send("orders", &format!("m-{n}"), "{}").await;
        world.cuts.add(Cut::first(*at, does.clone()));
        world.run_and_die("orders").await;
    }
    world.let_locks_expire().await;
    world.drain("orders").await;
    let expected: BTreeMap<String, Vec<String>> = deaths
        .iter()
        .enumerate()
        .map(|(n, (.., steps))| (format!("m-{n}"), steps.iter().map(|step| (*step).to_owned()).collect()))
        .collect();
    assert_eq!(epochs(&world), expected);
    assert_eq!(world.stored(), expected.into_keys().collect::<Vec<_>>());
    let blobs = world.services().blobs().await.blobs;
    assert!(blobs.iter().all(|blob| blob.metadata["st"] == "d"), "{blobs:?}");
}

/// Four runs at once; a fourth of the messages come twice and a third take turns; two runs die, and replies are lost.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_each_message_has_its_effect_once() {
    const MESSAGES: usize = 200;
    let Some(world) = world().await else { return };
    for n in 0..MESSAGES {
        let steps = if n % 5 == 0 { 2 } else { 1 };
        for _ in 0..if n % 4 == 0 { 2 } else { 1 } {
            let mut request = world.request(Method::POST, "/queues/orders/messages");
            request = request.header("Idempotency-Key", format!("\"m-{n:03}\""));
            if n % 3 == 0 {
                request = request.header("Oncebus-Lock-Key", format!("sender-{}", n % 7));
            }
            let body = format!(r#"{{"flaky":{{"steps":{steps}}}}}"#);
            let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
        }
    }
    for cut in [
        Cut::after(40, At::Claim, Does::DieAfter),
        Cut::after(80, At::Write, Does::DieBefore),
        Cut::after(20, At::Claim, Does::LoseReply),
        Cut::after(60, At::Write, Does::LoseReply),
        Cut::after(30, At::Complete, Does::LoseReply),
    ] {
        world.cuts.add(cut);
    }
    let mut died = 0;
    while world.queued("orders") > 0 {
        let runs = join_all((0..4).map(|_| world.run_for("orders", 5))).await;
        died += runs.iter().filter(|run| run.is_err()).count();
        world.let_locks_expire().await;
    }
    assert_eq!((died, world.cuts.left()), (2, 0));
    let ids: Vec<String> = (0..MESSAGES).map(|n| format!("m-{n:03}")).collect();
    assert_eq!(world.stored(), ids);
    for (id, steps) in epochs(&world) {
        let mut distinct = steps.clone();
        distinct.dedup();
        assert_eq!(distinct, steps, "{id}: a step twice under one epoch");
    }
    assert_eq!(world.queued("orders.poison"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_closed_when_idle_lose_nothing() {
    const AT_ONCE: usize = 16;
    // Around the 5 s after which Azurite closes a connection that all of them have used.
    const PAUSES: [u64; 3] = [4_990, 5_000, 5_010];
    let Some(world) = world().await else { return };
    let sending = async {
        let mut sent = 0;
        for pause in PAUSES {
            join_all((sent..sent + AT_ONCE).map(|n| {
                let world = &world;
                async move { world.send("orders", &format!("m-{n:03}"), r#"{"flaky":{"steps":2}}"#).await }
            }))
            .await;
            sent += AT_ONCE;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        sent
    };
    // In the end nothing is left to come.
    let (sent, run) = tokio::join!(sending, world.run_for("orders", 20));
    let summary = run.unwrap().summary();
    assert_eq!((summary.lost, summary.retried, summary.unsettled), (0, 0, 0), "{summary:?}");
    // On a busy machine the run may have been over before all was done.
    world.drain("orders").await;
    assert_eq!(world.stored().len(), sent);
    let steps = world.query("SELECT DISTINCT id, step FROM effects").len();
    assert_eq!((steps, world.query("SELECT id FROM effects").len()), (2 * sent, 2 * sent), "{:?}", epochs(&world));
}
