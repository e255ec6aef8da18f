//! `oncebus records sweep`.
//!
//! Deletes what `oncebus_core::record::retention` says may go, each under the ETag that was listed, so that a record which anybody
//! has written since stays. A record goes before its checkpoints; one whose checkpoints were left behind by a sweep that was killed
//! has them swept the next time. So it may be stopped at any point and started again: what is gone is gone, and the rest is
//! listed anew.

use std::time::Duration;

use anyhow::bail;
use futures::{StreamExt as _, stream};
use oncebus_azure::blob::ETag;
use oncebus_azure::blob::listing::{DeleteOutcome, Listed};
use oncebus_core::config::Config;
use oncebus_core::record::retention::{Goes, Named, Policy, Retention, Stays, Sweep, Verdict, in_words};
use oncebus_core::time::UnixTime;
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Clock as _;
use oncebus_runtime::records::Records;
use serde_json::json;

use super::{Groups, Opened, Store};
use crate::operator::{BulkArgs, Out, PATIENCE, duration, failed, on_one_line, progress};

/// How many reasons are shown.
const SHOWN: usize = 5;

/// Arguments of `oncebus records sweep`.
#[derive(Debug, clap::Args)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    pub(super) store: Store,
    #[command(flatten)]
    pub(super) groups: Groups,
    /// What was written last so long ago: 14d, 36h, 90s. Idempotency keys of the door go after 7d, or sooner if this is less.
    ///
    /// A record must be kept while anything may bring its message back: for the message TTL, the longest delay, the poison
    /// retention and the senders' retries, together. Less than that is refused.
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = duration)]
    pub(super) older_than: Duration,
    /// How long messages live in your queues.
    #[arg(long, value_name = "TIME", default_value = "3d", value_parser = duration)]
    pub(super) message_ttl: Duration,
    /// How long letters live on your poison queues, or how soon you redrive them.
    #[arg(long, value_name = "TIME", default_value = "3d", value_parser = duration)]
    pub(super) poison_retention: Duration,
    /// For how long a sender may repeat a message.
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration)]
    pub(super) sender_retries: Duration,
    /// Sweep although --older-than is less than records must be kept: messages that come back are processed again.
    #[arg(long)]
    pub(super) force: bool,
    /// Sweep the locks of keys, too, that are free and as old. Their epochs begin again at 1: only where no store remembers them.
    #[arg(long)]
    pub(super) keys: bool,
    #[command(flatten)]
    pub(super) bulk: BulkArgs,
}

