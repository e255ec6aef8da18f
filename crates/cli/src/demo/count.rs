//! Counts the demo's own rows in the app's database, from outside and without writing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};

/// Longer than any of the app's transactions.
const BUSY: Duration = Duration::from_secs(5);

/// The app's database.
#[derive(Debug, Clone)]
pub(super) struct Store {
    path: PathBuf,
    prefixes: [String; 2],
}

/// The effects of the demo's messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Steps that ran.
    pub(super) all: u64,
    /// Of these, steps of a message that had run before.
    pub(super) repeated: u64,
}

impl Store {
    /// Rows with ids that begin with one of these.
    pub(super) fn new(path: &Path, prefixes: [String; 2]) -> Self {
        Self { path: path.to_owned(), prefixes }
    }

    /// How many messages are stored.
    pub(super) fn stored(&self) -> rusqlite::Result<u64> {
        let [one, other] = &self.prefixes;
        self.read(|database| {
            // GLOB tells cases apart, as ids do, and the prefixes hold none of its signs. It reads the whole table, since a pattern
            // that is a parameter uses no index: a thousand rows a few times a second.
            let sql = "SELECT (SELECT count(*) FROM messages WHERE id GLOB ?1 || '*') \
                 + (SELECT count(*) FROM messages WHERE id GLOB ?2 || '*')";
            database.query_row(sql, [one, other], |row| number(row, 0))
        })
    }

    /// The ids of all stored messages.
    pub(super) fn ids(&self) -> rusqlite::Result<BTreeSet<String>> {
        let [one, other] = &self.prefixes;
        self.read(|database| {
            let sql = "SELECT id FROM messages WHERE id GLOB ?1 || '*' OR id GLOB ?2 || '*'";
            let mut statement = database.prepare(sql)?;
            statement.query_map([one, other], |row| row.get(0))?.collect()
        })
    }

    /// The log of steps. A step ran twice where a message has two lines for it.
    pub(super) fn effects(&self) -> rusqlite::Result<Effects> {
        let [one, other] = &self.prefixes;
        self.read(|database| {
            let sql = "SELECT coalesce(sum(times), 0), coalesce(sum(times - 1), 0) FROM \
                 (SELECT count(*) AS times FROM effects WHERE id GLOB ?1 || '*' OR id GLOB ?2 || '*' GROUP BY id, step)";
            database.query_row(sql, [one, other], |row| Ok(Effects { all: number(row, 0)?, repeated: number(row, 1)? }))
        })
    }

    /// The app makes file and tables with its first message: until then there is nothing, which is no error.
    fn read<T: Default>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        if !self.path.exists() {
            return Ok(T::default());
        }
        let database = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(BUSY)?;
        match ask(&database) {
            Err(rusqlite::Error::SqliteFailure(_, Some(said))) if said.starts_with("no such table") => Ok(T::default()),
            Err(rusqlite::Error::SqlInputError { msg, .. }) if msg.starts_with("no such table") => Ok(T::default()),
            answer => answer,
        }
    }
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, u32>(column).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(name: &str) -> (Store, Connection) {
        let path = std::env::temp_dir().join(format!("oncebus-count-{name}-{}.db", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let database = Connection::open(&path).unwrap();
        (Store::new(&path, ["demo-1-".to_owned(), "SM1".to_owned()]), database)
    }

    #[test]
    fn what_is_not_there_yet_counts_as_nothing() {
        let (store, _database) = store("empty");
        assert_eq!(store.stored().unwrap(), 0);
        assert_eq!(store.effects().unwrap(), Effects::default());
        let nowhere = Store::new(Path::new("/nowhere/at.db"), store.prefixes.clone());
        assert!(nowhere.ids().unwrap().is_empty());
        std::fs::remove_file(&store.path).unwrap();
    }

    #[test]
    fn only_own_rows_count_and_a_repeated_step_shows() {
        let (store, database) = store("rows");
        let script = "CREATE TABLE messages (id TEXT PRIMARY KEY); CREATE TABLE effects (id TEXT, step INTEGER);
            INSERT INTO messages VALUES ('demo-1-a'), ('SM1b'), ('demo-2-a'), ('other');
            INSERT INTO effects VALUES ('demo-1-a', 1), ('demo-1-a', 2), ('SM1b', 1), ('SM1b', 1), ('SM1b', 1),
                ('demo-2-a', 1), ('demo-2-a', 1);";
        database.execute_batch(script).unwrap();
        assert_eq!(store.stored().unwrap(), 2);
        assert_eq!(store.ids().unwrap().into_iter().collect::<Vec<_>>(), ["SM1b", "demo-1-a"]);
        assert_eq!(store.effects().unwrap(), Effects { all: 5, repeated: 2 });
        std::fs::remove_file(&store.path).unwrap();
    }
}
