//! The default processor: the whole batch into SQLite in one statement.