/// Deletes, and says how much.
pub(super) async fn sweep(args: &SweepArgs, out: &Out) -> anyhow::Result<()> {
    let opened = Opened::new(&args.store)?;
    args.check(&opened.config)?;
    let group = args.groups.group(&opened.config)?;
    let mut judge = Sweep::new(Policy { older_than: args.older_than, keys: args.keys });
    let (mut sum, mut marker) = (Sum::default(), None);
    let bar = progress();
    let began = opened.platform.now();
    loop {
        let page = opened.page("", marker.as_deref()).await?;
        let ours = page.blobs.into_iter().filter(|listed| in_group(&listed.name, group.as_deref()));
        let doomed = sum.sort(ours, page.date, &mut judge);
        if args.bulk.dry_run {
            for doomed in &doomed {
                args.say(doomed, page.date, out)?;
                doomed.all().for_each(|(kind, blob)| *sum.counter(What::of(kind, &blob.name)) += 1);
            }
        } else {
            let mut deletes = stream::iter(doomed).map(|doomed| delete(&opened, doomed));
            let mut under_way = deletes.by_ref().buffer_unordered(usize::from(args.bulk.concurrency));
            while let Some(gone) = under_way.next().await {
                bar.inc(1);
                // What nobody may delete, nobody may delete any of.
                sum.add(gone?);
            }
        }
        bar.set_message(format!("of {} looked at", sum.listed));
        marker = page.next;
        if marker.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    sum.tell(args, opened.platform.now().since(began), out)
}

fn in_group(name: &str, group: Option<&str>) -> bool {
    group.is_none_or(|group| Named::of(name).group() == Some(group))
}

impl SweepArgs {
    /// Refuses to forget what may come back.
    fn check(&self, config: &Config) -> anyhow::Result<()> {
        let configured = config.queues.values().map(|queue| queue.retry_cap).max().unwrap_or_default();
        let defaults = Retention::default();
        let retention = Retention {
            message_ttl: self.message_ttl,
            longest_delay: defaults.longest_delay.max(configured),
            poison_retention: self.poison_retention,
            sender_retries: self.sender_retries,
        };
        if self.older_than >= retention.minimum() {
            return Ok(());
        }
        let sentence =
            format!("--older-than {} is less than records must be kept: {retention}", in_words(self.older_than));
        if self.force || self.bulk.dry_run {
            eprintln!("oncebus: {sentence}");
            return Ok(());
        }
        bail!(
            "{sentence}. If your queues and senders are quicker, say so (--message-ttl, --poison-retention, \
             --sender-retries); --force sweeps all the same, and what comes back is processed again"
        )
    }

    fn say(&self, doomed: &Doomed, date: UnixTime, out: &Out) -> anyhow::Result<()> {
        for (kind, blob) in doomed.all() {
            let what = What::of(kind, &blob.name).word();
            let age = date.since(blob.last_modified).as_secs();
            let id = blob.metadata.get("id").map(String::as_str).unwrap_or_default();
            out.line(&if self.bulk.json {
                json!({"would_delete": what, "name": blob.name, "id": id, "age_seconds": age}).to_string()
            } else {
                format!("would delete {what} {} {}", blob.name, on_one_line(id))
            })?;
        }
        Ok(())
    }
}

/// A blob that goes, and the checkpoints and bodies that go after it.
#[derive(Debug)]
struct Doomed {
    kind: Goes,
    blob: Listed,
    attached: Vec<Listed>,
}

impl Doomed {
    /// All that go, in this order.
    fn all(&self) -> impl Iterator<Item = (Goes, &Listed)> {
        let attached = self.attached.iter().map(|blob| (Goes::WithRecord, blob));
        std::iter::once((self.kind, &self.blob)).chain(attached)
    }
}

/// What a blob that goes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Record,
    Checkpoint,
    Body,
    Key,
    Door,
}

impl What {
    fn of(kind: Goes, name: &str) -> Self {
        match (kind, Named::of(name)) {
            (Goes::Record, _) => Self::Record,
            (Goes::Key, _) => Self::Key,
            (Goes::Door, _) => Self::Door,
            (_, Named::Body { .. }) => Self::Body,
            (Goes::WithRecord | Goes::Superseded | Goes::Orphan, _) => Self::Checkpoint,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Checkpoint => "checkpoint",
            Self::Body => "body",
            Self::Key => "key",
            Self::Door => "idempotency key",
        }
    }
}

/// What came of the deletes of one [`Doomed`].
#[derive(Debug, Default)]
struct Gone {
    deleted: Vec<What>,
    /// Somebody has written, or deleted, since it was listed.
    changed: u64,
    failures: Vec<String>,
}

async fn delete(opened: &Opened, doomed: Doomed) -> anyhow::Result<Gone> {
    let mut gone = Gone::default();
    if doomed.kind == Goes::Orphan && !has_no_record(opened, &doomed.blob.name).await? {
        gone.changed += 1;
        return Ok(gone);
    }
    if !delete_one(opened, doomed.kind, &doomed.blob, &mut gone).await? {
        return Ok(gone);
    }
    for blob in &doomed.attached {
        delete_one(opened, Goes::WithRecord, blob, &mut gone).await?;
    }
    Ok(gone)
}

/// Whether it is gone by our hand.
async fn delete_one(opened: &Opened, kind: Goes, blob: &Listed, gone: &mut Gone) -> anyhow::Result<bool> {
    let etag: &ETag = &blob.etag;
    let deadline = opened.platform.now().plus(PATIENCE);
    let (outcome, _) = opened.inventory().delete(&blob.name, etag, deadline).await;
    match outcome {
        Ok(DeleteOutcome::Deleted) => {
            gone.deleted.push(What::of(kind, &blob.name));
            return Ok(true);
        }
        Ok(DeleteOutcome::Refused) => gone.changed += 1,
        Err(failure @ (Failure::Denied(_) | Failure::Missing(_))) => {
            let right = "Delete: an account key, or a SAS of the container with d and l";
            return Err(failed(&failure, &format!("cannot delete {}", blob.name), right));
        }
        Err(failure) => gone.failures.push(format!("{}: {failure}", blob.name)),
    }
    Ok(false)
}

