//! The REST dialects of Azure Service Bus and Blob Storage, as pure functions.
//!
//! Every operation is two functions: one builds an `http::Request<Bytes>`, one reads the `http::Response<Bytes>` that
//! came back. Between them stands whoever has a network; this crate has none. It reads no clock and draws no
//! random number: what depends on the time takes `now`. It never retries, and it never panics on bytes from outside.
//!
//! * [`connection`]: the connection strings that say where things are and who we are.
//! * [`sas`]: the signatures that both services accept; signing and the text that is signed are apart.
//! * [`servicebus`]: send, peek-lock, complete, abandon, renew.
//! * [`batch`]: many messages in one send.
//! * [`blob`]: create, look, read, write and set metadata, with their conditions.
//!
//! Promises that hold for every request built here:
//!
//! 1. `Content-Length` is set on everything but GET and HEAD, `0` included: both services refuse a write without it,
//!    and a WASI host cannot know the length otherwise.
//! 2. No header is sent that is not needed: Service Bus stores each unknown request header as a property of the message.
//! 3. No `Debug`, `Display` or error of this crate contains a secret. A blob request's URI does (its SAS); log a request
//!    by [`describe`] only.

pub mod batch;
pub mod blob;
pub mod connection;
pub mod sas;
pub mod servicebus;

mod dates;
mod error_body;
mod wire;

pub use wire::describe;
