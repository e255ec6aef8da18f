//! What the protocol rests on, broken one by one.
//!
//! Core does the right thing, so an adversary stands around it: a storage that ignores a condition, an answer that was tampered with, two
//! requests in the wrong order, a processor that does not keep its contract.

/// One thing that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// The storage takes a claim whatever its `If-Match` says.
    NoIfMatchOnTakeover,
    /// Giving a claim back deletes the record, as a lock does that is nothing but a lock.
    DeleteOnRelease,
    /// Whether a claim has expired is decided with the client's clock, which is an hour fast.
    ClientClock,
    /// After a write without an answer any claim that the look finds is taken for one's own.
    RetryWithoutMark,
    /// The delivery is completed before the record is written as done.
    SettleBeforeDone,
    /// The delivery is completed before the copy is sent that stands for it.
    SettleBeforeCopy,
    /// A takeover leaves the epoch as it is.
    NoEpoch,
    /// A worker's monotonic clock stands still while it sleeps.
    StoppedClock,
    /// The storage acknowledges that a record is done or parked, and does not keep it.
    LostWrites,
    /// The storage drops the checkpoint out of the metadata.
    DroppedCheckpoint,
    /// A step that failed is called again under the same claim.
    RetryInPlace,
    /// The processor takes an effect without an answer for one that happened.
    AssumedEffect,
    /// The storage drops the name of the message that goes first out of a key's lock.
    DroppedBlock,
    /// A look at the message that a lock names shows it as it was when it failed.
    StaleBlock,
    /// The broker drops the lock key from copies.
    KeylessCopies,
    /// The storage lets an operator reopen a record whatever the `If-Match` says.
    NoIfMatchOnRedrive,
    /// An operator completes a letter before its message is sent back.
    LetterFirst,
    /// The storage deletes for a sweep whatever the `If-Match` says.
    NoIfMatchOnSweep,
    /// A sweep takes what is over at once.
    SweptTooEarly,
}

/// All of them.
pub const SWITCHES: [Switch; 19] = [
    Switch::NoIfMatchOnTakeover,
    Switch::DeleteOnRelease,
    Switch::ClientClock,
    Switch::RetryWithoutMark,
    Switch::SettleBeforeDone,
    Switch::SettleBeforeCopy,
    Switch::NoEpoch,
    Switch::StoppedClock,
    Switch::LostWrites,
    Switch::DroppedCheckpoint,
    Switch::RetryInPlace,
    Switch::AssumedEffect,
    Switch::DroppedBlock,
    Switch::StaleBlock,
    Switch::KeylessCopies,
    Switch::NoIfMatchOnRedrive,
    Switch::LetterFirst,
    Switch::NoIfMatchOnSweep,
    Switch::SweptTooEarly,
];
