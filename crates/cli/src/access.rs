//! `oncebus access`: keys for those who send.
//!
//! `new-key` makes an API key of 256 random bits, prints it once, and prints the lines for `oncebus.toml`, which hold its SHA-256
//! alone. It keeps nothing and changes no file.

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Subcommand;
use http::{HeaderValue, Request, header};
use oncebus_core::config::Config;
use oncebus_core::id::sha256_hex;
use oncebus_core::ingest::access::KEY_PREFIX;
use oncebus_core::secret::Secret;
use oncebus_runtime::platform::Entropy;
use oncebus_runtime::platform::native::Native;
use serde_json::json;

use crate::operator::{Out, unless_pipe_closed};

/// Arguments of `oncebus access`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an API key. It is printed once, with the lines for oncebus.toml.
    NewKey(NewKeyArgs),
}

#[derive(Debug, clap::Args)]
struct NewKeyArgs {
    /// Who the client is.
    #[arg(long)]
    name: String,
    /// A queue that the key is good for; several times for several. Default: all queues.
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Does as it is told.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Command::NewKey(args) = &args.command;
    let platform = Native::new().context("cannot set up the system's random numbers")?;
    let key = Key::new(&args.name, &args.queues, &platform)?;
    let text = if args.json { key.to_json() } else { key.to_text() };
    unless_pipe_closed(Out::default().line(&text).map_err(anyhow::Error::from))
}

/// Shows an API key with a request, if there is one.
pub(crate) fn show(key: Option<&Secret>, mut request: Request<Bytes>) -> anyhow::Result<Request<Bytes>> {
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        let bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()));
        let mut bearer = bearer.map_err(|_| anyhow!("the API key cannot be sent"))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
    }
    Ok(request)
}

/// A key that was made.
struct Key {
    name: String,
    queues: Vec<String>,
    secret: Secret,
}

impl Key {
    fn new(name: &str, queues: &[String], entropy: &impl Entropy) -> anyhow::Result<Self> {
        let mut random = [0; 32];
        entropy.fill(&mut random);
        let secret = Secret::new(format!("{KEY_PREFIX}{}", hex::encode(random)));
        let key = Self { name: name.to_owned(), queues: queues.to_vec(), secret };
        key.check()?;
        Ok(key)
    }

    /// What is printed is read as the app will read it.
    fn check(&self) -> anyhow::Result<()> {
        let queues: toml::Table = self.queues.iter().map(|name| (name.clone(), toml::Table::new().into())).collect();
        let document = if queues.is_empty() {
            "[queues.any]\n".to_owned()
        } else {
            toml::Table::from_iter([("queues".to_owned(), queues.into())]).to_string()
        };
        Config::parse(&format!("{document}\n[access]\nmode = \"keys\"\n{}", self.lines()))?;
        Ok(())
    }

    fn sha256(&self) -> String {
        sha256_hex(self.secret.expose().as_bytes())
    }

    /// The lines for the configuration.
    fn lines(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut lines = format!("[[access.keys]]\nname = {}\nsha256 = \"{}\"\n", quoted(&self.name), self.sha256());
        if !self.queues.is_empty() {
            let queues: Vec<String> = self.queues.iter().map(|queue| quoted(queue)).collect();
            lines += &format!("queues = [{}]\n", queues.join(", "));
        }
        lines
    }

    fn to_text(&self) -> String {
        format!(
            "The key, this once. Its client sends it as Authorization: Bearer KEY, or as X-Api-Key: KEY\n\n{}\n\nFor oncebus.toml, where [access] has mode = \"keys\":\n\n{}",
            self.secret.expose(),
            self.lines()
        )
    }

    fn to_json(&self) -> String {
        let queues = (!self.queues.is_empty()).then_some(&self.queues);
        json!({ "name": self.name, "key": self.secret.expose(), "sha256": self.sha256(), "queues": queues }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use oncebus_core::ingest::access::{Access, check_key};
    use oncebus_core::ingest::head::Head;
    use serde_json::Value;

    use super::*;

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[test]
    fn the_key_that_is_printed_opens_what_the_lines_say() {
        let key = Key::new("shop", &["orders".to_owned()], &Fixed).unwrap();
        let text = key.to_text();
        let printed = text.lines().find(|line| line.starts_with(KEY_PREFIX)).unwrap();
        assert_eq!(printed.len(), KEY_PREFIX.len() + 64);
        let lines = &text[text.find("[[").unwrap()..];
        assert!(!lines.contains(printed), "the configuration has the hash alone");
        let config =
            Config::parse(&format!("[queues.orders]\n[queues.texts]\n[access]\nmode = \"keys\"\n{lines}")).unwrap();
        let Access::Keys(keys) = config.access else { panic!("keys") };
        let headers = vec![("authorization".to_owned(), format!("Bearer {printed}").into_bytes())];
        let caller = check_key(&Head { headers, ..Head::default() }, &keys).unwrap();
        assert_eq!(
            (caller.name(), caller.may_use("orders").is_ok(), caller.may_use("texts").is_ok()),
            (Some("shop"), true, false)
        );
        let json: Value = serde_json::from_str(&key.to_json()).unwrap();
        assert_eq!((&json["key"], &json["queues"]), (&printed.into(), &json!(["orders"])));
    }

    #[test]
    fn a_name_that_the_configuration_does_not_take_gets_no_key() {
        assert!(Key::new("a:b", &[], &Fixed).is_err());
        assert!(Key::new("a\"b", &[], &Fixed).is_err());
        assert!(Key::new("shop", &["or ders".to_owned()], &Fixed).is_err());
        assert!(Key::new("shop", &[], &Fixed).is_ok());
    }
}