/// Makes sure, right before its checkpoint or its body goes, that there is no record.
async fn has_no_record(opened: &Opened, blob: &str) -> anyhow::Result<bool> {
    let Some(record) = Named::of(blob).record() else { return Ok(false) };
    let records = Records::new(&opened.platform, &opened.connection, &opened.config.container);
    match records.look(record, opened.platform.now().plus(PATIENCE)).await.0 {
        Ok(found) => Ok(found.is_none()),
        Err(failure @ Failure::Denied(_)) => {
            Err(failed(&failure, &format!("cannot look at {record}"), "Read: an account key, or a SAS with r, d and l"))
        }
        // Unreadable is there; and without an answer nothing goes.
        Err(_) => Ok(false),
    }
}

/// What was looked at, and what came of it.
#[derive(Debug, Default)]
struct Sum {
    listed: u64,
    records: u64,
    checkpoints: u64,
    bodies: u64,
    keys: u64,
    idempotency_keys: u64,
    young: u64,
    live: u64,
    unknown: u64,
    changed: u64,
    failed: u64,
    reasons: Vec<String>,
}

impl Sum {
    /// Counts what stays, and puts together what goes.
    fn sort(&mut self, listed: impl Iterator<Item = Listed>, date: UnixTime, judge: &mut Sweep) -> Vec<Doomed> {
        let mut doomed: Vec<Doomed> = Vec::new();
        for blob in listed {
            self.listed += 1;
            match judge.judge(&blob.name, date.since(blob.last_modified), &blob.metadata) {
                Verdict::Stays(Stays::Young) => self.young += 1,
                Verdict::Stays(Stays::Live | Stays::Key) => self.live += 1,
                Verdict::Stays(Stays::Unknown) => self.unknown += 1,
                Verdict::Goes(Goes::WithRecord) => match doomed.last_mut() {
                    Some(record) => record.attached.push(blob),
                    // Its record was the last of the page before.
                    None => doomed.push(Doomed { kind: Goes::Orphan, blob, attached: Vec::new() }),
                },
                Verdict::Goes(kind) => doomed.push(Doomed { kind, blob, attached: Vec::new() }),
            }
        }
        doomed
    }

    const fn counter(&mut self, what: What) -> &mut u64 {
        match what {
            What::Record => &mut self.records,
            What::Checkpoint => &mut self.checkpoints,
            What::Body => &mut self.bodies,
            What::Key => &mut self.keys,
            What::Door => &mut self.idempotency_keys,
        }
    }

    fn add(&mut self, gone: Gone) {
        for what in gone.deleted {
            *self.counter(what) += 1;
        }
        self.changed += gone.changed;
        self.failed += u64::try_from(gone.failures.len()).unwrap_or(u64::MAX);
        let room = SHOWN.saturating_sub(self.reasons.len());
        self.reasons.extend(gone.failures.into_iter().take(room));
    }

    fn tell(self, args: &SweepArgs, took: Duration, out: &Out) -> anyhow::Result<()> {
        let Self {
            listed,
            records,
            checkpoints,
            bodies,
            keys,
            idempotency_keys,
            young,
            live,
            unknown,
            changed,
            failed,
            reasons,
        } = self;
        out.line(&if args.bulk.json {
            json!({
                "dry_run": args.bulk.dry_run, "listed": listed, "records": records, "checkpoints": checkpoints,
                "bodies": bodies, "keys": keys,
                "idempotency_keys": idempotency_keys,
                "young": young, "live": live, "unknown": unknown, "changed": changed, "failed": failed,
                "seconds": took.as_secs_f64(),
            })
            .to_string()
        } else {
            let deleted = if args.bulk.dry_run { "would delete" } else { "deleted" };
            format!(
                "{deleted} {records} records, {checkpoints} checkpoints, {bodies} bodies, {keys} keys, {idempotency_keys} idempotency keys of \
                 {listed} blobs; {young} too young, {live} live, {unknown} unknown, {changed} changed meanwhile, {:.1} s",
                took.as_secs_f64()
            )
        })?;
        for reason in &reasons {
            eprintln!("failed: {reason}");
        }
        if failed > 0 { bail!("{failed} blobs could not be deleted") } else { Ok(()) }
    }
}
