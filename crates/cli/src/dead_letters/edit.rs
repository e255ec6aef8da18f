//! A letter in a file, for an editor or a script.
//!
//! The content type and the sender's properties, one on a line, values as JSON; an empty line; the body as it is. A body that is
//! no text is in base64, and a line says so:
//!
//! ```text
//! content-type: application/json
//! colour: "blue"
//!
//! {"article": 23}
//! ```
//!
//! Editors end a file with a line break, so one is added to the body and one is taken off again. What Oncebus keeps on a
//! message (id, key, sequence) is not in the file and stays.

use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oncebus_core::claim::Claim;
use oncebus_core::message::{Delivery, Properties, PropertyValue, property};
use serde_json::Value;
use tokio::process::Command;

use super::letter::{is_senders, scalar};

const CONTENT_TYPE: &str = "content-type";
const ENCODING: &str = "content-transfer-encoding";

/// What edits: a command that gets the file's name as its last argument.
#[derive(Debug, Clone)]
pub(super) struct Editor {
    pub(super) command: String,
    /// Whether a person sits before it.
    pub(super) interactive: bool,
}

impl Editor {
    /// The one that a person has chosen for everything.
    pub(super) fn of_the_environment() -> anyhow::Result<Self> {
        let chosen =
            ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let command = chosen.context("--edit needs VISUAL or EDITOR in the environment; scripts use --edit-with")?;
        Ok(Self { command, interactive: true })
    }

    /// The letter as it is after editing. An error leaves it as it was.
    pub(super) async fn edit(&self, delivery: &Delivery) -> anyhow::Result<Delivery> {
        let file = tempfile::Builder::new().prefix("oncebus-letter-").suffix(".txt").tempfile()?;
        tokio::fs::write(file.path(), to_text(delivery)).await?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{} \"$1\"", self.command)).arg("oncebus").arg(file.path()).kill_on_drop(true);
        if !self.interactive {
            // Our standard output is for results.
            command.stdin(Stdio::null()).stdout(std::io::stderr());
        }
        let status = command.status().await.with_context(|| format!("cannot run {:?}", self.command))?;
        ensure!(status.success(), "{:?} ended with {status}", self.command);
        let text = tokio::fs::read(file.path()).await.context("cannot read what was edited")?;
        from_text(&text, delivery)
    }
}

fn to_text(delivery: &Delivery) -> Vec<u8> {
    let mut text = String::new();
    if let Some(content_type) = delivery.sent_content_type() {
        text.push_str(&format!("{CONTENT_TYPE}: {content_type}\n"));
    }
    let own = delivery.properties.iter().filter(|(name, _)| is_senders(name));
    for (name, value) in own {
        text.push_str(&format!("{name}: {}\n", scalar(value)));
    }
    match std::str::from_utf8(&delivery.body) {
        Ok(body) => text.push_str(&format!("\n{body}\n")),
        Err(_) => text.push_str(&format!("{ENCODING}: base64\n\n{}\n", STANDARD.encode(&delivery.body))),
    }
    text.into_bytes()
}

fn from_text(text: &[u8], old: &Delivery) -> anyhow::Result<Delivery> {
    ensure!(!text.is_empty(), "the file is empty: left as it was");
    let mut edited = old.clone();
    edited.properties = old
        .properties
        .iter()
        .filter(|(name, _)| !is_senders(name))
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect::<Properties>();
    let (mut rest, mut content_type, mut in_base64) = (text, None, false);
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            bail!("no empty line before the body");
        };
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let line = std::str::from_utf8(line).context("a line before the body is no text")?.trim_end_matches('\r');
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').with_context(|| format!("no colon in {line:?}"))?;
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case(CONTENT_TYPE) {
            content_type = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case(ENCODING) {
            ensure!(value.eq_ignore_ascii_case("base64"), "{ENCODING}: expected base64, found {value:?}");
            in_base64 = true;
        } else {
            ensure!(is_senders(name), "{name} is not the sender's to set");
            edited.properties.set(name, property_value(value));
        }
    }
    let body = rest.strip_suffix(b"\n").map_or(rest, |body| body.strip_suffix(b"\r").unwrap_or(body));
    edited.body = if in_base64 {
        let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        STANDARD.decode(text).context("the body is not base64")?.into()
    } else {
        body.to_vec().into()
    };
    if !edited.body.is_empty() {
        // A body of its own takes the place of one that lies in a blob.
        Claim::remove(&mut edited.properties);
    }
    if content_type.as_deref() != old.sent_content_type() {
        edited.properties.remove(property::CONTENT_TYPE);
        edited.content_type = content_type;
    }
    Ok(edited)
}

