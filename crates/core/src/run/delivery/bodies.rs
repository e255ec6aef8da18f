//! Bodies that lie in a blob ([`crate::claim`]): read once the claim on the record is held, so that a duplicate costs no reading, and kept
//! until the end, so that every step has them.

use super::{CLAIM_LOST, Handling, Stage};
use crate::claim::{Claim, ClaimError};
use crate::run::Outcome;
use crate::run::command::{Command, Context, Next, Reply, give_up};

impl Handling {
    /// How many bytes its body has in a blob.
    #[must_use]
    pub fn claimed_bytes(&self) -> usize {
        let claim = self.claim.as_ref().and_then(|claim| claim.as_ref().ok());
        claim.map_or(0, |claim| usize::try_from(claim.size).unwrap_or(usize::MAX))
    }

    /// Reads the body; `None` where there is none to be read.
    pub(super) fn fetch(&mut self, context: &mut Context<'_>) -> Option<Next> {
        let claim = match self.claim.clone()? {
            Ok(_) if self.body.is_some() => return None,
            Ok(claim) => claim,
            Err(error) => return Some(self.claim_lost(error, context)),
        };
        if let Err(error) = claim.check_name(self.record_name()) {
            return Some(self.claim_lost(error, context));
        }
        let name = claim.blob.clone();
        self.stage = Stage::Fetching(claim);
        Some(Next::Do(Command::Load { name }))
    }

    pub(super) fn on_fetched(&mut self, claim: &Claim, reply: Reply, context: &mut Context<'_>) -> Next {
        match reply {
            Reply::Loaded(content) => match claim.check(&content) {
                Ok(()) => {
                    self.body = Some(content);
                    self.gather_or_be_ready(context)
                }
                Err(error) => self.claim_lost(error, context),
            },
            Reply::Missing => self.claim_lost(ClaimError::Missing, context),
            other => self.let_go(give_up(other), context),
        }
    }

    /// Nothing that can be repeated brings the body back: that is for a person to look at.
    fn claim_lost(&mut self, error: ClaimError, context: &mut Context<'_>) -> Next {
        let Some(held) = self.held.clone() else { return self.over(Outcome::Lost) };
        let reason = format!("the body cannot be had: {error}");
        self.park(&held.record, &held.etag, CLAIM_LOST, &reason, context)
    }

    /// The record is deleted: so is the blob of the body.
    pub(super) fn discard(&mut self, outcome: Outcome) -> Next {
        match self.claim.take() {
            Some(Ok(claim)) => {
                self.stage = Stage::Discarding(outcome);
                Next::Do(Command::Discard { name: claim.blob })
            }
            Some(Err(_)) | None => self.over(outcome),
        }
    }
}
