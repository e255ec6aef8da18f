//! The SQLite database `default`, for components (`fermyon:spin/sqlite@2.0.0`) and for the host's own user.
//!
//! As with Spin there is one connection for the whole application, behind a lock, and attaching other files is denied.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{Value, ValueRef};
use wasmtime::component::Resource;

use crate::bindings::sqlite::{Error, Host, HostConnection, QueryResult, RowResult, Value as GuestValue};
use crate::instance::State;

/// Where the database `default` is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sqlite {
    /// Where Spin has it: `.spin/sqlite_db.db` beside the manifest.
    #[default]
    Default,
    /// In this file, which is made if it is not there.
    File(PathBuf),
    /// In memory, for as long as the [`App`](crate::App) lives.
    Memory,
}

/// The open database.
#[derive(Clone)]
pub struct Database(Arc<Mutex<rusqlite::Connection>>);

/// What a component holds: the right to use the database.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Connection;

impl Database {
    /// `None` is in memory.
    pub(crate) fn open(path: Option<&PathBuf>) -> rusqlite::Result<Self> {
        let mut connection = match path {
            Some(path) => rusqlite::Connection::open(path)?,
            None => rusqlite::Connection::open_in_memory()?,
        };
        connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
            AuthAction::Attach { filename } if !matches!(filename, "" | ":memory:") => Authorization::Deny,
            _ => Authorization::Allow,
        }))?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs one statement and returns its rows. It waits for statements of components, so call it where blocking
    /// for some milliseconds does not matter: in tests, in reports.
    ///
    /// # Errors
    ///
    /// What SQLite answers.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> rusqlite::Result<Vec<Vec<Value>>> {
        Ok(self.run(statement, parameters)?.1)
    }

    fn run(&self, statement: &str, parameters: &[Value]) -> rusqlite::Result<(Vec<String>, Vec<Vec<Value>>)> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare_cached(statement)?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let width = columns.len();
        let rows = statement
            .query_map(rusqlite::params_from_iter(parameters), |row| {
                (0..width).map(|i| value(row.get_ref(i)?)).collect()
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok((columns, rows))
    }
}

/// Text that is not UTF-8 is given as the bytes that it is.
#[expect(clippy::unnecessary_wraps, reason = "reads better where rows are made")]
fn value(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Blob(text.to_owned()),
        },
        other => Value::try_from(other).unwrap_or(Value::Null),
    })
}

impl Host for State {}

impl HostConnection for State {
    async fn open(&mut self, database: String) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        if !self.component().sqlite {
            return Ok(Err(Error::AccessDenied));
        }
        if database != "default" {
            return Ok(Err(Error::NoSuchDatabase));
        }
        Ok(Ok(self.table.push(Connection)?))
    }

    async fn execute(
        &mut self,
        _: Resource<Connection>,
        statement: String,
        parameters: Vec<GuestValue>,
    ) -> wasmtime::Result<Result<QueryResult, Error>> {
        self.alive()?;
        let Some(database) = self.app().database.clone() else {
            return Ok(Err(Error::InvalidConnection));
        };
        let parameters: Vec<Value> = parameters.into_iter().map(from_guest).collect();
        let outcome = tokio::task::spawn_blocking(move || database.run(&statement, &parameters)).await?;
        Ok(match outcome {
            Ok((columns, rows)) => {
                let rows = rows.into_iter().map(|row| RowResult { values: row.into_iter().map(to_guest).collect() });
                Ok(QueryResult { columns, rows: rows.collect() })
            }
            Err(error) => Err(Error::Io(error.to_string())),
        })
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

fn from_guest(value: GuestValue) -> Value {
    match value {
        GuestValue::Integer(integer) => Value::Integer(integer),
        GuestValue::Real(real) => Value::Real(real),
        GuestValue::Text(text) => Value::Text(text),
        GuestValue::Blob(blob) => Value::Blob(blob),
        GuestValue::Null => Value::Null,
    }
}

fn to_guest(value: Value) -> GuestValue {
    match value {
        Value::Integer(integer) => GuestValue::Integer(integer),
        Value::Real(real) => GuestValue::Real(real),
        Value::Text(text) => GuestValue::Text(text),
        Value::Blob(blob) => GuestValue::Blob(blob),
        Value::Null => GuestValue::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_come_back() {
        let database = Database::open(None).unwrap();
        let values = [
            Value::Integer(-1),
            Value::Real(0.5),
            Value::Text("t\0é".to_owned()),
            Value::Blob(vec![0, 255]),
            Value::Null,
        ];
        assert_eq!(database.query("SELECT ?1, ?2, ?3, ?4, ?5", &values).unwrap(), [values]);
        let broken = database.query("SELECT CAST(x'ff' AS TEXT)", &[]).unwrap();
        assert_eq!(broken, [[Value::Blob(vec![255])]]);
    }

    #[test]
    fn no_other_file_is_attached() {
        let database = Database::open(None).unwrap();
        assert!(database.query("ATTACH '/tmp/other.db' AS other", &[]).is_err());
        assert!(database.query("ATTACH ':memory:' AS other", &[]).is_ok());
    }
}
