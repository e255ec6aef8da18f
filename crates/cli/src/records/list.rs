//! `oncebus records list` and `show`.

use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;
use oncebus_core::id::record_name;
use oncebus_core::record::State;

use super::view::View;
use super::{Groups, Opened, Store};
use crate::operator::{Out, duration, queue};

/// Arguments of `oncebus records list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) store: Store,
    #[command(flatten)]
    pub(super) groups: Groups,
    /// Only those in this state; repeatable.
    #[arg(long = "state", value_name = "STATE")]
    pub(super) states: Vec<Word>,
    /// Only those that were written last longer ago than this: 14d, 36h, 90s.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) older_than: Option<Duration>,
    /// Only those whose id begins with this.
    #[arg(long, value_name = "TEXT")]
    pub(super) id_prefix: Option<String>,
    /// Stop after so many.
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<u64>,
    /// Print each as a JSON object on a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `oncebus records show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) store: Store,
    /// The message's queue.
    #[arg(long, value_name = "NAME")]
    pub(super) queue: String,
    /// The message's id.
    #[arg(long)]
    pub(super) id: String,
    /// Print a JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// A state, as answers to clients have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Word {
    Processing,
    Released,
    Done,
    Parked,
}

impl Word {
    const fn state(self) -> State {
        match self {
            Self::Processing => State::Processing,
            Self::Released => State::Released,
            Self::Done => State::Done,
            Self::Parked => State::Parked,
        }
    }
}

/// Prints what passes the filters, as it comes.
pub(super) async fn list(args: &ListArgs, out: &Out) -> anyhow::Result<()> {
    let opened = Opened::new(&args.store)?;
    let group = args.groups.group(&opened.config)?;
    if !args.json {
        out.line(View::headings())?;
    }
    let (mut marker, mut left) = (None, args.limit.unwrap_or(u64::MAX));
    loop {
        let page = opened.page("", marker.as_deref()).await?;
        for view in page.blobs.into_iter().filter_map(|listed| View::of(listed, page.date)) {
            if left == 0 {
                return Ok(());
            }
            if !args.wants(&view) || group.as_ref().is_some_and(|group| group != view.group()) {
                continue;
            }
            left -= 1;
            let line = if args.json { view.json(None).to_string() } else { view.line() };
            out.line(&line)?;
        }
        marker = page.next;
        if marker.is_none() {
            return Ok(());
        }
    }
}

impl ListArgs {
    /// What cannot be read passes where no filter asks for what it holds.
    fn wants(&self, view: &View) -> bool {
        let record = view.seen.as_ref().ok().map(|seen| &seen.record);
        let state = self.states.is_empty()
            || record.is_some_and(|record| self.states.iter().any(|word| word.state() == record.state));
        let id = self
            .id_prefix
            .as_ref()
            .is_none_or(|prefix| record.is_some_and(|record| record.id.starts_with(prefix.as_str())));
        state && id && self.older_than.is_none_or(|limit| view.age > limit)
    }
}

/// Prints one, with the length of its checkpoint wherever that is.
pub(super) async fn show(args: &ShowArgs, out: &Out) -> anyhow::Result<()> {
    let opened = Opened::new(&args.store)?;
    let queue = queue(&opened.config, &args.queue)?;
    let name = record_name(&queue.group, &args.id);
    // What begins with the name is the record and its checkpoints.
    let page = opened.page(&name, None).await?;
    let lengths: Vec<(String, u64)> = page.blobs.iter().map(|listed| (listed.name.clone(), listed.length)).collect();
    let view = page.blobs.into_iter().filter_map(|listed| View::of(listed, page.date)).find(|view| view.name == name);
    let Some(view) = view else { bail!("no record of {}: unknown, not yet begun, or swept", args.id) };
    let blob = view.checkpoint_blob();
    let length = lengths.iter().find(|(name, _)| Some(name) == blob.as_ref()).map(|(_, length)| *length);
    out.line(&if args.json { view.json(length).to_string() } else { view.table(length) })?;
    Ok(())
}
