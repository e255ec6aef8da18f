//! Runs a `spin.toml` on wasmtime where Spin is not installed, and inside tests.
//!
//! The same manifest and the same wasm files run under Spin 4.1, unchanged. This host has what Oncebus uses:
//!
//! * the HTTP trigger: exact routes, wildcards at the end, private routes; an instance for each request, in a task of its own,
//!   so that a client that goes away cancels nothing and work may go on after the response;
//! * the host's own answer at `/.well-known/spin/health`;
//! * variables and their templates, the environment of components;
//! * outbound requests to `allowed_outbound_hosts`, over one pool of connections, and to the application's own
//!   components (`http://name.spin.internal`);
//! * the SQLite database `default` (`fermyon:spin/sqlite@2.0.0`);
//! * dependencies between components, closed to everything that they do not inherit.
//!
//! What Spin has beyond that it does not have, and a manifest that asks for it does not load: [`LoadError`] names the key. It is
//! not a sandbox for strangers' code either: it limits neither time nor memory beyond wasm's own.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use oncebus_host::{App, Options};
//!
//! let app = App::load("spin.toml".as_ref(), Options::default()).await?;
//! let server = app.serve("127.0.0.1:0".parse()?).await?;
//! println!("listening on {}", server.url());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! For tests: [`OutboundHook`] sees every outbound request and may pause, break or kill; [`Options::overrides`] swaps a
//! dependency; [`App::database`] counts what was stored; [`LogSink`] takes what components print.

mod app;
mod bindings;
mod client;
mod compose;
mod deny;
mod engine;
mod error;
mod hook;
mod hosts;
mod instance;
mod log;
mod manifest;
mod outbound;
mod route;
mod server;
mod sqlite;
mod variables;

pub use app::{App, Options};
pub use error::{ComposeError, LoadError, ManifestError, ServeError};
pub use futures::future::BoxFuture;
pub use hook::{Answer, OutboundCall, OutboundHook, Verdict};
pub use log::{LogLine, LogSink, Stream};
pub use rusqlite::types::Value;
pub use server::Server;
pub use sqlite::{Database, Sqlite};
