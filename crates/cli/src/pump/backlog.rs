//! Writes down the backlog of the queues that some route asks for. [`oncebus_core::ingest::routing::backlog`] says what and where.
//!
//! Every few seconds: count the messages of each such queue over the management plane, where the credential has the right Manage; add how long the
//! oldest message of the last run had waited, which every pump knows of its own queues. Written when it says something new, and
//! at least three times within the age at which readers stop to believe it.
//!
//! Failures cost nothing but the backlog: readers fall back to the queues' weights. They are said once, and once when it works again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_core::config::Config;
use oncebus_core::ingest::routing::backlog::{Backlog, Observation};
use oncebus_core::time::{Instant, UnixTime};
use oncebus_runtime::backlog::Backlogs;
use oncebus_runtime::calls::{Bounds, Repeat, call};
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::platform::native::Native;

use super::board::Board;
use crate::doctor::management::{self, Found};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time between two looks.
const RHYTHM: Duration = Duration::from_secs(5);

/// What is watched, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    /// The queues that some route asks for.
    queues: Vec<String>,
    /// Where the blob is.
    storage: StorageConnection,
    /// The container.
    container: String,
    /// With the right Manage, if there is one.
    manage: Option<ServiceBusConnection>,
    /// At what age readers stop to believe.
    max_age: Duration,
}

/// What was seen of a queue, and when by our own clock.
#[derive(Debug, Clone)]
struct Look {
    queue: String,
    messages: Option<u64>,
    /// In seconds.
    oldest: Option<u64>,
    seen: Instant,
}

/// Whether counting and writing work, so that each is said once.
#[derive(Debug, Default)]
struct Said {
    not_counted: bool,
    not_written: bool,
}

impl Watch {
    /// What the routes of a configuration ask for.
    pub(crate) fn new(config: &Config, storage: StorageConnection, manage: Option<ServiceBusConnection>) -> Self {
        Self {
            queues: config.routing.watched().into_iter().map(str::to_owned).collect(),
            storage,
            container: config.container.clone(),
            manage,
            max_age: config.routing.backlog_max_age,
        }
    }

    /// Watches, for ever.
    pub(super) async fn keep(self, platform: Native, board: Arc<Board>) {
        let rhythm = (self.max_age / 3).min(RHYTHM);
        let mut said = Said::default();
        let mut last: Option<(Backlog, Instant)> = None;
        loop {
            let looks = self.look(&platform, &board, &mut said).await;
            let now = platform.now();
            let due = last.as_ref().is_none_or(|(_, at)| now.since(*at).saturating_add(rhythm) > self.max_age / 3);
            // Whatever date: only what it says is compared.
            let new = last.as_ref().is_none_or(|(told, _)| !self.backlog(&looks, now, UnixTime(0)).says_the_same(told));
            if due || new {
                match self.write(&platform, &looks).await {
                    Ok(Some(told)) => {
                        last = Some((told, now));
                        if std::mem::take(&mut said.not_written) {
                            tracing::info!("the backlog is written again");
                        }
                    }
                    // Another pump was faster: read what it wrote.
                    Ok(None) => continue,
                    Err(failure) => {
                        if !std::mem::replace(&mut said.not_written, true) {
                            tracing::warn!("the backlog is not written, and routes go by weight: {failure}");
                        }
                    }
                }
            }
            platform.sleep(rhythm).await;
        }
    }

    async fn look(&self, platform: &Native, board: &Board, said: &mut Said) -> Vec<Look> {
        let looks = self.queues.iter().map(|queue| async {
            let (messages, why) = match &self.manage {
                Some(connection) => count(platform, connection, queue).await,
                None => (None, None),
            };
            let now = platform.now();
            let wait = board.wait(queue).filter(|wait| now.since(wait.seen) <= self.max_age);
            // The older of the two says how old the whole is; a count is new.
            let seen = if messages.is_some() { now } else { wait.map_or(now, |wait| wait.seen) };
            (Look { queue: queue.clone(), messages, oldest: wait.map(|wait| wait.seconds), seen }, why)
        });
        let (looks, reasons): (Vec<Look>, Vec<Option<String>>) = join_all(looks).await.into_iter().unzip();
        match reasons.into_iter().flatten().next() {
            Some(why) if !std::mem::replace(&mut said.not_counted, true) => {
                tracing::warn!("the messages of queues cannot be counted ({why}): the backlog is how long they waited");
            }
            Some(_) => {}
            None => said.not_counted = false,
        }
        for look in &looks {
            if let Some(messages) = look.messages {
                board.holds(&look.queue, messages);
            }
        }
        looks
    }

    /// What was seen, by the storage server's clock, which says `date` now.
    fn backlog(&self, looks: &[Look], now: Instant, date: UnixTime) -> Backlog {
        let mut backlog = Backlog::default();
        for look in looks.iter().filter(|look| look.messages.is_some() || look.oldest.is_some()) {
            let at = date.0.saturating_sub(now.since(look.seen).as_secs());
            let seen = Observation { at, messages: look.messages, oldest_seconds: look.oldest };
            backlog.see(look.queue.as_str(), seen);
        }
        backlog
    }

    /// Puts it over what is there. What was told of our own queues; `None`: somebody else wrote meanwhile.
    async fn write(&self, platform: &Native, looks: &[Look]) -> Result<Option<Backlog>, Failure> {
        let deadline = platform.now().plus(PATIENCE);
        let blob = Backlogs::new(platform, &self.storage, &self.container);
        let found = blob.read(deadline).await?;
        let ours = self.backlog(looks, platform.now(), found.date);
        let (there, etag) = match found.blob {
            // What cannot be read is of no use to anybody: it is written over.
            Some((there, etag)) => (there.unwrap_or_default(), Some(etag)),
            None => (Backlog::default(), None),
        };
        let told = ours.over(there, found.date, self.max_age);
        Ok(blob.write(&told, etag.as_ref(), deadline).await?.then_some(ours))
    }
}

/// The active messages of a queue; else why they are not known.
async fn count(platform: &Native, connection: &ServiceBusConnection, queue: &str) -> (Option<u64>, Option<String>) {
    let deadline = platform.now().plus(PATIENCE);
    let bounds = Bounds { repeat: Repeat::IfNotSent, each: PATIENCE, deadline, wait_when_throttled: false };
    let request = management::get(connection, queue, platform.wall());
    match call(platform, request, bounds).await.result {
        Ok(response) => match management::read_found(&response) {
            Found::Queue(description) => (description.active_messages, None),
            Found::Missing => (None, Some(format!("there is no queue {queue}"))),
            Found::NotSaid(why) => (None, Some(why)),
        },
        Err(error) => (None, Some(error.to_string())),
    }
}
