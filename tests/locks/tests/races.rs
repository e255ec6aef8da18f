//! 32 contenders for one record: exactly one of them wins, every time, and each of the others is told so.
//!
//! All contenders have looked before any of them writes, so that each race is the worst case and not the usual
//! one. The epoch is the witness at the end: one higher for each race, so nobody won twice or unseen.
//!
//! The same code runs 1,000 races of each kind on the emulator, and 100 on Azurite, where claims run out on their own.
//! There are several records, each with contenders of its own, so that what has to be waited for is waited for by all at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use oncebus_core::record::finding::Finding;
use oncebus_locks::ours::{Attempt, Claim, Worker};
use oncebus_locks::target::Target;

const CONTENDERS: usize = 32;
/// Races at the same moment: more would only stand in line for the storage.
const AT_ONCE: usize = 4;

/// How much there is to do.
#[derive(Clone, Copy)]
struct Size {
    records: usize,
    /// One after the other, for each record.
    rounds: u64,
}

/// A record, and those who want it.
struct Prize<'t> {
    name: String,
    contenders: Vec<Worker<'t>>,
    /// The claim that holds, and which of them has it.
    held: (usize, Claim),
}

impl<'t> Prize<'t> {
    /// A record whose first claim is somebody's already.
    async fn claimed(target: &'t Target, name: String) -> Self {
        let mut contenders = contenders(target);
        let claim = contenders[0].create(&name).await.won().expect("nobody else wants it yet");
        Self { name, contenders, held: (0, claim) }
    }

    /// All have seen the same version, and all write.
    async fn race(&mut self) {
        let seen = self.contenders[0].look(&self.name).await;
        let attempts = self.contenders.iter_mut().map(|contender| contender.take_over(&self.name, &seen));
        let held = winner(&self.name, join_all(attempts).await);
        assert_eq!(held.1.record.epoch, self.held.1.record.epoch + 1, "{}: one epoch for each race", self.name);
        self.held = held;
    }
}

fn contenders(target: &Target) -> Vec<Worker<'_>> {
    (0..CONTENDERS).map(|_| target.worker()).collect()
}

/// The one that won. All others must know that they lost.
fn winner(name: &str, attempts: Vec<Attempt>) -> (usize, Claim) {
    let lost = attempts.iter().filter(|attempt| matches!(attempt, Attempt::Lost)).count();
    let won = attempts.into_iter().enumerate().filter_map(|(at, attempt)| Some((at, attempt.won()?)));
    let mut won: Vec<_> = won.collect();
    assert_eq!((won.len(), lost), (1, CONTENDERS - 1), "{name}: winners, and losers");
    won.remove(0)
}

async fn prizes<'t>(target: &'t Target, kind: &str, size: Size) -> Vec<Prize<'t>> {
    stream::iter(0..size.records)
        .map(|number| Prize::claimed(target, format!("{kind}/{number}")))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn race(prizes: &mut [Prize<'_>]) {
    stream::iter(prizes).for_each_concurrent(AT_ONCE, Prize::race).await;
}

/// Every race was won once, or the epoch is another one.
fn check(prizes: &[Prize<'_>], size: Size) {
    assert!(prizes.iter().all(|prize| prize.held.1.record.epoch == 1 + size.rounds));
    assert_eq!(prizes.len(), size.records);
}

async fn an_absent_record_is_created_by_one(target: &Target, size: Size) {
    let rounds = (0..size.rounds).flat_map(|round| (0..size.records).map(move |record| format!("{round}/{record}")));
    let created = stream::iter(rounds).map(|name| async move {
        let mut contenders = contenders(target);
        let attempts = join_all(contenders.iter_mut().map(|contender| contender.create(&name))).await;
        winner(&name, attempts).1.record.epoch
    });
    let epochs: Vec<u64> = created.buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(epochs.len(), size.records * usize::try_from(size.rounds).unwrap());
    assert!(epochs.iter().all(|epoch| *epoch == 1));
}

async fn an_expired_record_is_taken_by_one(target: &Target, size: Size) {
    let mut prizes = prizes(target, "expired", size).await;
    for _ in 0..size.rounds {
        let names: Vec<&str> = prizes.iter().map(|prize| prize.name.as_str()).collect();
        target.let_claims_expire(&names).await;
        race(&mut prizes).await;
    }
    check(&prizes, size);
}

async fn a_released_record_is_taken_by_one(target: &Target, size: Size) {
    let mut prizes = prizes(target, "released", size).await;
    for _ in 0..size.rounds {
        let released = prizes.iter_mut().map(async |prize| {
            let (holder, claim) = &prize.held;
            prize.contenders[*holder].release(claim).await.expect("it is the holder's to give back");
        });
        join_all(released).await;
        race(&mut prizes).await;
    }
    check(&prizes, size);
}

async fn a_record_that_holds_is_taken_by_nobody(target: &Target) {
    let mut prize = Prize::claimed(target, "held".to_owned()).await;
    target.let_claims_age();
    let attempts = join_all(prize.contenders.iter_mut().map(|contender| contender.claim("held"))).await;
    let turned_away = attempts.iter().filter(|attempt| matches!(attempt, Attempt::Found(Finding::Busy { .. })));
    assert_eq!(turned_away.count(), CONTENDERS, "{attempts:?}");
    // And the holder still has it.
    prize.contenders[0].finish(&prize.held.1).await.expect("the claim of the holder holds");
}

/// Each story, against a target.
macro_rules! against {
    ($module:ident, $target:expr, $size:expr) => {
        mod $module {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn an_absent_record_is_created_by_one() {
                let Some(target) = $target.await else { return };
                super::an_absent_record_is_created_by_one(&target, $size).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn an_expired_record_is_taken_by_one() {
                let Some(target) = $target.await else { return };
                super::an_expired_record_is_taken_by_one(&target, $size).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_released_record_is_taken_by_one() {
                let Some(target) = $target.await else { return };
                super::a_released_record_is_taken_by_one(&target, $size).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_record_that_holds_is_taken_by_nobody() {
                let Some(target) = $target.await else { return };
                super::a_record_that_holds_is_taken_by_nobody(&target).await;
            }
        }
    };
}

against!(on_the_emulator, async { Some(Target::emulator().await) }, Size { records: 4, rounds: 250 });
against!(on_azurite, Target::azurite(), Size { records: 25, rounds: 4 });
