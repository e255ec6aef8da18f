//! Renewal of a message in hand with nothing under way for it: the broker's lock, and then the claim, if there is one.
//!
//! In this order, so that a claim never outlives its peek-lock: were the claim renewed and the lock lost, the next delivery
//! would find the message busy for nothing. Losing either stops the work before its next step, and nothing is settled.

use super::{After, Handling, Idle, Stage};
use crate::config::QueueConfig;
use crate::run::Outcome;
use crate::run::command::{Context, Next, Reply, give_up};
use crate::run::writing::Write;
use crate::time::Instant;

impl Handling {
    /// When it must be renewed; `None` while something is under way for it, or the processor has it.
    #[must_use]
    pub fn renew_at(&self, queue: &QueueConfig) -> Option<Instant> {
        let Stage::Idle(_) = self.stage else { return None };
        let oldest = self.held().map_or(self.locked_since, |held| held.since.min(self.locked_since));
        Some(oldest.plus(queue.renew_after()))
    }

    /// Renews it. Afterwards it is where it was ([`Next::Stay`], or [`Next::Ready`] again).
    pub fn keep(&mut self, context: &mut Context<'_>) -> Next {
        match self.stage {
            Stage::Idle(idle) => self.renew_lock(Stage::Keeping(idle), context),
            _ => Next::Stay,
        }
    }

    /// The broker's lock is renewed: it is no older than the request.
    pub(super) fn on_renewed(&mut self, reply: Reply) -> Result<(), Reply> {
        match reply {
            Reply::Settled => {
                self.locked_since = self.renewal_asked;
                Ok(())
            }
            other => Err(other),
        }
    }

    pub(super) fn on_kept(&mut self, idle: Idle, reply: Reply, context: &mut Context<'_>) -> Next {
        match (self.on_renewed(reply), self.held.clone()) {
            (Ok(()), Some(held)) => {
                let record = held.record.renew(context.author());
                self.write(Write::new(record, Some(held.etag), context.now), After::Kept)
            }
            (Ok(()), None) => {
                self.stage = Stage::Idle(idle);
                Next::Stay
            }
            (Err(_), Some(_)) => self.let_go(Outcome::Lost, context),
            (Err(reply), None) => self.over(give_up(reply)),
        }
    }
}
