//! Reads the configuration's file.

use std::path::Path;

use anyhow::{Context as _, bail};

/// The document in a file: text that is TOML, or JSON. What it says is checked by `Config::parse`, whose errors name a key; an
/// error of the language is told here, where the file's name and its lines are known.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    match text.parse::<toml::Table>() {
        Err(error) if !text.trim_start().starts_with('{') => {
            let (line, column) = place(&text, error.span().map_or(0, |span| span.start));
            bail!("{}:{line}:{column}: {}", path.display(), error.message())
        }
        _ => Ok(text),
    }
}

/// Line and column of a byte, both from 1; the column in characters.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<String, String> {
        let path = std::env::temp_dir().join(format!("oncebus-document-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let read = read(&path);
        std::fs::remove_file(&path).unwrap();
        read.map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn an_error_of_the_language_has_a_place() {
        let error = read_text("wrong", "[queues.orders]\n[storage]\ncontainer = \n").unwrap_err();
        assert!(error.starts_with("FILE:3:"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn what_a_document_says_is_not_judged_here() {
        for text in ["[queues.orders]\nbatch = \"many\"\n", "{\"queues\": {\"orders\": {}}}"] {
            assert_eq!(read_text("right", text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn columns_are_characters() {
        assert_eq!(place("a\n\u{e4}x", 4), (2, 2));
        assert_eq!(place("", 0), (1, 1));
    }
}
