//! Large checkpoints: stored before the record names them, read before the processor needs them ([`crate::record::checkpoint`]).

use std::time::Duration;

use bytes::Bytes;

use super::{CHECKPOINT_LOST, Handling, Stage};
use crate::record::checkpoint::MAX_INLINE_CHECKPOINT;
use crate::record::{Checkpoint, CheckpointBlob};
use crate::run::Outcome;
use crate::run::command::{Command, Context, Held, Next, Reply, give_up};

impl Handling {
    /// A step is done: its checkpoint goes into the record, or first into a blob.
    pub(super) fn on_more(
        &mut self,
        held: &Held,
        checkpoint: Vec<u8>,
        took: Duration,
        context: &mut Context<'_>,
    ) -> Next {
        if checkpoint.len() <= MAX_INLINE_CHECKPOINT {
            self.checkpoint = None;
            return self.advance(held, Checkpoint::Inline(checkpoint), took, context);
        }
        let blob = CheckpointBlob::new(held.record.epoch, &context.names.fresh(), &checkpoint);
        let content = Bytes::from(checkpoint);
        let command = Command::Store { name: blob.name(self.record_name()), content: content.clone() };
        self.checkpoint = Some(content);
        self.stage = Stage::Storing(blob, took);
        Next::Do(command)
    }

    pub(super) fn on_stored(
        &mut self,
        blob: CheckpointBlob,
        took: Duration,
        reply: Reply,
        context: &mut Context<'_>,
    ) -> Next {
        match (reply, self.held.clone()) {
            (Reply::Stored(_) | Reply::Exists, Some(held)) => {
                self.advance(&held, Checkpoint::Blob(Box::new(blob)), took, context)
            }
            // The step is done and not recorded: it will be repeated, as if the instance had died.
            (other, _) => self.over(give_up(other)),
        }
    }

    /// Reads the checkpoint of a claimed record; `None` where there is none to be read.
    pub(super) fn load(&mut self) -> Option<Next> {
        match self.held.as_ref()?.record.checkpoint.as_ref()? {
            Checkpoint::Blob(blob) if self.checkpoint.is_none() => {
                let name = blob.name(self.record_name());
                self.stage = Stage::Loading(CheckpointBlob::clone(blob));
                Some(Next::Do(Command::Load { name }))
            }
            _ => None,
        }
    }

    /// Without its checkpoint a message cannot go on, and beginning again would repeat what is done: that is for a person to decide.
    pub(super) fn on_loaded(&mut self, blob: &CheckpointBlob, reply: Reply, context: &mut Context<'_>) -> Next {
        let Some(held) = self.held.clone() else { return self.over(Outcome::Lost) };
        let what_is_wrong = match reply {
            Reply::Loaded(content) if blob.is(&content) => {
                self.checkpoint = Some(content);
                return self.ready();
            }
            Reply::Loaded(_) => "has another content than was stored",
            Reply::Missing => "is missing",
            other => return self.let_go(give_up(other), context),
        };
        let reason = format!("the checkpoint blob {} of step {} {what_is_wrong}", blob.suffix, held.record.step);
        self.park(&held.record, &held.etag, CHECKPOINT_LOST, &reason, context)
    }
}
