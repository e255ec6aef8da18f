//! `oncebus dead-letters redrive`: each letter by the table of `oncebus_core::record::redrive`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{anyhow, bail};
use oncebus_azure::connection::{ServiceBusConnection, StorageConnection};
use oncebus_core::config::QueueConfig;
use oncebus_core::message::Delivery;
use oncebus_core::record::redrive::{Left, Letter as Facts, Settled, own_id};
use oncebus_core::run::CommandKind;
use oncebus_core::run::redrive::{Ended, Next, Outcome, Redrive, Subject};
use oncebus_runtime::broker::Broker;
use oncebus_runtime::handler::{Services, perform};
use oncebus_runtime::platform::{Clock as _, Entropy as _};
use oncebus_runtime::records::Records;
use serde_json::{Value, json};

use super::edit::Editor;
use super::filter::Filters;
use super::letter::Letter;
use super::walk::Fate;
use super::{Opened, Place};
use crate::operator::{BulkArgs, Out, PATIENCE, StorageArgs, duration, on_one_line, progress};

/// How many letters that were not redriven are shown.
const SHOWN: u64 = 20;

/// Arguments of `oncebus dead-letters redrive`.
#[derive(Debug, clap::Args)]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) storage: StorageArgs,
    #[command(flatten)]
    pub(super) filters: Filters,
    /// Stop after so many.
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<u64>,
    /// Open each in VISUAL or EDITOR first, one after the other. One whose editor fails is left.
    #[arg(long, conflicts_with_all = ["edit_with", "dry_run"])]
    pub(super) edit: bool,
    /// Have each edited by a command, which gets the name of a file as its last argument.
    #[arg(long, value_name = "COMMAND", conflicts_with = "dry_run")]
    pub(super) edit_with: Option<String>,
    /// Begin each anew, without the checkpoint that it has reached.
    #[arg(long)]
    pub(super) restart: bool,
    /// Send what came under the id of another payload under an id of its own: ID~DIGEST, the same for the same payload.
    #[arg(long)]
    pub(super) new_id: bool,
    /// For how long records are kept: no more than `records sweep --older-than`. An older letter without a record is left: whether it was
    /// done is forgotten.
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = duration)]
    pub(super) records_kept: Duration,
    #[command(flatten)]
    pub(super) bulk: BulkArgs,
}

/// Redrives, and says what came of it.
pub(super) async fn redrive(args: &RedriveArgs, out: &Out) -> anyhow::Result<()> {
    let redriver = Redriver::new(args)?;
    let opened = &redriver.opened;
    let (left, sum) = (Cell::new(args.limit.unwrap_or(u64::MAX)), RefCell::new(Sum::default()));
    let bar = progress();
    let walk = opened.walk(redriver.workers(), args.bulk.dry_run);
    let visit = async |delivery: Delivery| {
        if !args.filters.pass(&Letter(&delivery)) || left.get() == 0 {
            return Ok(Fate::Kept);
        }
        left.set(left.get() - 1);
        if left.get() == 0 {
            walk.enough();
        }
        let done = redriver.redrive(&delivery).await?;
        bar.inc(1);
        if args.bulk.json {
            out.line(&done.json(&Letter(&delivery), args.bulk.dry_run).to_string())?;
        } else if args.bulk.dry_run || (done.is_left() && sum.borrow().left < SHOWN) {
            let line =
                format!("{}: {}", on_one_line(Letter(&delivery).id()), on_one_line(&done.sentence(args.bulk.dry_run)));
            bar.suspend(|| out.line(&line))?;
        }
        sum.borrow_mut().add(&done);
        Ok(if done.is_gone() { Fate::Gone } else { Fate::Kept })
    };
    let walked = walk.run(visit).await;
    bar.finish_and_clear();
    let sum = sum.into_inner();
    // What was done before something went wrong is worth knowing.
    out.line(&if args.bulk.json { sum.json(args.bulk.dry_run).to_string() } else { sum.sentence(args.bulk.dry_run) })?;
    opened.warn(&walked?);
    match (args.bulk.dry_run, sum.left) {
        (true, _) | (_, 0) => Ok(()),
        (false, 1) => bail!("1 letter was left"),
        (false, left) => bail!("{left} letters were left"),
    }
}

