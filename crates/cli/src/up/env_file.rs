//! The env file for an app that is started by hand: `SPIN_VARIABLE_…=…`, one line each.
//!
//! Meant for `set -a; . FILE; set +a`. Other readers take the lines as they are (`docker --env-file`): for their sake
//! nothing is quoted that a shell reads right without quotes, everything else stands in one pair of single quotes, which our
//! parsers of connection strings and of the configuration forgive, and no value spans lines.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// A file that was written. Dropping it removes it: what it holds is of use, and true, only as long as `up` runs.
#[derive(Debug)]
pub(super) struct EnvFile {
    path: PathBuf,
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!("{error:#}");
        }
    }
}

/// Removes what a run that was killed has left behind: whoever waits for the file must not find the old one.
pub(super) fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes the file, readable by its owner alone. A reader sees no file or all of it.
pub(super) fn write<'a>(path: &Path, variables: impl Iterator<Item = (&'a str, &'a str)>) -> anyhow::Result<EnvFile> {
    let mut text = String::new();
    for (name, value) in variables {
        ensure!(!value.contains(['\n', '\r', '\0']), "the variable {name} has a line break");
        text.push_str(&line(name, value));
        text.push('\n');
    }
    let written = || -> std::io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        let unfinished = path.with_extension("env.new");
        // One that was left behind may have other rights.
        let _ = fs::remove_file(&unfinished);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&unfinished)?.write_all(text.as_bytes())?;
        fs::rename(&unfinished, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(EnvFile { path: path.to_owned() })
}

fn line(name: &str, value: &str) -> String {
    format!("SPIN_VARIABLE_{}={}", name.to_uppercase(), quoted(value))
}

/// The value as a shell reads it back.
fn quoted(value: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if value.chars().all(bare) {
        value.to_owned()
    } else {
        // A quote cannot stand inside single quotes: end them, add it, begin again.
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_needs_no_quotes_has_none() {
        assert_eq!(line("public_url", "http://127.0.0.1:3000"), "SPIN_VARIABLE_PUBLIC_URL=http://127.0.0.1:3000");
        assert_eq!(quoted("0a1b"), "0a1b");
        assert_eq!(quoted(""), "");
        assert_eq!(quoted("Endpoint=sb://h/;Key=a=="), "'Endpoint=sb://h/;Key=a=='");
        assert_eq!(quoted(r#"{"a":"~"}"#), r#"'{"a":"~"}'"#);
    }

    #[test]
    #[cfg(unix)]
    fn a_shell_reads_back_what_was_written_and_nobody_else_may() {
        use std::os::unix::fs::PermissionsExt as _;
        let values = ["bare", "", "a b;c&d", "~", "it's", r#"{"$x":"`y` \\ \n"}"#, "#no comment", "é…"];
        let names: Vec<String> = (0..values.len()).map(|n| format!("v{n}")).collect();
        let path = std::env::temp_dir().join(format!("oncebus-env-{}", std::process::id())).join("app.env");
        let file = write(&path, names.iter().map(String::as_str).zip(values)).unwrap();
        for (name, value) in names.iter().zip(values) {
            let script = format!("set -a; . \"$0\"; set +a; printenv SPIN_VARIABLE_{}", name.to_uppercase());
            let shell = Command::new("sh").arg("-c").arg(script).arg(&path).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&shell.stdout), format!("{value}\n"));
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(file);
        assert!(!path.exists(), "it is gone with what it is true of");
        remove(&path).unwrap();
        fs::remove_dir(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_value_of_two_lines_is_refused_by_its_name() {
        let error = write(Path::new("/nowhere"), [("token", "s3cret\nline")].into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "the variable token has a line break");
    }
}
