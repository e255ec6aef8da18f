//! The clocks of a running emulator: real time plus an offset that tests may move.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::time::UnixMillis;

/// Real time plus an offset. Clones share the offset.
///
/// Between moves it runs evenly: it reads the system's clock once and then counts monotonic time, so
/// a step of the system clock shortens no lock.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    origin: UnixMillis,
    offset_millis: Arc<watch::Sender<i64>>,
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
            started: Instant::now(),
            origin: UnixMillis::from(SystemTime::now()),
            offset_millis: Arc::new(watch::Sender::new(offset_millis)),
        }
    }

    /// The time it is.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        let offset = *self.offset_millis.borrow();
        let elapsed = self.origin.after(self.started.elapsed());
        UnixMillis(elapsed.0.saturating_add(offset))
    }

    /// Moves the clock forward; whoever sleeps by it looks again.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.offset_millis.send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// How far it is ahead of real time, in milliseconds.
    #[must_use]
    pub fn offset_millis(&self) -> i64 {
        *self.offset_millis.borrow()
    }

    /// Returns when it is `deadline`, whether time passed or the clock was moved.
    pub async fn sleep_until(&self, deadline: UnixMillis) {
        let mut moved = self.offset_millis.subscribe();
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return;
            }
            // tokio's timers reach a few years ahead; a longer sleep looks again after a day.
            let nap = left.min(Duration::from_secs(86_400));
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = moved.changed() => {}
            }
        }
    }
}
