//! What ingest decides: which path is meant, which message a request becomes, what is answered.
//!
//! Pure, as all of the core: the head of a request and the bytes of its body come in, messages to send and answers
//! to give go out. Reading the body, sending and looking are the component's (`components/ingest`).
//!
//! * [`access`]: who may send.
//! * [`key`]: where ids and lock keys are taken from.
//! * [`schedule`]: when a message is to be delivered, and how long it lives.
//! * [`head`]: the head of a request, and the three headers that name a message.
//! * [`route`]: the paths.
//! * [`routing`]: which queue a message goes to that names none.
//! * [`entry`]: a message as it was accepted, with its id; the rules for ids, keys, properties and sizes.
//! * [`batch`]: many messages in one body; one bad item spoils no other.
//! * [`door`]: one key, one payload, one message.
//! * [`report`]: the answer to a batch, item by item.
//! * [`cloudevents`]: events in all three modes, and who may send them.
//! * [`size`]: how large a message may be, and the claim check for one that is larger.
//! * [`form`]: form bodies.
//! * [`webhooks`]: whether a request was signed by who it says, and which message it becomes.
//! * [`status`]: what a record says to those who ask.
//!
//! Promises:
//!
//! 1. A body is never altered: what was sent is what the processor gets, byte for byte, with its content type.
//! 2. Ids are set before anything is sent. A send that is repeated is the same message.
//! 3. Nothing here panics, whatever the bytes.

pub mod access;
pub mod batch;
pub mod cloudevents;
pub mod door;
pub mod entry;
pub mod form;
pub mod head;
mod json;
pub mod key;
pub mod report;
pub mod route;
pub mod routing;
pub mod schedule;
pub mod size;
pub mod status;
pub mod webhooks;
