//! What may differ between two answers that are equal: each rule by its name.
//!
//! A rule replaces only what it recognises, so that a missing or malformed value still differs.

use crate::exchange::Answer;

/// Makes an answer comparable. `old` says that it was recorded before 2020.
pub(crate) fn normalise(answer: &Answer, old: bool) -> Answer {
    let mut answer = answer.clone();
    http_date(&mut answer);
    entity_tag(&mut answer);
    strict_transport(&mut answer, old);
    location(&mut answer);
    broker_properties(&mut answer);
    if let Ok(text) = std::str::from_utf8(&answer.body)
        && text.starts_with('<')
        && answer.headers.get("content-type").is_some_and(|kind| kind.contains("xml"))
        && (text.starts_with("<entry") || text.starts_with("<feed") || text.starts_with("<Error>"))
    {
        let text = xml_dates(&authors(&hosts(text)));
        let text = feed_id(&tracking(&text));
        answer.body = if old { old_words(&text) } else { text }.into_bytes();
    }
    answer
}

/// `Date` is some HTTP-date.
fn http_date(answer: &mut Answer) {
    if let Some(date) = answer.headers.get_mut("date").filter(|date| httpdate::parse_http_date(date).is_ok()) {
        *date = "DATE".to_owned();
    }
}

/// An ETag is 18 digits: .NET ticks.
fn entity_tag(answer: &mut Answer) {
    let ticks = |tag: &String| tag.len() == 18 && tag.bytes().all(|b| b.is_ascii_digit());
    if let Some(tag) = answer.headers.get_mut("etag").filter(|tag| ticks(tag)) {
        *tag = "TICKS".to_owned();
    }
}

/// Since 2016 the service says `Strict-Transport-Security`; recordings before 2020 are of both kinds.
fn strict_transport(answer: &mut Answer, old: bool) {
    if old && answer.headers.get("strict-transport-security").is_none_or(|value| value == "max-age=31536000") {
        answer.headers.remove("strict-transport-security");
    }
}

/// Lock tokens in `Location` are GUIDs; the host and whether it is https are the target's.
fn location(answer: &mut Answer) {
    if let Some(location) = answer.headers.get_mut("location") {
        *location = guids(&hosts(location));
    }
}

/// Dates, lock tokens and generated message ids in `BrokerProperties`; key order stays.
fn broker_properties(answer: &mut Answer) {
    const DATES: [&str; 2] = ["EnqueuedTimeUtc", "LockedUntilUtc"];
    let Some(text) = answer.headers.get_mut("brokerproperties") else { return };
    for name in DATES {
        replace_between(text, &format!("\"{name}\":\""), "\"", |date| {
            httpdate::parse_http_date(date).is_ok().then_some("DATE")
        });
    }
    let hex = |id: &str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    replace_between(text, "\"MessageId\":\"", "\"", |id| hex(id).then_some("GENERATED"));
    *text = guids(text);
}

/// The host of every URL is the target's; http and https are the same, `sb` is not.
fn hosts(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        let end = tail.find(['/', '<', '"', '\'', '&', ' ']).unwrap_or(tail.len());
        let known = tail[..end].ends_with(".servicebus.windows.net");
        out.push_str(&if known && head.ends_with("https://") {
            head.replace("https://", "http://")
        } else {
            head.to_owned()
        });
        out.push_str(if known { "HOST" } else { &tail[..end] });
        rest = &tail[end..];
    }
    out + rest
}

/// The recorders replaced the namespace's name in some places only.
fn authors(text: &str) -> String {
    let mut text = text.to_owned();
    replace_between(&mut text, "<author><name>", "<", |name| (!name.is_empty()).then_some("NAMESPACE"));
    text
}

/// Points in time in elements that hold one. Whether there is a zone stays.
fn xml_dates(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["published", "updated", "CreatedAt", "UpdatedAt", "AccessedAt"] {
        replace_between(&mut text, &format!("<{name}>"), "<", |date| match iso(date) {
            Some(true) => Some("DATE-Z"),
            Some(false) => Some("DATE"),
            None => None,
        });
    }
    text
}

/// Whether a date of this age has a zone; the year 1 means "never" and is no such date.
fn iso(date: &str) -> Option<bool> {
    let (plain, zone) = date.strip_suffix('Z').map_or((date, false), |plain| (plain, true));
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
    let shape: String = whole.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let fits = shape == "0000-00-00T00:00:00" && whole.starts_with("20");
    (fits && !fraction.is_empty() && fraction.len() <= 7 && fraction.bytes().all(|b| b.is_ascii_digit()))
        .then_some(zone)
}

/// From the tracking id to the end of a detail; who says it, gateway or broker, stays. The same request
/// was answered with and without the entity in `SystemTracker`.
fn tracking(text: &str) -> String {
    let mut text = text.to_owned();
    let who = |tail: &str| {
        let (id, rest) = (tail.get(..36)?, tail.get(36..)?);
        let named = rest.contains("imestamp:") || rest.contains("TimeStamp:");
        match (guids(id).as_str(), rest.get(..2)?) {
            ("GUID", "_G") if named => Some("BY-GATEWAY"),
            ("GUID", "_B") if named => Some("BY-BROKER"),
            _ => None,
        }
    };
    replace_between(&mut text, "TrackingId:", "</Detail>", who);
    text
}

/// The id of the empty public feed.
fn feed_id(text: &str) -> String {
    let mut text = text.to_owned();
    replace_between(&mut text, "<id>uuid:", "<", |id| {
        let (guid, number) = id.split_once(";id=")?;
        (guids(guid) == "GUID" && number.parse::<u64>().is_ok()).then_some("FEED")
    });
    text
}

/// Where the texts of 2015 and of 2021 differ, those of 2021 win.
fn old_words(text: &str) -> String {
    const MORE: &str = "To know more visit https://aka.ms/sbResourceMgrExceptions.";
    let conflict = "Conflict. You're requesting an operation that isn't allowed in the resource's current state.";
    text.replace("Conflict. TrackingId", &format!("{conflict} {MORE} . TrackingId"))
        .replace("already exists. TrackingId", &format!("already exists. {MORE}  TrackingId"))
}

/// Every GUID in lower case, with dashes.
fn guids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let shape = rest.get(..36).map(|guid| {
            guid.chars()
                .map(|c| if c.is_ascii_digit() || ('a'..='f').contains(&c) { 'x' } else { c })
                .collect::<String>()
        });
        let step = if shape.as_deref() == Some("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
            out.push_str("GUID");
            36
        } else {
            out.push(c);
            c.len_utf8()
        };
        rest = &rest[step..];
    }
    out
}

/// Replaces what stands between each pair of marks, where `with` recognises it.
fn replace_between(text: &mut String, from: &str, to: &str, with: impl Fn(&str) -> Option<&'static str>) {
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(from) {
        let (head, tail) = rest.split_at(at + from.len());
        let end = tail.find(to).unwrap_or(tail.len());
        out.push_str(head);
        out.push_str(with(&tail[..end]).unwrap_or(&tail[..end]));
        rest = &tail[end..];
    }
    out.push_str(rest);
    *text = out;
}
