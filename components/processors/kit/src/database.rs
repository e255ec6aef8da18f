//! The default SQLite database, opened once per instance.

use std::cell::OnceCell;
use std::fmt;

use spin_sdk::sqlite::{Connection, Error, QueryResult, Value};

thread_local! {
    /// Opened by the first call that needs it, kept for as long as the instance lives.
    static DATABASE: OnceCell<Database> = const { OnceCell::new() };
}

/// The open connection.
pub struct Database {
    connection: Connection,
}

impl Database {
    /// Works with the database called `default`. The first call in an instance opens it and makes whichever of the
    /// tables are missing.
    ///
    /// # Errors
    ///
    /// Those of `work`, and: the manifest grants no database, or SQLite refuses.
    pub fn with<T>(work: impl FnOnce(&Self) -> Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        DATABASE.with(|cell| match cell.get() {
            Some(database) => work(database),
            None => {
                let opened = Self::open()?;
                work(cell.get_or_init(|| opened))
            }
        })
    }

    fn open() -> Result<Self, DatabaseError> {
        let connection = Connection::open_default().map_err(|error| DatabaseError::new("open", error))?;
        let database = Self { connection };
        for statement in crate::messages::SCHEMA.iter().chain(crate::effects::SCHEMA) {
            database.execute("make a table", statement, &[])?;
        }
        Ok(database)
    }

    /// Runs one statement. `doing` says in the error's text what it was for.
    pub(crate) fn execute(
        &self,
        doing: &'static str,
        statement: &str,
        parameters: &[Value],
    ) -> Result<QueryResult, DatabaseError> {
        self.connection.execute(statement, parameters).map_err(|error| DatabaseError::new(doing, error))
    }
}

/// What SQLite answered instead of doing it. Holds no parameter, so no message content.
#[derive(Debug)]
pub struct DatabaseError {
    doing: &'static str,
    error: Error,
}

impl DatabaseError {
    fn new(doing: &'static str, error: Error) -> Self {
        Self { doing, error }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = self.doing;
        match &self.error {
            Error::NoSuchDatabase => write!(f, "cannot {doing}: there is no database `default`"),
            Error::AccessDenied => {
                write!(f, "cannot {doing}: sqlite_databases = [\"default\"] is not granted to the processor")
            }
            Error::InvalidConnection => write!(f, "cannot {doing}: the connection is gone"),
            Error::DatabaseFull => write!(f, "cannot {doing}: the database is full"),
            Error::Io(text) => write!(f, "cannot {doing}: {text}"),
        }
    }
}

impl std::error::Error for DatabaseError {}