/// A JSON scalar, or the text as it is.
fn property_value(text: &str) -> PropertyValue {
    match serde_json::from_str(text) {
        Ok(Value::String(text)) => PropertyValue::Text(text),
        Ok(Value::Bool(truth)) => PropertyValue::Bool(truth),
        Ok(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => PropertyValue::Integer(whole),
            (None, Some(double)) => PropertyValue::Double(double),
            (None, None) => PropertyValue::Text(text.to_owned()),
        },
        _ => PropertyValue::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use oncebus_core::message::{Addressing, LockRef};

    use super::*;

    fn letter(body: &'static [u8]) -> Delivery {
        let mut properties = Properties::new();
        properties.set("oncebus-id", "a");
        properties.set("DeadLetterReason", "rejected");
        properties.set("colour", "dark: blue");
        properties.set("number", PropertyValue::Integer(7));
        properties.set("digits", "7");
        Delivery {
            lock: LockRef { sequence_number: 1, lock_token: "t".into() },
            message_id: "m".into(),
            delivery_count: 1,
            enqueued_at: None,
            locked_until: None,
            answered_at: None,
            content_type: Some("text/plain".into()),
            body: Bytes::from_static(body),
            properties,
            addressing: Addressing::default(),
            time_to_live: None,
        }
    }

    fn again(delivery: &Delivery) -> Delivery {
        from_text(&to_text(delivery), delivery).unwrap()
    }

    #[test]
    fn what_is_not_touched_comes_back_as_it_was() {
        for body in [b"".as_slice(), b"text", b"a\n\nb\n", b"a\r\n", b"\xff\x00", b"\n", b": x"] {
            let old = letter(body);
            let new = again(&old);
            assert_eq!((&new.body, &new.content_type), (&old.body, &old.content_type), "{body:?}");
            for (name, value) in old.properties.iter() {
                assert_eq!(new.properties.get(name), Some(value), "{name}");
            }
            assert_eq!(new.properties.len(), old.properties.len());
        }
        let bare = Delivery { content_type: None, properties: Properties::new(), ..letter(b"x") };
        assert_eq!(again(&bare).content_type, None);
    }

    #[test]
    fn what_is_edited_is_taken_over() {
        let old = letter(b"old");
        let text = b"Content-Type: application/json\r\ncolour: red\nnumber: 8.5\nnew: true\n\n{\"a\": 1}\n";
        let new = from_text(text, &old).unwrap();
        assert_eq!((new.content_type.as_deref(), &new.body[..]), (Some("application/json"), b"{\"a\": 1}".as_slice()));
        let value = |name: &str| new.properties.get(name).cloned();
        assert_eq!(value("colour"), Some("red".into()));
        assert_eq!(value("number"), Some(PropertyValue::Double(8.5)));
        assert_eq!(value("new"), Some(PropertyValue::Bool(true)));
        assert_eq!(value("digits"), None);
        assert_eq!((value("oncebus-id"), value("deadletterreason")), (Some("a".into()), Some("rejected".into())));
    }

    #[test]
    fn the_content_type_of_a_batch_gives_way_to_an_edited_one() {
        let mut old = letter(b"x");
        old.properties.set(property::CONTENT_TYPE, "text/html");
        assert_eq!(again(&old).properties.text(property::CONTENT_TYPE), Some("text/html"));
        let new = from_text(b"content-type: text/css\n\nx\n", &old).unwrap();
        assert_eq!((new.sent_content_type(), new.properties.text(property::CONTENT_TYPE)), (Some("text/css"), None));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (text, said) in [
            (b"".as_slice(), "the file is empty"),
            (b"body without a line", "no empty line before the body"),
            (b"no colon\n\nx", "no colon in"),
            (b"oncebus-id: b\n\nx", "oncebus-id is not the sender's to set"),
            (b"content-transfer-encoding: base64\n\n?\n", "the body is not base64"),
            (b"\xff: 1\n\nx", "a line before the body is no text"),
        ] {
            let error = format!("{:#}", from_text(text, &letter(b"x")).unwrap_err());
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[tokio::test]
    async fn a_command_gets_the_file_as_its_last_argument() {
        let editor = |command: &str| Editor { command: command.to_owned(), interactive: false };
        let edited = editor("sed -i.bak s/old/new/").edit(&letter(b"an old one")).await.unwrap();
        assert_eq!(&edited.body[..], b"an new one");
        let failed = editor("false").edit(&letter(b"x")).await.unwrap_err();
        assert!(failed.to_string().starts_with("\"false\" ended with exit status: 1"), "{failed}");
    }
}