struct Redriver<'a> {
    args: &'a RedriveArgs,
    opened: Opened,
    send: ServiceBusConnection,
    storage: StorageConnection,
    editor: Option<Editor>,
}

/// What became of one letter.
#[derive(Debug)]
enum Done {
    /// By its record.
    Ended(Ended),
    /// It does not say where it came from.
    NoQueue(String),
    /// It was not edited, so it was left.
    Unedited(String),
}

impl<'a> Redriver<'a> {
    fn new(args: &'a RedriveArgs) -> anyhow::Result<Self> {
        let opened = Opened::new(&args.place)?;
        let editor = match &args.edit_with {
            Some(command) => Some(Editor { command: command.clone(), interactive: false }),
            None => args.edit.then(Editor::of_the_environment).transpose()?,
        };
        let send = args.place.servicebus.send()?;
        Ok(Self { args, opened, send, storage: args.storage.connection()?, editor })
    }

    /// A person edits one at a time.
    fn workers(&self) -> u16 {
        if self.editor.as_ref().is_some_and(|editor| editor.interactive) { 1 } else { self.args.bulk.concurrency }
    }

    async fn redrive(&self, delivery: &Delivery) -> anyhow::Result<Done> {
        let letter = Letter(delivery);
        let queue = match self.queue(&letter) {
            Ok(queue) => queue,
            Err(why) => return Ok(Done::NoQueue(why)),
        };
        let edited = match &self.editor {
            None => delivery.clone(),
            Some(editor) => match editor.edit(delivery).await {
                Ok(edited) => edited,
                Err(error) => return Ok(Done::Unedited(format!("{error:#}"))),
            },
        };
        let sent = Letter(&edited).payload();
        let facts = Facts {
            origin: letter.origin(self.opened.source.is_brokers),
            payload: letter.payload(),
            sent: sent.clone(),
            age: letter.age(),
        };
        let subject = Subject {
            id: letter.id().to_owned(),
            delivery: edited,
            letter: facts,
            queue: queue.clone(),
            kept: self.args.records_kept,
            anew: self.args.restart,
            dry_run: self.args.bulk.dry_run,
        };
        let ended = self.drive(subject.clone()).await?;
        if !self.args.new_id || ended.outcome != Outcome::Left(Left::OtherPayload) {
            return Ok(Done::Ended(ended));
        }
        // Any record of its own id is one that an earlier redrive of it has led to.
        let origin = oncebus_core::record::redrive::Origin::Poison(Some(0));
        let letter = Facts { origin, payload: sent.clone(), ..subject.letter };
        let id = own_id(&subject.id, &sent);
        Ok(Done::Ended(self.drive(Subject { id, letter, ..subject }).await?))
    }

    /// Where it goes back to.
    fn queue(&self, letter: &Letter<'_>) -> Result<&QueueConfig, String> {
        let Opened { config, source, .. } = &self.opened;
        match letter.source_queue() {
            Some(name) => config
                .queue(name)
                .ok_or_else(|| format!("it came from {name:?}, which the configuration does not have")),
            None => source.default_queue.as_ref().ok_or_else(|| "it does not say from which queue it came".to_owned()),
        }
    }

    async fn drive(&self, subject: Subject) -> anyhow::Result<Ended> {
        let Opened { platform, listen, config, source } = &self.opened;
        let services = Services {
            platform,
            listen: Broker::new(platform, listen),
            send: Broker::new(platform, &self.send),
            records: Records::new(platform, &self.storage, &config.container),
            queue: source.entity.clone(),
        };
        let (lock, target) = (subject.delivery.lock.clone(), subject.queue.name.clone());
        let random = u128::from(platform.draw()) << 64 | u128::from(platform.draw());
        let mut machine = Redrive::new(subject, random);
        let name = machine.record_name().to_owned();
        let deadline = platform.now().plus(PATIENCE);
        let mut next = machine.begin();
        loop {
            match next {
                Next::Do(command) => {
                    let (reply, _) = perform(&services, command, Some(&lock), &name, None, deadline).await;
                    next = machine.on_reply(reply);
                }
                Next::Over(Ended { outcome: Outcome::Failed { during, why, denied: true }, .. }) => {
                    return Err(anyhow!("{why}. This needs {}", right(during, &target)));
                }
                Next::Over(ended) => return Ok(ended),
            }
        }
    }
}

