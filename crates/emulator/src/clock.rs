//! The clocks of a running emulator: real time plus an offset that tests may move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::time::UnixMillis;

/// tokio's timers reach a few years ahead; a longer sleep looks again after a day.
const LONGEST_NAP: Duration = Duration::from_secs(86_400);

/// Real time plus an offset. Clones share the offset.
///
/// Between moves it runs evenly: it reads the system's clock once and then counts monotonic time, so
/// a step of the system clock shortens no lock.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Absent in a clock that only moves when it is moved.
    started: Option<Instant>,
    origin: UnixMillis,
    moved: Arc<Moved>,
}

/// What clones share.
#[derive(Debug)]
struct Moved {
    /// As in the moves: every operation reads it, and waits for nobody.
    offset_millis: AtomicI64,
    moves: watch::Sender<Moves>,
}

/// How a clock was moved.
#[derive(Debug, Clone, Copy)]
struct Moves {
    /// How far it is ahead of real time, in milliseconds.
    offset_millis: i64,
    /// The sum of the moves forward alone.
    forward_millis: i64,
}

impl Clock {
    /// A clock that shows real time.
    #[must_use]
    pub fn real() -> Self {
        Self::with_offset(0)
    }

    /// A clock that is ahead of real time by so many milliseconds.
    #[must_use]
    pub fn with_offset(offset_millis: i64) -> Self {
        Self {
            started: Some(Instant::now()),
            origin: UnixMillis::from(SystemTime::now()),
            moved: Moved::by(offset_millis),
        }
    }

    /// A clock that stands still unless it is moved.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn standing(at: UnixMillis) -> Self {
        Self { started: None, origin: at, moved: Moved::by(0) }
    }

    /// The time it is.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        let unmoved = self.origin.after(self.elapsed());
        UnixMillis(unmoved.0.saturating_add(self.offset_millis()))
    }

    /// Moves the clock forward; whoever sleeps by it looks again.
    pub fn advance(&self, by: Duration) {
        self.shift(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Moves the clock by so many milliseconds, back when negative; whoever sleeps by it looks again.
    pub fn shift(&self, millis: i64) {
        self.moved.moves.send_modify(|moves| {
            moves.offset_millis = moves.offset_millis.saturating_add(millis);
            moves.forward_millis = moves.forward_millis.saturating_add(millis.max(0));
            self.moved.offset_millis.store(moves.offset_millis, Ordering::SeqCst);
        });
    }

    /// How far it is ahead of real time, in milliseconds.
    #[must_use]
    pub fn offset_millis(&self) -> i64 {
        self.moved.offset_millis.load(Ordering::SeqCst)
    }

    /// Returns when somebody who began to wait now has waited this long. A move forward counts as waiting;
    /// a move back makes nobody wait longer.
    pub async fn elapse(&self, patience: Duration) {
        let mut moved = self.moved.moves.subscribe();
        // A clock that never goes back.
        let waited = || UnixMillis(self.moved.moves.borrow().forward_millis).after(self.elapsed());
        let deadline = waited().after(patience);
        loop {
            let left = deadline.since(waited());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(LONGEST_NAP)) => {}
                _ = moved.changed() => {}
            }
        }
    }

    /// Returns when it is `deadline`, whether time passed or the clock was moved.
    pub async fn sleep_until(&self, deadline: UnixMillis) {
        let mut moved = self.moved.moves.subscribe();
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(LONGEST_NAP)) => {}
                _ = moved.changed() => {}
            }
        }
    }

    /// Real time since this clock was made.
    fn elapsed(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }
}

impl Moved {
    fn by(offset_millis: i64) -> Arc<Self> {
        let moves = watch::Sender::new(Moves { offset_millis, forward_millis: 0 });
        Arc::new(Self { offset_millis: AtomicI64::new(offset_millis), moves })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_move_forward_ends_a_wait_and_a_move_back_does_not_prolong_it() {
        let clock = Clock::real();
        let wait = clock.elapse(Duration::from_secs(600));
        let moves = async {
            clock.shift(-3_600_000);
            tokio::task::yield_now().await;
            clock.shift(600_000);
        };
        let both = async { tokio::join!(wait, moves) };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("the wait is over");
    }
}
