//! `oncebus records unblock`: takes the name of a message that will never end off the lock of its key.

use anyhow::{anyhow, bail};
use oncebus_core::config::QueueConfig;
use oncebus_core::id::{Names, key_name};
use oncebus_core::record::finding::{Arrival, Finding, examine};
use oncebus_core::record::key::{KeyFinding, examine_key};
use oncebus_core::record::{Author, Seen};
use oncebus_core::time::rfc3339;
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::platform::{Clock as _, Entropy as _};
use oncebus_runtime::records::{Records, Written};

use super::{Opened, Store};
use crate::operator::{Out, PATIENCE, failed, on_one_line, queue};

/// Before the run in the owner of a lock, so that one sees who wrote it.
const OWNER: &str = "unblock-";

const RIGHTS: &str = "Read and Write in the container: an account key, or a SAS with r and w";

/// Arguments of `oncebus records unblock`.
#[derive(Debug, clap::Args)]
pub(super) struct UnblockArgs {
    #[command(flatten)]
    store: Store,
    /// A queue of the key's group.
    #[arg(long, value_name = "NAME")]
    queue: String,
    /// The lock key.
    #[arg(long, value_name = "KEY")]
    key: String,
}

/// Lifts the block, or says why there is nothing to lift. Run again after no answer, it finds out what became of it.
pub(super) async fn unblock(args: &UnblockArgs, out: &Out) -> anyhow::Result<()> {
    let opened = Opened::new(&args.store)?;
    let queue = queue(&opened.config, &args.queue)?;
    let records = Records::new(&opened.platform, &opened.connection, &opened.config.container);
    let (name, key) = (key_name(&queue.group, &args.key), on_one_line(&args.key));
    let Some(lock) = look(&opened, &records, &name).await? else { bail!("the key {key} has never been locked") };
    if let KeyFinding::Held { until, .. } = examine_key(&lock, queue.claim_margin) {
        bail!("the key {key} is held until {}", rfc3339(until));
    }
    let Some(by) = &lock.record.blocked_by else { bail!("nothing blocks the key {key}") };
    let blocker = look(&opened, &records, by).await?;
    let who = blocker.as_ref().map_or_else(|| by.clone(), |seen| on_one_line(&seen.record.id));
    if let Some(until) = blocker.as_ref().and_then(|seen| worked_on_until(seen, queue)) {
        bail!("the message {who} that goes first is being worked on until {until}");
    }
    let mut names = Names::new(u128::from(opened.platform.draw()) << 64 | u128::from(opened.platform.draw()));
    let author = Author { owner: format!("{OWNER}{}", names.run()), mark: names.fresh() };
    let free = lock.record.let_go_key(None, author);
    let deadline = opened.platform.now().plus(PATIENCE);
    match records.write(&name, &lock.etag, &free, deadline).await.0 {
        Ok(Written::Now(_)) => {
            let state = blocker.as_ref().map_or("gone", |seen| seen.record.state.word());
            Ok(out.line(&format!("the key {key} is free; it waited for {who} ({state})"))?)
        }
        Ok(Written::Refused) => Err(anyhow!("somebody has taken the key {key} meanwhile")),
        Err(failure) => Err(failed(&failure, &format!("cannot write the lock of {key}"), RIGHTS)),
    }
}

async fn look(opened: &Opened, records: &Records<'_, Native>, name: &str) -> anyhow::Result<Option<Seen>> {
    let deadline = opened.platform.now().plus(PATIENCE);
    let found = records.look(name, deadline).await.0;
    found.map_err(|failure| failed(&failure, &format!("cannot look at {name}"), RIGHTS))
}

/// Until when a claim on the message holds, if one does.
fn worked_on_until(seen: &Seen, queue: &QueueConfig) -> Option<String> {
    let arrival = Arrival { payload: &seen.record.payload, copy_of_epoch: None };
    match examine(seen, &arrival, queue.claim_margin) {
        Finding::Busy { until, .. } => Some(rfc3339(until)),
        _ => None,
    }
}
