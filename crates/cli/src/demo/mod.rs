//! `oncebus up --demo`: sends messages, waits for them, counts.
//!
//! [`plan`] says what is sent, [`send`] sends it, the pump of `up` has it worked on, [`count`] looks into the app's database,
//! [`report`] puts together what each of them saw. Only HTTP and the database are used, so that the counts mean the same
//! wherever the app runs. Ids begin with a mark of this demo's own: what else is in the queues or in the database
//! is left out of what is stored, but counts among the deliveries, and the report says so.

mod count;
mod plan;
mod report;
mod send;
mod twilio;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use count::Store;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use oncebus_core::config::{Config, settings};
use oncebus_core::ingest::webhooks::Source;
use oncebus_core::secret::Secret;
use oncebus_core::time::Instant;
use oncebus_runtime::platform::native::Native;
use oncebus_runtime::platform::{Clock as _, Entropy as _};
use plan::Plan;
use report::{Counted, Report};
use send::{Target, send};
use tokio::sync::watch;

use crate::pump::Totals;

/// How long everything may take: three lock durations, which is what a delivery needs that was busy and
/// came back twice.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks into the database.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What the demo works with.
pub(crate) struct Demo {
    pub(crate) platform: Native,
    pub(crate) app_url: String,
    pub(crate) config: Config,
    pub(crate) twilio_auth_token: Option<Secret>,
    /// The app's database.
    pub(crate) sqlite: PathBuf,
    /// What the pump's runs did so far.
    pub(crate) totals: watch::Receiver<Totals>,
    /// What decides the order; drawn if it is not given.
    pub(crate) seed: Option<u64>,
}

/// A demo whose messages are processed, or whose time is up: to be counted once the pump has stopped.
pub(crate) struct Worked {
    plan: Plan,
    store: Store,
    /// What the runs had done before anything was sent.
    before: Totals,
    accepted: usize,
    seconds: f64,
    seed: u64,
}

impl Demo {
    /// Sends, and waits until all is processed or the time is up.
    pub(crate) async fn work(self, say: impl Fn(&str)) -> anyhow::Result<Worked> {
        let seed = self.seed.unwrap_or_else(|| self.platform.draw() % 1_000_000);
        let mark = format!("{:016x}", self.platform.draw());
        let twilio = self.twilio_queue().is_some() && self.twilio_auth_token.is_some();
        let plan = Plan::new(seed, &mark, twilio);
        let store = Store::new(&self.sqlite, plan.prefixes.clone());
        say(&format!(
            "Sending {} messages, {} of them distinct, to {} (--seed {seed}) …",
            plan.sent(),
            plan.ids().len(),
            self.app_url
        ));
        let bars = Bars::new(&plan);
        let before = self.totals.borrow().clone();
        let began = self.platform.now();
        let deadline = began.plus(PATIENCE);
        let target = Target {
            platform: &self.platform,
            app_url: &self.app_url,
            queue: self.queue(),
            twilio_auth_token: self.twilio_auth_token.as_ref(),
        };
        let watched = self.watch(&plan, &store, &bars, deadline, before.settled());
        let sent = async {
            let progress = |messages| bars.sent.inc(u64::try_from(messages).unwrap_or_default());
            send(&plan, &target, deadline, progress).await.context("not everything was accepted")
        };
        // Both at once: the first message is processed long before the last is sent.
        let (accepted, finished) = tokio::try_join!(sent, watched)?;
        bars.clear();
        let seconds = finished.since(began).as_secs_f64();
        Ok(Worked { plan, store, before, accepted, seconds, seed })
    }

    /// The queue of `/webhooks/twilio`, if that is Twilio's, and takes what is signed with the token.
    fn twilio_queue(&self) -> Option<&str> {
        let webhook = self.config.webhooks.get("twilio").filter(|webhook| webhook.source == Source::Twilio)?;
        let ours = webhook.secrets.iter().any(|name| name == settings::TWILIO_AUTH_TOKEN.key);
        webhook.queue.as_deref().filter(|_| ours)
    }

    /// The first queue that is not Twilio's, if there is such a one.
    fn queue(&self) -> &str {
        let twilio = self.twilio_queue();
        let mut queues = self.config.queues.keys().map(String::as_str);
        queues.find(|queue| Some(*queue) != twilio).or(twilio).unwrap_or_default()
    }

    /// Waits until every message is stored and every delivery finished, beyond those that were before. Returns when the last
    /// row was seen.
    async fn watch(
        &self,
        plan: &Plan,
        store: &Store,
        bars: &Bars,
        deadline: Instant,
        before: u64,
    ) -> anyhow::Result<Instant> {
        let (distinct, sent) = (number(plan.ids().len()), number(plan.sent()));
        let mut complete = None;
        loop {
            let counting = store.clone();
            let stored = tokio::task::spawn_blocking(move || counting.stored()).await?;
            let now = self.platform.now();
            match stored {
                Ok(stored) => {
                    bars.stored.set_position(stored);
                    if stored >= distinct {
                        complete.get_or_insert(now);
                    }
                }
                // It may be busy at a bad moment. When it matters, the count at the end says it again.
                Err(error) => tracing::debug!(%error, "the app's database cannot be read"),
            }
            let settled = self.totals.borrow().settled().saturating_sub(before);
            match complete {
                Some(finished) if settled >= sent => return Ok(finished),
                _ if now >= deadline => return Ok(complete.unwrap_or(now)),
                _ => self.platform.sleep(LOOK_AGAIN).await,
            }
        }
    }
}

impl Worked {
    /// Counts, prints, and fails unless every message was stored exactly once and no effect repeated.
    pub(crate) fn report(&self, totals: &Totals, json: bool) -> anyhow::Result<()> {
        let stored = self.store.stored().context("cannot count the stored messages")?;
        let ids = self.store.ids().context("cannot read the stored messages")?;
        let effects = self.store.effects().context("cannot count the effects")?;
        let expected = self.plan.ids();
        let missing = expected.iter().filter(|id| !ids.contains(**id)).count();
        let counted = Counted {
            accepted: self.accepted,
            distinct: expected.len(),
            stored,
            missing,
            effects,
            seconds: self.seconds,
            seed: self.seed,
        };
        let report = Report::new(&counted, &totals.since(&self.before));
        let failures = report.failures();
        if json {
            eprintln!("\n{report}");
            println!("{}", serde_json::to_string(&report)?);
        } else {
            println!("\n{report}");
        }
        if !failures.is_empty() {
            bail!("{}", failures.join("; "));
        }
        if !json {
            println!("Every message was stored exactly once.");
        }
        Ok(())
    }
}

/// Progress, on a terminal only.
struct Bars {
    all: MultiProgress,
    sent: ProgressBar,
    stored: ProgressBar,
}

impl Bars {
    fn new(plan: &Plan) -> Self {
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let bar = |name: &'static str, length: usize| {
            let style = ProgressStyle::with_template("  {prefix:8} {bar:40} {pos:>5}/{len}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            all.add(ProgressBar::new(number(length)).with_style(style).with_prefix(name))
        };
        let (sent, stored) = (bar("accepted", plan.sent()), bar("stored", plan.ids().len()));
        Self { all, sent, stored }
    }

    fn clear(&self) {
        // An error means that the terminal is gone: nothing is left to be cleared.
        let _ = self.all.clear();
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
