//! What components print, as log lines of ours.
//!
//! Our components print one JSON object a line, with `level` and `message` (and fields for machines, which are left
//! out here). Anything else is shown as it is.

use serde_json::Value;

/// Logs a line.
pub(super) fn line(component: &str, text: &str) {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let field = |name| parsed.as_ref()?.get(name)?.as_str();
    let message = field("message").unwrap_or(text);
    match field("level") {
        Some("error") => tracing::error!(component, "{message}"),
        Some("warn") => tracing::warn!(component, "{message}"),
        _ if message.trim().is_empty() => {}
        _ => tracing::info!(component, "{message}"),
    }
}
