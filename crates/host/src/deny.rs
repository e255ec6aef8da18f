//! Implementations that refuse, for what a dependency imports and does not inherit ([`crate::compose`]).
//!
//! They refuse with the interface's own errors where it has some, so that a dependency can say what is
//! missing. An environment that is not inherited is an empty one: the standard library asks for it without need.

use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi_http::RequestOptions;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};

use crate::bindings::{sqlite, variables};
use crate::compose::DENIED;
use crate::instance::State;

/// A connection that nobody ever gets.
struct NoConnection;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    // The linker matches every later version that is compatible, for these names as for others.
    let mut environment = linker.instance(&format!("{DENIED}wasi:cli/environment@0.2.0"))?;
    environment.func_wrap("get-environment", |_, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    environment.func_wrap("get-arguments", |_, (): ()| Ok((Vec::<String>::new(),)))?;
    environment.func_wrap("initial-cwd", |_, (): ()| Ok((None::<String>,)))?;

    let mut outgoing = linker.instance(&format!("{DENIED}wasi:http/outgoing-handler@0.2.0"))?;
    outgoing.func_wrap("handle", |_, (_, _): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>)| {
        Ok((Err::<Resource<HostFutureIncomingResponse>, _>(ErrorCode::HttpRequestDenied),))
    })?;

    let mut variables = linker.instance(&format!("{DENIED}fermyon:spin/variables@2.0.0"))?;
    variables.func_wrap("get", |_, (name,): (String,)| Ok((Err::<String, _>(variables::Error::Undefined(name)),)))?;

    let mut sqlite = linker.instance(&format!("{DENIED}fermyon:spin/sqlite@2.0.0"))?;
    sqlite.resource("connection", ResourceType::host::<NoConnection>(), |_, _| Ok(()))?;
    sqlite.func_wrap("[static]connection.open", |_, (_,): (String,)| {
        Ok((Err::<Resource<NoConnection>, _>(sqlite::Error::AccessDenied),))
    })?;
    sqlite.func_wrap(
        "[method]connection.execute",
        |_, (_, _, _): (Resource<NoConnection>, String, Vec<sqlite::Value>)| {
            Ok((Err::<sqlite::QueryResult, _>(sqlite::Error::InvalidConnection),))
        },
    )?;
    Ok(())
}
