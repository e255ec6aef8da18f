//! Logs for people, on standard error: one line each, time, level, who speaks, what.
//!
//! Who speaks is the field `component` where an event has one (what a wasm component printed), else the last part of the
//! target (`pump`, `app`). `RUST_LOG` chooses what is shown, as everywhere.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use oncebus_core::time::{UnixTime, rfc3339};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

const DEFAULT_FILTER: &str = "warn,oncebus=info,oncebus_host=info,oncebus_emulator=info";

/// Sends events to standard error from now on; unless `RUST_LOG` says otherwise, `quiet` keeps to warnings.
pub(crate) fn start(quiet: bool) {
    let default = if quiet { "warn" } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).event_format(Line).init();
}

struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let metadata = event.metadata();
        let mut parts = Parts::default();
        event.record(&mut parts);
        let speaker = parts.component.as_deref().unwrap_or_else(|| last_part(metadata.target()));
        let level = match *metadata.level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN ",
            Level::INFO => "INFO ",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        };
        writeln!(out, "{} {level} {speaker:<14} {}{}", rfc3339(UnixTime(since.as_secs())), parts.message, parts.fields)
    }
}

fn last_part(target: &str) -> &str {
    target.rsplit("::").next().unwrap_or(target)
}

/// A line stays a line, and nothing that was printed moves a terminal's cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[derive(Default)]
struct Parts {
    component: Option<String>,
    message: String,
    /// ` name=value` for each of the others.
    fields: String,
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = one_line(&text),
            "component" => self.component = Some(text.trim_matches('"').to_owned()),
            name => self.fields.push_str(&format!(" {name}={}", one_line(&text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{last_part, one_line};

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(one_line("a\n\u{1b}[2Jb"), "a  [2Jb");
    }

    #[test]
    fn the_module_speaks() {
        assert_eq!(last_part("oncebus::up::app"), "app");
        assert_eq!(last_part("pump"), "pump");
    }
}
