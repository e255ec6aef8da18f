//! `oncebus dead-letters list`, `show` and `purge`: without a look at any record.

use std::cell::{Cell, RefCell};

use anyhow::bail;
use oncebus_core::message::Delivery;
use oncebus_runtime::broker::Broker;
use oncebus_runtime::failure::Failure;
use oncebus_runtime::platform::Clock as _;
use serde_json::{Value, json};

use super::filter::Filters;
use super::letter::{HEADINGS, Letter};
use super::walk::Fate;
use super::{Opened, Place};
use crate::operator::{BulkArgs, Out, PATIENCE, failed, on_one_line, progress};

/// Long polls of a pass that only looks. Few: what has come when enough was seen is given back unseen.
const LOOKERS: u16 = 8;

/// Arguments of `oncebus dead-letters list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) filters: Filters,
    /// Stop after so many.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(super) limit: u64,
    /// Print each as a JSON object on a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `oncebus dead-letters show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// The message's id.
    #[arg(long, required_unless_present = "sequence")]
    pub(super) id: Option<String>,
    /// The letter's sequence number.
    #[arg(long, value_name = "NUMBER")]
    pub(super) sequence: Option<i64>,
    /// Print a JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `oncebus dead-letters purge`.
#[derive(Debug, clap::Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) filters: Filters,
    /// All of them: without a filter, nothing else says that this is meant.
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) bulk: BulkArgs,
}

/// Prints what passes the filters, as it comes.
pub(super) async fn list(args: &ListArgs, out: &Out) -> anyhow::Result<()> {
    let opened = Opened::new(&args.place)?;
    if !args.json {
        out.line(HEADINGS)?;
    }
    let left = Cell::new(args.limit);
    let walk = opened.walk(LOOKERS.min(u16::try_from(args.limit).unwrap_or(LOOKERS)), true);
    let visit = async |delivery: Delivery| {
        let letter = Letter(&delivery);
        if left.get() > 0 && args.filters.pass(&letter) {
            left.set(left.get() - 1);
            out.line(&if args.json { Value::from(letter.json()).to_string() } else { letter.line() })?;
        }
        if left.get() == 0 {
            walk.enough();
        }
        Ok(Fate::Kept)
    };
    let walked = walk.run(visit).await?;
    opened.warn(&walked);
    Ok(())
}

/// Prints the first that is meant.
pub(super) async fn show(args: &ShowArgs, out: &Out) -> anyhow::Result<()> {
    let opened = Opened::new(&args.place)?;
    let ids = args.id.iter().cloned().collect();
    let sequences = args.sequence.into_iter().collect();
    let filters = Filters { ids, sequences, ..Filters::default() };
    let found = RefCell::new(None);
    let walk = opened.walk(LOOKERS, true);
    let visit = async |delivery: Delivery| {
        if filters.pass(&Letter(&delivery)) {
            found.borrow_mut().get_or_insert(delivery);
            walk.enough();
        }
        Ok(Fate::Kept)
    };
    let walked = walk.run(visit).await?;
    opened.warn(&walked);
    let Some(delivery) = found.into_inner() else { bail!("no such letter on {}", opened.source.entity) };
    let whole = Letter(&delivery).whole();
    if args.json {
        out.line(&Value::from(whole).to_string())?;
        return Ok(());
    }
    let width = whole.keys().map(String::len).max().unwrap_or_default();
    for (name, value) in &whole {
        out.line(&match value {
            Value::String(text) if name == "body" => format!("{name:<width$}  {text}"),
            Value::String(text) => format!("{name:<width$}  {}", on_one_line(text)),
            other => format!("{name:<width$}  {other}"),
        })?;
    }
    Ok(())
}

/// Completes what passes the filters. Its record stays as it is: parked.
pub(super) async fn purge(args: &PurgeArgs, out: &Out) -> anyhow::Result<()> {
    if args.filters.is_empty() && !args.all {
        bail!("without a filter this would take every letter away for good: give one, or --all");
    }
    let opened = Opened::new(&args.place)?;
    let (purged, left) = (Cell::new(0_u64), Cell::new(0_u64));
    let bar = progress();
    let walk = opened.walk(args.bulk.concurrency, args.bulk.dry_run);
    let visit = async |delivery: Delivery| {
        let letter = Letter(&delivery);
        if !args.filters.pass(&letter) {
            return Ok(Fate::Kept);
        }
        let gone = args.bulk.dry_run || complete(&opened, &delivery).await?;
        let counter = if gone { &purged } else { &left };
        counter.set(counter.get() + 1);
        bar.inc(1);
        if args.bulk.json {
            let mut members = letter.json();
            members.insert("purged".to_owned(), (gone && !args.bulk.dry_run).into());
            out.line(&Value::from(members).to_string())?;
        } else if args.bulk.dry_run {
            out.line(&letter.line())?;
        }
        Ok(if gone && !args.bulk.dry_run { Fate::Gone } else { Fate::Kept })
    };
    let walked = walk.run(visit).await?;
    bar.finish_and_clear();
    opened.warn(&walked);
    let (purged, left) = (purged.get(), left.get());
    out.line(&if args.bulk.json {
        json!({"dry_run": args.bulk.dry_run, "purged": purged, "left": left}).to_string()
    } else {
        format!("{} {purged}, left {left}", if args.bulk.dry_run { "would purge" } else { "purged" })
    })?;
    if left > 0 { bail!("{left} letters could not be taken away") } else { Ok(()) }
}

/// Whether it is gone.
async fn complete(opened: &Opened, delivery: &Delivery) -> anyhow::Result<bool> {
    let broker = Broker::new(&opened.platform, &opened.listen);
    let deadline = opened.platform.now().plus(PATIENCE);
    match broker.complete(&opened.source.entity, &delivery.lock, deadline).await.0 {
        Ok(()) => Ok(true),
        Err(failure @ Failure::Denied(_)) => Err(failed(&failure, "cannot take a letter away", "Listen")),
        Err(_) => Ok(false),
    }
}