/// The right that a command needs.
fn right(during: CommandKind, queue: &str) -> String {
    match during {
        CommandKind::Send => format!("the right Send to {queue}"),
        CommandKind::Look | CommandKind::Load => {
            "the right Read of the container: an account key, or a SAS with r and w".to_owned()
        }
        CommandKind::Create | CommandKind::Write | CommandKind::Store => {
            "the right Write to the container: an account key, or a SAS with r and w".to_owned()
        }
        CommandKind::Delete => "the right Delete in the container: an account key, or a SAS with d".to_owned(),
        CommandKind::Renew | CommandKind::Complete | CommandKind::Abandon => "the right Listen".to_owned(),
    }
}

impl Done {
    /// A word for machines.
    const fn code(&self) -> &'static str {
        match self {
            Self::NoQueue(_) => "no-queue",
            Self::Unedited(_) => "unedited",
            Self::Ended(ended) => match &ended.outcome {
                Outcome::Reopened { .. } | Outcome::Sent => "sent",
                Outcome::Settled(Settled::Done) => "done",
                Outcome::Settled(Settled::ParkedAgain) => "parked-again",
                Outcome::Settled(Settled::Parked) => "parked",
                Outcome::Left(Left::InProgress { .. }) => "in-progress",
                Outcome::Left(Left::OtherPayload) => "other-payload",
                Outcome::Left(Left::Forgotten) => "forgotten",
                Outcome::Failed { .. } => "failed",
            },
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Ended(Ended { completed: true, .. }))
    }

    /// Whether its message was neither sent nor known to need no sending.
    fn is_left(&self) -> bool {
        match self {
            Self::NoQueue(_) | Self::Unedited(_) => true,
            Self::Ended(ended) => matches!(ended.outcome, Outcome::Left(_) | Outcome::Failed { .. }),
        }
    }

    fn sentence(&self, dry_run: bool) -> String {
        match self {
            Self::NoQueue(why) | Self::Unedited(why) => format!("left: {why}"),
            Self::Ended(ended) => match &ended.outcome {
                outcome @ (Outcome::Left(_) | Outcome::Failed { .. }) => format!("left: {outcome}"),
                outcome if dry_run => format!("would be {outcome}"),
                outcome => outcome.to_string(),
            },
        }
    }

    fn json(&self, letter: &Letter<'_>, dry_run: bool) -> Value {
        let epoch = match self {
            Self::Ended(Ended { outcome: Outcome::Reopened { epoch }, .. }) => Some(*epoch),
            _ => None,
        };
        json!({
            "id": letter.id(),
            "sequence": letter.0.lock.sequence_number,
            "outcome": self.code(),
            "detail": self.sentence(dry_run),
            "epoch": epoch,
            "letter_gone": self.is_gone(),
        })
    }
}

/// How many of each.
#[derive(Debug, Default)]
struct Sum {
    outcomes: BTreeMap<&'static str, u64>,
    left: u64,
    /// Sent or settled, and the letter still there: the next redrive takes it away.
    remaining: u64,
}

impl Sum {
    fn add(&mut self, done: &Done) {
        *self.outcomes.entry(done.code()).or_default() += 1;
        if done.is_left() {
            self.left += 1;
        } else if !done.is_gone() {
            self.remaining += 1;
        }
    }

    fn json(&self, dry_run: bool) -> Value {
        json!({"dry_run": dry_run, "outcomes": self.outcomes, "left": self.left, "letters_remaining": self.remaining})
    }

    fn sentence(&self, dry_run: bool) -> String {
        let counts: Vec<String> = self.outcomes.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let counts = if counts.is_empty() { "no letters".to_owned() } else { counts.join(", ") };
        match (dry_run, self.remaining) {
            (true, _) => format!("would be: {counts}"),
            (false, 0) => counts,
            (false, remaining) => format!("{counts}; {remaining} letters could not be taken away: run it again"),
        }
    }
}
